/**
 * A real but tiny learner for tests of streams: a byte frequency model whose old counts fade with every step.
 * It learns, forgets, draws random numbers (kept in its state), writes mid-run checkpoints and resumes from them.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Document, Method, MethodEvent, MethodState, ObserveOptions } from "../../src/methods/method.ts";

export interface FakeOptions {
  seed?: number;
  /** Bytes per step. */
  stride?: number;
  /** A checkpoint after each this many steps. */
  checkpointEvery?: number;
  /** Milliseconds to wait at each step and score, so that a test can interrupt. */
  delay?: number;
  name?: string;
}

interface Position {
  counts: number[];
  random: number;
  step: number;
}

export function fakeMethod({
  seed = 0,
  stride = 64,
  checkpointEvery = 3,
  delay = 0,
  name = "fake",
}: FakeOptions = {}): Method & {
  readonly calls: { observed: string[]; resumedAt: number[]; disposed: number };
} {
  let counts = new Float32Array(256).fill(1);
  let random = (seed * 2654435761 + 12345) >>> 0;
  const calls = { observed: [] as string[], resumedAt: [] as number[], disposed: 0 };
  const next = () => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return random / 2 ** 32;
  };
  const nats = (bytes: Uint8Array): number => {
    const total = counts.reduce((a, b) => a + b, 0);
    return bytes.reduce((sum, byte) => sum - Math.log(counts[byte] / total), 0);
  };

  async function* observe(
    documents: readonly Document[],
    { checkpoint, signal }: ObserveOptions = {},
  ): AsyncGenerator<MethodEvent> {
    const data = Buffer.from(documents.map((document) => document.text).join("\n"));
    const steps = Math.ceil(data.length / stride);
    const file = checkpoint === undefined ? undefined : join(checkpoint, "position.json");
    const write = async (step: number) => {
      if (checkpoint === undefined || file === undefined) return;
      await mkdir(checkpoint, { recursive: true });
      const position: Position = { counts: [...counts], random, step };
      await writeFile(`${file}.tmp`, JSON.stringify(position));
      await rename(`${file}.tmp`, file);
    };
    calls.observed.push(...documents.map((document) => document.id));
    let step = 0;
    if (file !== undefined && existsSync(file)) {
      const position = JSON.parse(await readFile(file, "utf8")) as Position;
      counts = Float32Array.from(position.counts);
      random = position.random;
      step = position.step;
      calls.resumedAt.push(step);
    }
    let stopped: "done" | "interrupted" = "done";
    let loss = 0;
    for (; step < steps; step++) {
      if (signal?.aborted) {
        await write(step);
        stopped = "interrupted";
        break;
      }
      if (delay > 0) await sleep(delay);
      const chunk = data.subarray(step * stride, (step + 1) * stride);
      loss = nats(chunk) / chunk.length;
      for (let i = 0; i < 256; i++) counts[i] = 0.05 + counts[i] * 0.97;
      for (const byte of chunk) counts[byte] += 0.5 + next();
      yield {
        type: "step",
        step,
        steps,
        tokens: step * stride + chunk.length,
        loss,
        learningRate: 1,
        tokensPerSecond: 1000,
      };
      if (checkpoint !== undefined && (step + 1) % checkpointEvery === 0) {
        await write(step + 1);
        yield { type: "checkpoint", step: step + 1, path: checkpoint };
      }
    }
    yield {
      type: "receipt",
      receipt: {
        id: documents.map((document) => document.id).join("+"),
        documents: documents.map((document) => document.id),
        steps,
        tokens: data.length,
        seconds: 0,
        finalLoss: loss,
        stopped,
      },
    };
  }

  return {
    name,
    canForget: false,
    needsFit: false,
    calls,
    observe,
    async score(_prompt, continuation) {
      if (delay > 0) await sleep(delay);
      const bytes = Buffer.from(continuation);
      return { nats: nats(bytes), tokens: bytes.length, bytes: bytes.length };
    },
    async *generate() {
      yield "";
    },
    // The byte it saw most often, once per byte of the question
    async answer(queries, { signal, onProgress } = {}) {
      signal?.throwIfAborted();
      if (delay > 0) await sleep(delay);
      const best = String.fromCharCode(counts.indexOf(Math.max(...counts)));
      onProgress?.(queries.length, queries.length);
      return queries.map(({ text }) => best.repeat(Buffer.byteLength(text)).trim());
    },
    async rate(pairs, { signal, onProgress } = {}) {
      signal?.throwIfAborted();
      if (delay > 0) await sleep(delay);
      const best = counts.indexOf(Math.max(...counts));
      onProgress?.(pairs.length, pairs.length);
      return pairs.map(({ answer }) => {
        const bytes = Buffer.from(` ${answer}`);
        const correct = bytes.filter((byte) => byte === best).length;
        return { nats: nats(bytes), tokens: bytes.length, bytes: bytes.length, correct };
      });
    },
    bytes: () => 256 * 8,
    async state() {
      return { tensors: { counts: { dtype: "float32", shape: [256], data: counts.slice() } }, json: { random } };
    },
    async restore({ tensors, json }: MethodState) {
      if (tensors.counts.shape.join() !== "256") throw new Error("internal: wrong state");
      counts = Float32Array.from(tensors.counts.data, Number);
      random = json.random as number;
    },
    async dispose() {
      calls.disposed++;
    },
  };
}

/** Three texts with different letters, long enough to split, made from a few words each. */
export function sampleTexts(paragraphs = 12): { path: string; text: string; bytes: number; sha256: string }[] {
  const words = [
    ["stone", "tower", "north", "otter", "root"],
    ["lily", "field", "violin", "ivy", "chill"],
    ["banana", "papaya", "salad", "drama", "kayak"],
  ];
  return words.map((list, k) => {
    const line = (n: number) => Array.from({ length: 9 }, (_, i) => list[(n * 7 + i * i + k) % list.length]).join(" ");
    const text = Array.from({ length: paragraphs }, (_, n) => `${line(n)}\n${line(n + 1)}`).join("\n\n");
    return { path: `notes/${"abc"[k]}.txt`, text, bytes: text.length, sha256: String(k) };
  });
}
