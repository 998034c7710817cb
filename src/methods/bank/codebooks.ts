/**
 * The care of codebooks while a module is fitted: at their first step they are made from data, and now and then codes
 * that nothing chooses are put where the data is, or all follow the data by moving averages. What is looked at are
 * documents drawn by the step's number, so a fit that was stopped goes on to the same codebooks.
 */
import { internal } from "../../errors.ts";
import { createCodebookAverage } from "../../memory/codebook-average.ts";
import { fromBatch, replaceCodes, worstReconstructed } from "../../memory/codebook-reset.ts";
import { codebookAtRandom, codebookFromData } from "../../memory/codebook-start.ts";
import { perplexity } from "../../memory/codebook-usage.ts";
import { type Random, randomStream } from "../../tensor/random.ts";
import type { Objective } from "../objective.ts";
import { type Codes, depthByDepth, followed, type Nearest } from "./nearest.ts";
import type { EpisodeBatch } from "./objective.ts";

/** Codes that are changed in place; several depths are books of their own. */
export interface Book extends Codes {
  /** Vectors of a look that chose each code, [K]: a moving average over looks, part of what a stopped fit goes on with. */
  readonly counts: Float32Array;
  /** What the optimizer remembers of the codes, as long as these: forgotten of a code that is put elsewhere. */
  readonly moments?: () => readonly Float32Array[];
}

export interface CareOptions {
  /** Slots of so many documents, drawn by a number. */
  readonly slotsOf: (count: number, draw: number) => Promise<Float32Array>;
  readonly nearest: Nearest;
  readonly single: Book;
  /** By depth: each quantises what those before it leave. */
  readonly residual: readonly Book[];
  /** The step at which there are codebooks. */
  readonly from: number;
  /** Steps between two looks; Infinity for codebooks that stay as they were made. */
  readonly every: number;
  /** What codebooks are made from: slots, or nothing but random numbers. */
  readonly start: (typeof codebookStarts)[number];
  /** Put unused codes elsewhere? */
  readonly reset: boolean;
  /** Weight of the past at each look. */
  readonly decay: number;
  /** Do codes follow the data at each look? Else they learn by gradient, and looks only put dead ones elsewhere. */
  readonly learnsByAverage: boolean;
  readonly seed: number;
  /** Told of each look, before the step of this number. */
  readonly onLook?: (step: number, looked: Looked) => void;
}

export const codebookStarts = ["data", "random"] as const;

/** What a look has seen of each book. */
export interface Looked {
  readonly single: Seen;
  /** By depth; the error of the last is what all codes together leave. */
  readonly residual: readonly Seen[];
}

interface Seen {
  /** Mean squared distance of a number to its code. */
  readonly error: number;
  /** Share of the codes in use, and the perplexity of all, by the moving averages of their counts. */
  readonly used: number;
  readonly perplexity: number;
}

/** Documents whose slots codebooks are made from and judged by: of fewer, some codes would serve one slot alone. */
const STARTING = 2048;
/** Documents of a look. */
const LOOKED_AT = 64;
/** Vectors that first codes are drawn from, and rounds of k-means over all of them. */
const DRAWN_FROM = 16_384;
const ROUNDS = 12;
/** Documents that codebooks settle by, the number that draws them, passes, and the part of its even share that a code should serve. */
const SETTLED_BY = 4096;
const SETTLING = -3;
const PASSES = 3;
const RARELY = 0.05;
/** A code is dead below this part of the mean count. */
const DEAD = 0.002;
/** Least count of a moving average. */
const RARE = 1e-3;

export interface BookUse {
  readonly dead: number;
  readonly perplexity: number;
  /** Mean squared distance of a number to its code. */
  readonly error: number;
}

/** How a book serves vectors [N, D]. */
export async function useOf(
  vectors: Float32Array,
  { codes, width }: Pick<Book, "codes" | "width">,
  nearest: Nearest,
): Promise<BookUse & { readonly counts: Float64Array; readonly indices: Uint32Array }> {
  const { indices, errors } = await nearest(vectors, codes, width);
  const counts = new Float64Array(codes.length / width);
  for (const index of indices) counts[index]++;
  return {
    counts,
    indices,
    dead: counts.filter((count) => count === 0).length,
    perplexity: perplexity(counts),
    error: errors.reduce((sum, error) => sum + error, 0) / vectors.length,
  };
}

/** Every book with the vectors that it is asked for; `look` may change the book. */
export async function walk<B extends Codes>(
  { single, residual, nearest }: { readonly single: B; readonly residual: readonly B[]; readonly nearest: Nearest },
  slots: Float32Array,
  look: (book: B, vectors: Float32Array) => unknown,
): Promise<void> {
  await look(single, slots);
  await depthByDepth(residual, slots, nearest, look);
}

