import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fakeMethod, sampleTexts } from "../../tests/support/fake-method.ts";
import { richTask, transparentMethod } from "../../tests/support/rich-stream.ts";
import { scriptArguments } from "../../tests/support/script.ts";
import { UserError } from "../errors.ts";
import type { RunResult } from "../eval/result.ts";
import { textTask } from "../eval/tasks/text.ts";
import type { Method } from "../methods/method.ts";
import { parseStreamConfig } from "./config.ts";
import type { StreamConfigInput } from "./config.ts";
import type { RunEvent } from "./events.ts";
import { openRunFolder } from "./folder.ts";
import { loadReportRun, runStream, savedConfig } from "./run.ts";
import type { StreamDeps } from "./run.ts";

const config = (more: Partial<StreamConfigInput> = {}) =>
  parseStreamConfig({ model: "m", method: "fake", files: ["a.txt", "b.txt", "c.txt"], seed: 7, out: "x", ...more });

let root = "";
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "mneme-run-"))));
afterAll(() => rm(root, { recursive: true, force: true }));

interface Sitting extends Partial<Omit<StreamDeps, "folder">> {
  resume?: boolean;
  configuration?: Partial<StreamConfigInput>;
  onEvent?: (event: RunEvent) => void;
}

/** Opens the folder, runs until the end, closes it; one sitting of a run. */
async function sit(
  name: string,
  { resume = false, configuration, onEvent, ...deps }: Sitting = {},
): Promise<RunEvent[]> {
  const folder = await openRunFolder(join(root, name), { resume });
  const events: RunEvent[] = [];
  try {
    const stream = runStream(config(configuration), {
      task: textTask(sampleTexts()),
      createMethod: async () => fakeMethod({ seed: 7 }),
      folder,
      ...deps,
    });
    for await (const event of stream) {
      events.push(event);
      onEvent?.(event);
    }
  } finally {
    await folder.close();
  }
  return events;
}

const resultIn = async (name: string) =>
  JSON.parse(await readFile(join(root, name, "result.json"), "utf8")) as RunResult;

