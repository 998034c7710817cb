/**
 * Learns lessons into the rows of a table, one after another: a pass, the slots to learn in, a step on those rows and on
 * no others. It is not the training loop (train.ts), which keeps copies of all weights: here a step costs the rows that
 * were read, however long the table is. What it changed, it can take back.
 */
import { UserError } from "../../errors.ts";
import type { RowWrite } from "../../memory/row-writes.ts";
import { clipScale, globalNorm } from "../../nn/clip.ts";
import type { RowOptimizer, RowState } from "../../nn/sparse-optim.ts";
import { randomStream } from "../../tensor/random.ts";
import type { MethodEvent } from "../method.ts";
import type { Lesson, WordingBatch } from "./lessons.ts";
import type { Pass, Passes } from "./passes.ts";
import { type Background, chooseSlots, type Ranking } from "./ranking.ts";

export interface LearnerOptions {
  readonly passes: Passes;
  /** [N, W], changed in place. */
  readonly table: Float32Array;
  readonly width: number;
  readonly optimizer: RowOptimizer;
  readonly learningRate: number;
  /** Largest norm of a step's gradient towards its rows; 0 for none. */
  readonly clipNorm: number;
  readonly ranking: Ranking;
  /** t. */
  readonly top: number;
  /** Steps on each lesson. */
  readonly repeats: number;
}

interface LearnOptions {
  readonly background: Background;
  /** Of random rankings. */
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Told of every batch. */
  readonly onBatch?: (batch: WordingBatch) => void;
}

export interface Learned {
  /** The slots that changed, and their rows then. */
  readonly write: RowWrite;
  readonly steps: number;
  readonly tokens: number;
  /** Of the last step, before it. */
  readonly loss: number;
  /** false: the signal ended it, and the table is as before. */
  readonly done: boolean;
  /** Puts all rows back, and what the optimizer knew of them. */
  undo(): void;
}

export interface Learner {
  /** Throws with the table as it was before. */
  learn(lessons: readonly Lesson[], options: LearnOptions): AsyncGenerator<MethodEvent, Learned>;
  /** Of the optimizer. */
  readonly state: RowState;
}

/** The gradients of these rows, in their order. */
function gradientOf({ gradient }: Pass, slots: Int32Array): Float32Array {
  const { width } = gradient;
  const [indices, values] = [gradient.indices(), gradient.values()];
  const place = new Map(Array.from(indices, (slot, i) => [slot, i]));
  const rows = new Float32Array(slots.length * width);
  for (const [i, slot] of slots.entries()) {
    const from = place.get(slot);
    if (from !== undefined) rows.set(values.subarray(from * width, (from + 1) * width), i * width);
  }
  return rows;
}

export function createLearner(options: LearnerOptions): Learner {
  const { passes, table, width, optimizer, learningRate, clipNorm, repeats } = options;
  const state = optimizer.init(table.length / width, width);
  const rowOf = (slot: number): Float32Array => table.subarray(slot * width, (slot + 1) * width);
  const momentsOf = (slot: number): Float32Array | undefined =>
    state.tensors.moments?.subarray(2 * slot * width, 2 * (slot + 1) * width);

  /** What a write changed, as it was before. */
  const begin = () => {
    const before = new Map<number, { readonly row: Float32Array; readonly moments?: Float32Array }>();
    const { step } = state;
    return {
      touch(slots: Int32Array): void {
        for (const slot of slots)
          if (!before.has(slot)) before.set(slot, { row: rowOf(slot).slice(), moments: momentsOf(slot)?.slice() });
      },
      undo(): void {
        for (const [slot, { row, moments }] of before) {
          rowOf(slot).set(row);
          if (moments) momentsOf(slot)?.set(moments);
        }
        state.step = step;
      },
      write(): RowWrite {
        const slots = Int32Array.from(before.keys()).sort();
        const rows = new Float32Array(slots.length * width);
        for (const [i, slot] of slots.entries()) rows.set(rowOf(slot), i * width);
        return { slots, rows };
      },
    };
  };

  const requireFinite = (document: string, what: string, value: number): void => {
    if (Number.isFinite(value)) return;
    throw new UserError(
      `sparse-memory: expected finite numbers, got ${what} of ${value} in ${document}; the memory is as it was before, ` +
        "lower the learning rate",
    );
  };

  /** One step, on the rows that the ranking chose. */
  const step = async (
    { document, batchAt }: Lesson,
    number: number,
    { background, seed, onBatch }: LearnOptions,
    touch: (slots: Int32Array) => void,
  ): Promise<{ loss: number; tokens: number }> => {
    const batch = batchAt(number);
    onBatch?.(batch);
    const pass = await passes.learn(batch);
    requireFinite(document, "a loss", pass.loss);
    const slots = chooseSlots(pass.counts, { ...options, background, seed });
    const gradient = gradientOf(pass, slots);
    const norm = globalNorm({ gradient });
    requireFinite(document, "a gradient", norm);
    touch(slots);
    const scale = clipNorm > 0 ? clipScale(norm, clipNorm) : 1;
    optimizer.stepRows(table, width, slots, gradient, state, learningRate, scale);
    for (const slot of slots) requireFinite(document, `slot ${slot}`, globalNorm({ row: rowOf(slot) }));
    return { loss: pass.loss, tokens: batch.read ?? batch.targetCount };
  };

  return {
    state,
    async *learn(lessons, learning) {
      const { touch, undo, write } = begin();
      const total = lessons.length * repeats;
      let [made, tokens, loss] = [0, 0, 0];
      let done = false;
      const learned = (): Learned => ({ write: write(), steps: made, tokens, loss, done, undo });
      try {
        for (const lesson of lessons) {
          for (let number = 0; number < repeats; number++) {
            if (learning.signal?.aborted) return learned();
            const started = performance.now();
            const seed = randomStream(learning.seed, "sparse-memory", made).uint32();
            const one = await step(lesson, number, { ...learning, seed }, touch);
            made++;
            tokens += one.tokens;
            loss = one.loss;
            const tokensPerSecond = (1000 * one.tokens) / (performance.now() - started);
            yield { type: "step", step: made, steps: total, tokens, loss, learningRate, tokensPerSecond };
          }
        }
        done = true;
        return learned();
      } finally {
        // Stopped, failed, or no longer listened to
        if (!done) undo();
      }
    },
  };
}