/** A first codebook, as codebook-start.ts makes it, but for nearest codes by the runtime. */
async function start(
  vectors: Float32Array,
  { codes, width, counts: kept }: Book,
  { nearest, start: from }: Pick<CareOptions, "nearest" | "start">,
  random: Random,
): Promise<void> {
  const sizes = { codes: codes.length / width, width, random, rounds: 0 };
  const isRandom = from === "random";
  codes.set(isRandom ? codebookAtRandom(sizes) : codebookFromData(vectors.subarray(0, DRAWN_FROM * width), sizes));
  const { counts } = isRandom
    ? await useOf(vectors, { codes, width }, nearest)
    : await followed(vectors, { codes, width }, nearest, ROUNDS);
  // Of as many documents as a look has
  for (const [code, count] of counts.entries()) kept[code] = (count * LOOKED_AT) / STARTING;
}

const meanOf = (counts: Float32Array): number => counts.reduce((sum, count) => sum + count, 0) / counts.length;

/** Codes whose count has sunk to nearly nothing. */
function deadIn(counts: Float32Array): number[] {
  const mean = meanOf(counts);
  return [...counts.keys()].filter((code) => counts[code] < DEAD * mean);
}

const usedOf = (counts: Float32Array): Pick<Seen, "used" | "perplexity"> => ({
  used: 1 - deadIn(counts).length / counts.length,
  perplexity: perplexity(counts),
});

/** Codebooks as they stand, looked at with documents drawn by a number. */
export async function usesOf(options: CareOptions, draw: number): Promise<{ single: BookUse; residual: BookUse[] }> {
  const found: BookUse[] = [];
  await walk(options, await options.slotsOf(STARTING, draw), async (book, vectors) => {
    found.push(await useOf(vectors, book, options.nearest));
  });
  const [single, ...residual] = found;
  return { single: single ?? internal("usesOf: no book"), residual };
}

/**
 * Codebooks at the end of a fit, when slots no longer move: k-means from where they are, over more documents than any
 * look had; codes that serve few of their vectors go where vectors are.
 */
export async function settle(options: CareOptions): Promise<void> {
  const { slotsOf, reset, nearest } = options;
  const random = randomStream(options.seed, "settled");
  await walk(options, await slotsOf(SETTLED_BY, SETTLING), async (book, vectors) => {
    const { codes, width } = book;
    for (let pass = 0; pass < PASSES; pass++) {
      const { counts } = await followed(vectors, book, nearest, ROUNDS / 2);
      const rare = [...counts.keys()].filter((code) => counts[code] < (RARELY * vectors.length) / codes.length);
      if (!reset || rare.length === 0 || pass + 1 === PASSES) continue;
      // Where vectors are many, not where they are worst off: that is where rare codes come from
      replaceCodes(codes, rare, fromBatch(vectors, rare.length, { width, random }), width);
    }
  });
}

/** The same objective, whose codebooks are looked after before each step that asks for it. */
export function withCare(objective: Objective<EpisodeBatch>, options: CareOptions): Objective<EpisodeBatch> {
  const { from, every, reset, decay, learnsByAverage, seed, slotsOf, nearest, onLook } = options;
  let cared = -1;
  const care = async (step: number): Promise<void> => {
    const random = randomStream(seed, "codebooks", step);
    const seen: Seen[] = [];
    const slots = await slotsOf(step === from ? STARTING : LOOKED_AT, step);
    await walk(options, slots, async (book, vectors) => {
      const { codes, width, counts: kept } = book;
      if (step === from) await start(vectors, book, options, random);
      const { counts, indices, error } = await useOf(vectors, book, nearest);
      if (step === from) {
        seen.push({ error, ...usedOf(kept) });
        return;
      }
      if (learnsByAverage) {
        const average = createCodebookAverage(codes, {
          width,
          decay,
          count: kept.map((count) => Math.max(count, RARE)),
        });
        average.update(vectors, indices);
        for (const [code, count] of counts.entries())
          if (count > 0) codes.set(average.codes.subarray(code * width, (code + 1) * width), code * width);
      }
      for (const [code, count] of counts.entries()) kept[code] = decay * kept[code] + (1 - decay) * count;
      seen.push({ error, ...usedOf(kept) });
      const dead = deadIn(kept);
      if (!reset || dead.length === 0) return;
      const mean = meanOf(kept);
      const rows = worstReconstructed(vectors, codes, dead.length, { width, random });
      for (const code of replaceCodes(codes, dead, rows, width)) {
        kept[code] = mean;
        for (const moments of book.moments?.() ?? []) moments.fill(0, code * width, (code + 1) * width);
      }
    });
    const [single, ...residual] = seen;
    onLook?.(step, { single, residual });
  };
  return {
    ...objective,
    async accumulate(batch, total, step) {
      if (step !== cared && step >= from && (step - from) % every === 0) await care(step);
      cared = step;
      return objective.accumulate(batch, total, step);
    },
  };
}