describe("an unbroken run", () => {
  let events: RunEvent[] = [];
  beforeAll(async () => {
    let now = 1_000_000;
    // Every look at the clock is half a second later.
    events = await sit("whole", {
      clock: () => (now += 500),
      versions: { mneme: "0" },
      machine: { cpu: "c", cores: 2 },
    });
  });

  test("tells what happens and ends with the result", () => {
    expect(events[0]).toMatchObject({
      type: "run-start",
      run: "whole",
      method: "fake",
      topics: ["a.txt", "b.txt", "c.txt"],
      learned: 0,
      resumed: false,
    });
    expect(events.filter((event) => event.type === "row").map((event) => event.row)).toEqual([-1, 0, 1, 2]);
    expect(events.at(-1)?.type).toBe("result");
    const times = events.map((event) => event.time);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
  });

  test("writes the result with everything a reader needs", async () => {
    const result = await resultIn("whole");
    expect(events.at(-1)).toMatchObject({ result });
    expect(result).toMatchObject({
      run: "whole",
      task: "text",
      method: "fake",
      model: "m",
      seeds: [7],
      metric: "bitsPerByte",
      protocol: expect.stringContaining("never learned"),
      probes: {},
      diagnostics: { insides: null },
      outsideRuntimeShare: null,
      cost: {
        flops: null,
        bytesPerDocument: 2048 / 3,
        tokens: textTask(sampleTexts()).topics.reduce((sum, topic) => sum + topic.documents[0].text.length, 0),
        bytes: 2048,
      },
      matrix: { direction: "lower", unit: "bits per byte", topics: ["a.txt", "b.txt", "c.txt"] },
      versions: { mneme: "0" },
      machine: { cpu: "c", cores: 2 },
      config: { method: "fake", holdout: 0.1 },
    });
    const { R, baseline } = result.matrix;
    expect(result.scores).toEqual({ bitsPerByte: { R, baseline } });
    expect(result.metrics).toMatchObject({ bitsPerByte: result.metrics.acc, rkr: null, baseRetention: null });
    expect(result.cost.peakMB).toBeGreaterThan(20);
    expect(baseline).toHaveLength(3);
    expect(result.metrics.acc).toBeCloseTo(((R[2][0] ?? 0) + (R[2][1] ?? 0) + (R[2][2] ?? 0)) / 3, 12);
    expect(result.metrics.forgetting).toBeGreaterThan(0);
    // Three scores a row; each takes the clock's one step between the end of the last event and its own.
    expect(result.durations.evaluate).toEqual([1.5, 1.5, 1.5, 1.5]);
    expect(result.durations.learn).toHaveLength(3);
    expect(result.cost.seconds).toBe(result.durations.learn.reduce((a, b) => a + b));
    expect(result.durations.total).toBeGreaterThan(6 + result.cost.seconds - 1);
  });

  test("leaves the report and the log, no state and no left-overs", async () => {
    expect((await readdir(join(root, "whole"))).sort()).toEqual([
      "config.json",
      "events.jsonl",
      "progress.json",
      "report.html",
      "result.json",
    ]);
    const folder = await openRunFolder(join(root, "whole"), { resume: true });
    expect(await folder.events()).toEqual(events);
    expect(await savedConfig(folder)).toEqual(config());
    const { losses } = await loadReportRun(folder);
    expect(losses.length).toBe(events.filter((event) => event.type === "method" && event.event.type === "step").length);
    await folder.close();
    expect(await readFile(join(root, "whole", "report.html"), "utf8")).toContain("fake on m");
  });

  test("resumed once more only repeats its result and touches nothing", async () => {
    const before = await readFile(join(root, "whole", "events.jsonl"), "utf8");
    const again = await sit("whole", { resume: true, createMethod: () => Promise.reject(new Error("not needed")) });
    expect(again.map((event) => event.type)).toEqual(["result"]);
    expect(again[0]).toMatchObject({ result: await resultIn("whole") });
    expect(await readFile(join(root, "whole", "events.jsonl"), "utf8")).toBe(before);
  });

  test("keeps the last state if asked to; a state that a crash left at the very end goes with the next sitting", async () => {
    const states = async () => (await readdir(join(root, "kept"))).filter((name) => name.startsWith("state"));
    await sit("kept", { keepState: true });
    await sit("kept", { resume: true, keepState: true });
    expect(await states()).toEqual(["state-3"]);
    await sit("kept", { resume: true });
    expect(await states()).toEqual([]);
  });

  test("run twice gives the same numbers, another seed others", async () => {
    await sit("twin");
    await sit("other", { configuration: { seed: 8 }, createMethod: async () => fakeMethod({ seed: 8 }) });
    const { matrix } = await resultIn("whole");
    expect((await resultIn("twin")).matrix).toEqual(matrix);
    expect((await resultIn("other")).matrix).not.toEqual(matrix);
  });
});

const richSitting = { task: richTask(), createMethod: async () => transparentMethod({ seed: 7 }) };
/** What must not depend on when a run was stopped. */
const measured = ({ matrix, scores, probes, metrics, diagnostics, cost: { tokens, bytes } }: RunResult) => {
  return { matrix, scores, probes, metrics, diagnostics, tokens, bytes };
};

test("a kill inside a topic loses no time up to the method's last checkpoint", async () => {
  let now = 0;
  const clock = () => (now += 500);
  const steps = async (limit: number) => {
    let seen = 0;
    const onEvent = (event: RunEvent) => {
      // Like a kill: nothing is saved on the way out
      if (event.type === "method" && event.event.type === "checkpoint" && ++seen === limit) throw new Error("killed");
    };
    await expect(sit("timed", { clock, resume: limit > 2, onEvent })).rejects.toThrow("killed");
    const saved = JSON.parse(await readFile(join(root, "timed", "progress.json"), "utf8")) as {
      seconds: { learn: number[]; total: number };
    };
    return saved.seconds;
  };
  const first = await steps(2);
  // Six steps and two checkpoints, half a second each
  expect(first.learn).toEqual([4]);
  const events = await sit("timed", { clock, resume: true });
  const { durations, cost } = events.at(-1)?.type === "result" ? await resultIn("timed") : expect.fail("no result");
  const whole = await resultIn("whole");
  expect(durations.learn[0]).toBeGreaterThanOrEqual(first.learn[0]);
  expect(durations.learn).toEqual(whole.durations.learn);
  expect(cost.seconds).toBe(whole.cost.seconds);
});

