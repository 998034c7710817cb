/** Helpers for tests of training: generators driven to their end, runs stopped at a step, states as comparable bytes. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, readAll } from "../../src/checkpoint/safetensors.ts";
import type { Batch, Batches } from "../../src/methods/batches.ts";
import type { Document, Method, MethodEvent, Receipt } from "../../src/methods/method.ts";
import type { Objective } from "../../src/methods/objective.ts";

export interface Driven<R> {
  readonly events: MethodEvent[];
  readonly result: R;
}

/** Run a generator to its end; `onEvent` sees every event before the next is asked for. */
export async function drive<R>(
  run: AsyncGenerator<MethodEvent, R>,
  onEvent?: (event: MethodEvent) => void,
): Promise<Driven<R>> {
  const events: MethodEvent[] = [];
  for (;;) {
    const next = await run.next();
    if (next.done) return { events, result: next.value };
    events.push(next.value);
    onEvent?.(next.value);
  }
}

export const lossesOf = (events: readonly MethodEvent[]): [step: number, loss: number][] =>
  events.flatMap((event): [number, number][] => (event.type === "step" ? [[event.step, event.loss]] : []));

export const documentsOf = (...texts: string[]): Document[] => texts.map((text, i) => ({ id: `text-${i}`, text }));

/** Observe to the end, or until `stopAt` steps were made in all. */
export async function learn(
  method: Method,
  documents: readonly Document[],
  { checkpoint, stopAt }: { checkpoint?: string; stopAt?: number } = {},
): Promise<{ events: MethodEvent[]; receipt: Receipt }> {
  const controller = new AbortController();
  const events: MethodEvent[] = [];
  for await (const event of method.observe(documents, { checkpoint, signal: controller.signal })) {
    events.push(event);
    if (event.type === "step" && event.step === stopAt) controller.abort();
  }
  const last = events.at(-1);
  if (last?.type !== "receipt") throw new Error("the last event is no receipt");
  return { events, receipt: last.receipt };
}

export const digest = (values: Float32Array): string =>
  createHash("sha256")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");

/** Every array of a checkpoint (weights, moments, best weights) as a digest, and its progress without the clock. */
export async function savedState(folder: string): Promise<Record<string, unknown>> {
  const file = await openSafetensors(join(folder, "training.safetensors"));
  try {
    const tensors = [...(await readAll(file))].map(([name, { data }]) => [name, digest(data as Float32Array)]);
    const { seconds: _, ...progress } = JSON.parse(file.metadata.progress) as Record<string, unknown>;
    return { ...Object.fromEntries(tensors), progress, optimizerStep: file.metadata.optimizerStep };
  } finally {
    await file.close();
  }
}

export const fileBytes = (folder: string): Promise<Buffer> => readFile(join(folder, "training.safetensors"));

/** The loss |w - target|^2 / 2, whose gradient is w - target; the target moves with the batch. */
export function quadratic(
  weights: Readonly<Record<string, Float32Array>>,
  target: (step: number, i: number) => number,
): Objective {
  const gradients = Object.fromEntries(
    Object.entries(weights).map(([name, { length }]) => [name, new Float32Array(length)]),
  );
  return {
    gradients,
    clear() {
      for (const values of Object.values(gradients)) values.fill(0);
    },
    async accumulate(batch, total, step) {
      let loss = 0;
      for (const [name, values] of Object.entries(weights)) {
        for (let i = 0; i < values.length; i++) {
          const away = values[i] - target(step, i);
          gradients[name][i] += (away * batch.targetCount) / total;
          loss += (0.5 * away * away * batch.targetCount) / total;
        }
      }
      return Math.fround(loss);
    },
    async dispose() {},
  };
}

/** Batches without content: `counts` of targets, step by step, over and over. */
export function emptyBatches(counts: readonly number[] = [8]): Batches {
  const batchAt = (step: number): Batch => {
    const empty = new Int32Array(8);
    return { ids: empty, targets: empty, mask: new Float32Array(8), targetCount: counts[step % counts.length] };
  };
  return { rowCount: 1, batchSize: 1, contextLength: 8, targetCount: 8, stepsPerEpoch: 1, batchAt };
}
