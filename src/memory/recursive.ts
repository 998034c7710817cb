/**
 * Reading a long text from many memories. Larimar, https://arxiv.org/abs/2403.11901, section 5.5: every piece of the
 * text is an episode in a memory of its own; a question reads each of them; what was read is written into memories of
 * the next level, and so on until one memory is left, which is read once more.
 * Letters: N latents of a piece, T pieces, C width; q [C] the latent of the question.
 *
 * All memories are those of Algorithm 1 (projection.ts): each reading is the projection of the question onto what that
 * memory holds, so a level keeps what is like the question and drops the rest. The paper leaves open how many
 * readouts share a memory of the next level; here it is `fanIn`.
 */
import { UserError } from "../errors.ts";
import { type Matrix, type Numbers, norm, transposed } from "./matrix.ts";
import { pseudoInverse } from "./pseudo-inverse.ts";

export interface RecursiveOptions {
  /** Readouts that are written into one memory of the next level; at least 2. */
  fanIn?: number;
  /** Bring what is read last to this length; as read without. */
  length?: number;
}

/** The projection of q onto the rows of Z: q Z⁺ Z. */
function projected(q: Float64Array, z: Matrix): Float64Array {
  const inverse = pseudoInverse(z); // [C, N]
  const weights = new Float64Array(z.rows);
  const across = transposed(inverse); // [N, C]
  for (let n = 0; n < z.rows; n++)
    for (let c = 0; c < z.columns; c++) weights[n] += q[c] * across.data[n * z.columns + c];
  const out = new Float64Array(z.columns);
  for (let n = 0; n < z.rows; n++) for (let c = 0; c < z.columns; c++) out[c] += weights[n] * z.data[n * z.columns + c];
  return out;
}

/** Z_r: what the question q [C] reads from episodes of latents [N, C] each; and how many levels it took. */
export function readRecursively(
  question: Numbers,
  episodes: readonly Matrix[],
  { fanIn = 16, length }: RecursiveOptions = {},
): { read: Float64Array; levels: number } {
  if (episodes.length === 0 || !Number.isInteger(fanIn) || fanIn < 2)
    throw new UserError(
      `readRecursively: expected episodes and a fanIn from 2, got ${episodes.length} and ${fanIn}; write something first`,
    );
  const q = Float64Array.from(question);
  const wrong = episodes.find(({ columns }) => columns !== q.length);
  if (wrong)
    throw new UserError(
      `readRecursively: expected latents of ${q.length} numbers, got ${wrong.columns}; use one encoder for both`,
    );
  let level = [...episodes];
  for (let levels = 1; ; levels++) {
    const readouts = level.map((memory) => projected(q, memory));
    if (readouts.length === 1) {
      const [read] = readouts;
      const own = norm(read);
      if (length !== undefined && own > 0) for (let c = 0; c < read.length; c++) read[c] *= length / own;
      return { read, levels };
    }
    level = Array.from({ length: Math.ceil(readouts.length / fanIn) }, (_, i) => {
      const part = readouts.slice(i * fanIn, (i + 1) * fanIn);
      const data = new Float64Array(part.length * q.length);
      for (const [n, row] of part.entries()) data.set(row, n * q.length);
      return { rows: part.length, columns: q.length, data };
    });
  }
}