describe("named scores, probes, diagnostics and costs", () => {
  test("are in the result; the time inside the runtime is told from the rest", async () => {
    let now = 0;
    let inside = 0;
    await sit("rich", {
      ...richSitting,
      // Each look at the clock is a second later, each look at the runtime a quarter.
      clock: () => (now += 1000),
      runtime: { seconds: () => (inside += 0.25) },
      memory: () => ({ now: 50e6 + now, peak: 400e6 }),
    });
    const result = await resultIn("rich");
    expect(Object.keys(result.scores)).toEqual(["share", "other"]);
    expect(result.matrix.R).toEqual(result.scores.share.R);
    expect(result.metrics.share).toBe(result.metrics.acc);
    expect(result.metrics.baseRetention).toBe((result.probes.old.after[2] ?? 0) / (result.probes.old.before ?? 0));
    expect(result.diagnostics.insides?.after).toHaveLength(3);
    expect(result.diagnostics.insides?.after[1].drift[1].relativeL2).toBeGreaterThan(0);
    // Three scores, two probes and a snapshot in each of four rows.
    expect(result.durations.evaluate).toEqual([6, 6, 6, 6]);
    const worked = [...result.durations.learn, ...result.durations.evaluate].reduce((a, b) => a + b);
    const looks = worked + 4 + 3; // rows and topic starts as well
    expect(result.outsideRuntimeShare).toBeCloseTo(1 - (0.25 * looks) / result.durations.total, 9);
    // The process was larger before the run, so what it held counts.
    expect(result.cost.peakMB).toBeGreaterThan(50);
    expect(result.cost.peakMB).toBeLessThan(51);
  });

  test("the process's peak counts as soon as it grows, and floating-point operations when every receipt has them", async () => {
    let peak = 400e6;
    const counting = async (): Promise<Method> => {
      const method = transparentMethod({ seed: 7 });
      return {
        ...method,
        async *observe(...args) {
          for await (const event of method.observe(...args)) {
            if (event.type !== "receipt") yield event;
            else yield { type: "receipt", receipt: { ...event.receipt, flops: 1e9 } };
          }
          peak = 500e6;
        },
      };
    };
    const memory = () => ({ now: 1e6, peak });
    await sit("costs", { task: richTask(), createMethod: counting, memory, runtime: { seconds: () => 0 } });
    const { cost, outsideRuntimeShare } = await resultIn("costs");
    expect(cost).toMatchObject({ flops: 3e9, peakMB: 500 });
    expect(outsideRuntimeShare).toBe(1);
  });

  test("stopped after any event and resumed, all are the same", async () => {
    const whole = measured(await resultIn("rich"));
    for (const stopAt of [0, 5, 6, 25, 28, 60]) {
      const name = `rich-${stopAt}`;
      const stop = new AbortController();
      let seen = 0;
      const onEvent = () => void (seen++ === stopAt && stop.abort());
      await sit(name, { ...richSitting, signal: stop.signal, onEvent });
      await sit(name, { ...richSitting, resume: true });
      expect(measured(await resultIn(name))).toEqual(whole);
    }
  });
});

