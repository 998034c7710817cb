/**
 * Ways to read that go past the least squares. "nearest": the latent of the nearest fact as it was written, a plain
 * store of vectors: what the memory itself adds is the difference to this. "recursive": Larimar,
 * https://arxiv.org/abs/2403.11901, section 5.5: every 16 facts are an episode, the question's latent reads each, and
 * what was read is read again until one is left. For evaluation: they know the facts that were observed, no ledger's.
 */
import { UserError } from "../../errors.ts";
import type { Matrix, Numbers } from "../../memory/matrix.ts";
import { readRecursively } from "../../memory/recursive.ts";

export const readings = ["memory", "nearest", "recursive"] as const;

/** Facts in an episode: as many as a fit writes into one memory. */
const EPISODE = 16;

export interface Reading {
  /** Does it need the latents of questions? */
  readonly usesLatents: boolean;
  /** What a question reads whose nearest fact is this one. */
  read(fact: number, latent: Numbers): Numbers;
}

const episodesOf = (values: readonly Float32Array[], width: number): Matrix[] =>
  Array.from({ length: Math.ceil(values.length / EPISODE) }, (_, i) => {
    const rows = values.slice(i * EPISODE, (i + 1) * EPISODE);
    const data = new Float64Array(rows.length * width);
    for (const [n, row] of rows.entries()) data.set(row, n * width);
    return { rows: rows.length, columns: width, data };
  });

/** The latents of the facts that were observed. */
export interface ObservedLatents {
  of(fact: number): Float32Array | undefined;
  /** In the order in which they were written. */
  all(): readonly Float32Array[];
}

/** None for "memory". */
export function readingBeside(
  kind: (typeof readings)[number],
  { width, latents }: { readonly width: number; readonly latents: ObservedLatents },
): Reading | undefined {
  if (kind === "memory") return undefined;
  const known = (fact: number): Float32Array => {
    const own = latents.of(fact);
    if (own) return own;
    throw new UserError(
      `larimar: expected a fact that was observed for the reading ${kind}, got one of a ledger; leave --reading out`,
    );
  };
  if (kind === "nearest") return { usesLatents: false, read: known };
  return {
    usesLatents: true,
    read(fact, latent) {
      known(fact);
      return readRecursively(latent, episodesOf(latents.all(), width), { length: Math.sqrt(width) }).read;
    },
  };
}
