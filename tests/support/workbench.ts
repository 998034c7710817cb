/** What tests of methods work with: a runtime and a folder of the file's own, which go when its tests are over. */
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { Model } from "../../src/models/instance.ts";
import type { LoadedModel } from "../../src/models/load.ts";
import { createScorer } from "../../src/models/score.ts";
import { createRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { type TextModelOptions, textModel } from "./text-model.ts";

export interface Workbench {
  readonly runtime: Runtime;
  /** Folder for everything that is written. */
  readonly root: string;
  /** A small random model per architecture. */
  models<A extends Architecture>(architectures: readonly A[]): Promise<Record<A, LoadedModel>>;
  /** Nats of a text, as the model alone scores it. */
  natsOf(model: Model, base: Pick<LoadedModel, "tokenizer">, text: string): Promise<number>;
}

type Architecture = NonNullable<TextModelOptions["architecture"]>;

/** To be called where a file's tests are declared. */
export function workbench(name: string): Workbench {
  const runtime = createRuntime({ threads: 1 });
  const root = mkdtempSync(join(tmpdir(), `mneme-${name}-`));
  afterAll(async () => {
    await runtime.dispose();
    await rm(root, { recursive: true });
  });
  return {
    runtime,
    root,
    async models<A extends Architecture>(architectures: readonly A[]) {
      const made = architectures.map(async (architecture) => {
        return [architecture, await textModel(join(root, architecture), { architecture })] as const;
      });
      return Object.fromEntries(await Promise.all(made)) as Record<A, LoadedModel>;
    },
    async natsOf(model, { tokenizer }, text) {
      const scorer = await createScorer(runtime, model, tokenizer);
      const { nats } = await scorer.scoreText("", text);
      await scorer.dispose();
      return nats;
    },
  };
}