describe("rewards", () => {
  const planned = [[0.8], [0.6, 0.9], [0.7, 0.5, 1]];
  /** Holds a megabyte and ten notes more after each topic, and is scored as planned. */
  const growing = (): Pick<StreamDeps, "task" | "createMethod"> => {
    let topics = 0;
    const task = { ...richTask(), probes: [], diagnosticTexts: undefined };
    return {
      task: { ...task, evaluate: async (_method, topic) => ({ share: planned[topics - 1][topic] }) },
      async createMethod() {
        const method = fakeMethod({ seed: 7 });
        return {
          ...method,
          async *observe(...given) {
            yield* method.observe(...given);
            topics++;
          },
          bytes: () => 1e6 * topics,
          held: () => ({ "in the memory": { notes: 10 * topics } }),
        };
      },
    };
  };
  const configuration = { columns: "seen", baseline: false, byteCost: 0.1 } as const;
  const worked = [
    { accuracy: 0.8, forgetting: 0, bytes: 1e6, reward: 0.7 },
    { accuracy: 0.9, forgetting: 0.8 - 0.6, bytes: 2e6, reward: 0.5 },
    { accuracy: 1, forgetting: (0.8 - 0.7 + (0.9 - 0.5)) / 2, bytes: 3e6, reward: 0.45 },
  ];

  test("new accuracy - forgetting - lambda x bytes stands with each step, in the report too", async () => {
    await sit("rewards", { ...growing(), configuration });
    const { rewards, metrics, held } = await resultIn("rewards");
    expect(held).toEqual([1, 2, 3].map((n) => ({ bytes: 1e6 * n, memory: { "in the memory": { notes: 10 * n } } })));
    expect(rewards).toHaveLength(3);
    for (const [i, step] of (rewards ?? []).entries()) {
      for (const [name, value] of Object.entries(worked[i]))
        expect(step).toHaveProperty(name, expect.closeTo(value, 9));
    }
    expect(metrics.reward).toBeCloseTo(0.55, 9);
    const page = await readFile(join(root, "rewards", "report.html"), "utf8");
    expect(page).toContain("<td>3.00 MB</td><td>+0.450</td>");
    for (const text of ["Reward", "In the memory after each step", "Worth of a step"]) expect(page).toContain(text);
  });

  test("are the same in a run that was stopped between, and none where scores are no accuracy", async () => {
    const stop = new AbortController();
    const parts = growing();
    const onEvent = (event: RunEvent) => void (event.type === "row" && event.row === 1 && stop.abort());
    await sit("rewards-stopped", { ...parts, configuration, signal: stop.signal, onEvent });
    await sit("rewards-stopped", { ...parts, configuration, resume: true });
    const [stopped, whole] = [await resultIn("rewards-stopped"), await resultIn("rewards")];
    expect(stopped.rewards).toEqual(whole.rewards);
    expect(stopped.held).toEqual(whole.held);
    expect(await resultIn("whole")).toMatchObject({ rewards: null, metrics: { reward: null } });
  });
});

test("V(M) at the end of a run: nats with the memory minus without, of questions about what was learned", async () => {
  const rated = (nats: number) => ({ nats, tokens: 1, bytes: 1, correct: 1 });
  const asked = (id: string, document?: string, form?: "completion") => ({
    id,
    query: { text: id, ...(document !== undefined && { document }), ...(form && { form }) },
    answers: ["yes"],
  });
  const text = textTask(sampleTexts());
  const [first, second] = text.topics.flatMap(({ documents }) => documents.map(({ id }) => id));
  // The last ones are about nothing that is learned, about nothing told, and no questions
  const questions = [asked("1", first), asked("22", first), asked("333", second), asked("4444", "x"), asked("55555")];
  const task = { ...text, questions: [...questions, asked("666666", first, "completion")] };
  const rate: Method["rate"] = async (pairs) => pairs.map(({ query }) => rated(query.text.length));
  const without = {
    rate: async (pairs: Parameters<Method["rate"]>[0]) => pairs.map(() => rated(4)),
    answer: async () => [],
  };
  const createMethod = async (rating = rate) =>
    ({ ...fakeMethod(), rate: rating, documents: { without } }) as unknown as Method;
  await sit("value", { task, createMethod: () => createMethod() });
  const { value, metrics } = await resultIn("value");
  expect(value).toEqual({
    mean: 2,
    probes: 3,
    documents: [
      { document: first, mean: 2.5, probes: 2 },
      { document: second, mean: 1, probes: 1 },
    ],
  });
  expect(metrics.value).toBe(2);
  expect(await resultIn("whole")).not.toHaveProperty("value");

  // Stopped while it is taken, a run goes on with it
  const stop = new AbortController();
  const stopped: Method["rate"] = async (pairs, options) => {
    stop.abort();
    options?.signal?.throwIfAborted();
    return rate(pairs);
  };
  const events = await sit("value-stopped", { task, createMethod: () => createMethod(stopped), signal: stop.signal });
  expect(events.at(-1)).toMatchObject({ type: "interrupted", learned: 3 });
  expect(existsSync(join(root, "value-stopped", "result.json"))).toBe(false);
  await sit("value-stopped", { task, createMethod: () => createMethod(), resume: true });
  const { matrix } = await resultIn("value");
  expect(await resultIn("value-stopped")).toMatchObject({ value, matrix });
});

