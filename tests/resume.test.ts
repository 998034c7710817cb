/** Methods that keep documents or copies, in runs: stopped after a topic or within one, they go on to the same matrix. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { textTask } from "../src/eval/tasks/text.ts";
import { methods } from "../src/methods/index.ts";
import type { LoadedModel } from "../src/models/load.ts";
import { parseStreamConfig } from "../src/runs/config.ts";
import type { RunEvent } from "../src/runs/events.ts";
import { openRunFolder } from "../src/runs/folder.ts";
import { runStream } from "../src/runs/run.ts";
import { createRuntime } from "../src/runtime/runtime.ts";
import { smallTexts, textModel } from "./support/text-model.ts";

const runtime = createRuntime({ threads: 1 });
let root: string;
let base: LoadedModel;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-resume-"));
  base = await textModel(join(root, "base"));
});
afterAll(async () => {
  await runtime.dispose();
  await rm(root, { recursive: true });
});

const files = Object.entries(smallTexts).map(([name, text]) => ({
  path: `${name}.txt`,
  text: `${text}\n\n${text}`,
  bytes: 2 * text.length,
  sha256: name,
}));
const training = { epochs: 3, batchSize: 2, contextLength: 32, learningRate: 1e-2 };
const options: Record<string, Record<string, unknown>> = { separate: training };

/** One sitting; `stop` says after which event it ends. */
async function sit(
  folderName: string,
  method: string,
  { resume = false, stop }: { resume?: boolean; stop?: (event: RunEvent) => boolean } = {},
): Promise<RunEvent[]> {
  const folder = await openRunFolder(join(root, folderName), { resume });
  const controller = new AbortController();
  const events: RunEvent[] = [];
  try {
    const run = runStream(
      parseStreamConfig({ model: "m", method, files: files.map(({ path }) => path), seed: 5, out: "x" }),
      {
        task: textTask(files, { holdout: 0.3 }),
        createMethod: () => methods[method].create(base, options[method] ?? {}, { runtime, seed: 5 }),
        folder,
        signal: controller.signal,
      },
    );
    for await (const event of run) {
      events.push(event);
      if (stop?.(event)) controller.abort();
    }
  } finally {
    await folder.close();
  }
  return events;
}

const cells = (events: readonly RunEvent[]) => {
  const last = events.at(-1);
  if (last?.type !== "result") throw new Error(`no result but ${last?.type}`);
  return last.result.matrix;
};

test.each(["none", "in-context", "rag", "separate"])("%s", async (method) => {
  const whole = cells(await sit(`${method}-whole`, method));
  const last = whole.R.at(-1) ?? [];
  expect(last).toHaveLength(2);
  if (method === "none") expect(last).toEqual(whole.baseline);
  else expect(last).not.toEqual(whole.baseline);
  const stops: Record<string, (event: RunEvent) => boolean> = {
    "after a topic": (event) => event.type === "topic-learned",
    "within a topic": ({ type, ...rest }) =>
      type === "method" && "event" in rest && rest.event.type === "step" && rest.event.step === 2,
  };
  for (const [when, stop] of Object.entries(stops)) {
    if (when === "within a topic" && method !== "separate") continue;
    const name = `${method}-${when.replaceAll(" ", "-")}`;
    const first = await sit(name, method, { stop });
    expect(first.at(-1)?.type).toBe("interrupted");
    expect(cells(await sit(name, method, { resume: true }))).toEqual(whole);
  }
});
