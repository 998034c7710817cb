/**
 * Codebooks fitted again to what arrives: codes move to the slots that chose them, as moving averages, and those that
 * neither an entry of the bank nor a slot uses go where the slots are reconstructed worst. Residual books in turn.
 */
import { nearest, type Codebook } from "../../memory/codebook.ts";
import { createCodebookAverage } from "../../memory/codebook-average.ts";
import { replaceCodes, worstReconstructed } from "../../memory/codebook-reset.ts";
import type { Random } from "../../tensor/random.ts";
import { booksOf, depthByDepth } from "./nearest.ts";

/** The weight of a codebook as it is, beside one batch. */
const DECAY = 0.5;
/** Vectors for each code from which on one that none chooses is dead, and not only rare. */
const ENOUGH = 8;

/** Changes the numbers of a codebook in place; `counts` [B, K]: how often entries use each code. */
export async function refitCodebook(
  codebook: Codebook,
  slots: Float32Array,
  { counts, random }: { readonly counts: ArrayLike<number>; readonly random: Random },
): Promise<void> {
  const { codes: K, width } = codebook;
  const books = booksOf(codebook).map((book, at) => ({ ...book, at: at * K }));
  await depthByDepth(books, slots, nearest, ({ codes, at }, rest) => {
    // As if the codes had been met as often as the batch meets them
    const count = Math.max(1, rest.length / width / K);
    const average = createCodebookAverage(codes, { width, decay: DECAY, count });
    const { indices } = nearest(rest, codes, width);
    average.update(rest, indices);
    codes.set(average.codes);
    const used = new Set(indices);
    const dead = Array.from({ length: K }, (_, code) => code).filter(
      (code) => counts[at + code] === 0 && !used.has(code),
    );
    if (dead.length > 0 && indices.length >= ENOUGH * K)
      replaceCodes(codes, dead, worstReconstructed(rest, codes, dead.length, { width, random }), width);
  });
}