describe("stopping and going on", () => {
  test("at every kind of moment gives the same matrix and learns nothing twice", async () => {
    const { matrix } = await resultIn("whole");
    for (const stopAt of [0, 2, 4, 9, 21, 24, 40, 55]) {
      const name = `stopped-${stopAt}`;
      const stop = new AbortController();
      let seen = 0;
      const first = await sit(name, { signal: stop.signal, onEvent: () => void (seen++ === stopAt && stop.abort()) });
      const end = first.at(-1);
      expect(end).toMatchObject({ type: "interrupted", folder: join(root, name), topics: 3 });
      expect(existsSync(join(root, name, "result.json"))).toBe(false);
      const methods: ReturnType<typeof fakeMethod>[] = [];
      const second = await sit(name, {
        resume: true,
        createMethod: async () => {
          methods.push(fakeMethod({ seed: 7 }));
          return methods[0];
        },
      });
      const learned = end?.type === "interrupted" ? end.learned : -1;
      expect(second[0]).toMatchObject({ type: "run-start", resumed: true, learned });
      expect(methods[0].calls.observed).toEqual(["a.txt", "b.txt", "c.txt"].slice(learned));
      expect(methods[0].calls.disposed).toBe(1);
      expect((await resultIn(name)).matrix).toEqual(matrix);
      expect((await readdir(join(root, name))).filter((file) => file.startsWith("checkpoint"))).toEqual([]);
      // A curve with each step once, although some were logged by both sittings.
      const folder = await openRunFolder(join(root, name), { resume: true });
      const steps = (await loadReportRun(folder)).losses
        .filter((point) => point.topic === 0)
        .map((point) => point.step);
      expect(steps).toEqual(steps.map((_, i) => i));
      await folder.close();
    }
  });

  test("inside a topic continues from the method's own checkpoint", async () => {
    const stop = new AbortController();
    await sit("inside", {
      signal: stop.signal,
      onEvent: (event) =>
        void (
          event.type === "method" &&
          event.topic === 1 &&
          event.event.type === "step" &&
          event.event.step === 7 &&
          stop.abort()
        ),
    });
    const method = fakeMethod({ seed: 7 });
    await sit("inside", { resume: true, createMethod: async () => method });
    expect(method.calls.resumedAt).toEqual([8]);
    expect((await resultIn("inside")).matrix).toEqual((await resultIn("whole")).matrix);
  });

  test("after SIGKILL at random moments, again and again, gives the same result", async () => {
    let kills = 0;
    const path = join(root, "killed");
    for (let sitting = 0; sitting < 40 && !existsSync(join(path, "result.json")); sitting++) {
      const mode = existsSync(join(path, "config.json")) ? "resume" : "new";
      const child = spawn(process.execPath, [...scriptArguments("tests/support/run-child.ts"), path, mode], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const gone = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)));
      // After a random number of its lines and not after a time: on a busy machine nothing might be done by then.
      let lines = 1 + Math.floor(Math.random() * 30);
      child.stdout.on("data", (data: Buffer) => {
        lines -= data.toString().split("\n").length - 1;
        if (lines <= 0) setTimeout(() => child.kill("SIGKILL"), Math.random() * 15);
      });
      if ((await gone) === "SIGKILL") kills++;
    }
    expect(measured(await resultIn("killed"))).toEqual(measured(await resultIn("rich")));
    expect(kills).toBeGreaterThan(1);
  }, 120_000);

  test("a consumer that walks away ends the method's work and leaves a resumable folder", async () => {
    const folder = await openRunFolder(join(root, "left"));
    const method = fakeMethod({ seed: 7 });
    let ended = false;
    const watched: Method = {
      ...method,
      async *observe(...args) {
        try {
          yield* method.observe(...args);
        } finally {
          ended = true;
        }
      },
    };
    for await (const event of runStream(config(), {
      task: textTask(sampleTexts()),
      createMethod: async () => watched,
      folder,
    })) {
      if (event.type === "method") break;
    }
    await folder.close();
    expect({ ended, disposed: method.calls.disposed }).toEqual({ ended: true, disposed: 1 });
    await sit("left", { resume: true });
    expect((await resultIn("left")).matrix).toEqual((await resultIn("whole")).matrix);
  });
});

describe("what goes wrong", () => {
  test("an error of the method is logged and thrown; the run can go on afterwards", async () => {
    const failing = async (): Promise<Method> => {
      const method = fakeMethod({ seed: 7 });
      return {
        ...method,
        async *observe(documents, options) {
          if (documents[0].id === "b.txt")
            throw new UserError("train: expected a finite loss, got NaN at step 3; lower the rate");
          yield* method.observe(documents, options);
        },
      };
    };
    await expect(sit("failing", { createMethod: failing })).rejects.toThrow("got NaN at step 3");
    const folder = await openRunFolder(join(root, "failing"), { resume: true });
    expect((await folder.events()).at(-1)).toMatchObject({
      type: "failed",
      message: expect.stringContaining("NaN at step 3"),
    });
    await folder.close();
    const rest = await sit("failing", { resume: true });
    expect(rest[0]).toMatchObject({ learned: 1 });
    expect((await resultIn("failing")).matrix).toEqual((await resultIn("whole")).matrix);
  });

  test("a method that cannot be made leaves no folder", async () => {
    await expect(
      sit("unmade", { createMethod: () => Promise.reject(new UserError("no such method")) }),
    ).rejects.toThrow("no such method");
    expect(existsSync(join(root, "unmade"))).toBe(false);
  });

  test("a state that cannot be saved leaves the run resumable from the one before", async () => {
    const { safetensorsStore } = await import("./state.ts");
    let saves = 0;
    const full = {
      ...safetensorsStore,
      save: async (...args: Parameters<typeof safetensorsStore.save>) => {
        if (++saves === 2) throw new UserError("save: the disk is full");
        await safetensorsStore.save(...args);
      },
    };
    await expect(sit("full", { states: full })).rejects.toThrow("disk is full");
    expect((await readdir(join(root, "full"))).filter((name) => name.includes("state"))).toEqual(["state-1"]);
    await sit("full", { resume: true });
    expect((await resultIn("full")).matrix).toEqual((await resultIn("whole")).matrix);
  });

  test("changed texts, changed options, and missing or damaged parts are named", async () => {
    const stop = new AbortController();
    await sit("parts", {
      signal: stop.signal,
      onEvent: (event) => void (event.type === "row" && event.row === 1 && stop.abort()),
    });
    const changed = textTask(sampleTexts(13));
    await expect(sit("parts", { resume: true, task: changed })).rejects.toThrow(
      /expected the same data .*got changed ones/,
    );
    await expect(sit("parts", { resume: true, configuration: { seed: 8, columns: "seen" } })).rejects.toThrow(
      /got another seed, columns \(seed was 7\)/,
    );
    // Another folder name or thread count is no other run.
    const progress = join(root, "parts", "progress.json");
    const good = await readFile(progress, "utf8");
    await writeFile(progress, good.slice(0, 50));
    await expect(sit("parts", { resume: true })).rejects.toThrow(/expected JSON in .*progress\.json/);
    await writeFile(progress, JSON.stringify({ ...(JSON.parse(good) as object), seconds: 3 }));
    await expect(sit("parts", { resume: true })).rejects.toThrow(/wrong or missing seconds/);
    await writeFile(progress, good);
    await rm(join(root, "parts", "state-2"), { recursive: true });
    await expect(sit("parts", { resume: true })).rejects.toThrow(/expected the method's state state-2 .*half deleted/);
  });
});
