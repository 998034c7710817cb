/**
 * Solves (C + λI) x = w while C gains and loses facts, in O(K²) each.
 *
 * P stands for (C + λI)⁻¹ and follows C by Sherman-Morrison: with u = P w, C ± w'w gives P ∓ u'u / (1 ± w·u).
 * P is only ever a guide: each solution is corrected by its own residual against C itself, which is exact, until that
 * stops shrinking. So errors of P do not reach what is read; the first residual tells how far P has drifted, and past
 * a bound P is made anew from C by Cholesky, O(K³). A correction made this way also keeps the next update of P exact
 * to first order: its error then adds up from step to step and is not multiplied. One update of a key of length one
 * costs P about ε |C| / λ² of its precision (ε = 2⁻⁵², and 1 is all of it): nothing at λ = 1e-4, everything at 1e-8.
 */
import { UserError } from "../errors.ts";
import { addOuter, dot, norm, symmetricTimes, triangleSize } from "./matrix.ts";
import { cholesky, inverseOf } from "./pseudo-inverse.ts";

/** |w - (C + λI) P w| / |w| from which P is made anew. Below it, every correction gains three digits or more. */
const mostDrift = 2 ** -10;
/** 1 - w·u below which a downdate would lose P's digits. */
const leastPivot = 2 ** -30;
const mostCorrections = 8;

export interface RidgeInverse {
  /**
   * out = (C + λI)⁻¹ w. `once`: for `follow(1, ...)`, with one correction and no look at what it leaves, where that can
   * be no more than rounding leaves anyway; half the time.
   */
  solve(w: Float64Array, out: Float64Array, options?: { readonly once?: boolean }): void;
  /** C has become C + sign w'w; u is the solution for w before that. */
  follow(sign: 1 | -1, w: Float64Array, u: Float64Array): void;
  /** C has changed otherwise: P is made anew when next needed. */
  forgetAll(): void;
  /** P as a lower triangle, up to date. */
  triangle(): Float64Array;
  /** How often P was made anew by Cholesky. */
  rebuilds(): number;
  bytes(): number;
}

/** `c` is the lower triangle of C [slots, slots], read at every call. */
export function createRidgeInverse(c: Float64Array, slots: number, ridge: number): RidgeInverse {
  let p: Float64Array | undefined;
  let fresh = false;
  let rebuilds = 0;
  const residual = new Float64Array(slots);
  const correction = new Float64Array(slots);
  const onDiagonal = (value: number): Float64Array => {
    const triangle = new Float64Array(triangleSize(slots));
    for (let i = 0; i < slots; i++) triangle[triangleSize(i + 1) - 1] = value;
    return triangle;
  };

  const rebuild = (): Float64Array => {
    if (c.every((value) => value === 0)) {
      fresh = true;
      return onDiagonal(1 / ridge);
    }
    const a = onDiagonal(ridge);
    for (let i = 0; i < c.length; i++) a[i] += c[i];
    const factor = cholesky(a, slots);
    if (!factor) {
      throw new UserError(
        `episodic: expected keys that a ridge of ${ridge} can separate, got a matrix that is not positive to ` +
          "rounding; use a larger ridge, and forget only what was written",
      );
    }
    fresh = true;
    rebuilds++;
    return inverseOf(factor, slots);
  };
  const current = (): Float64Array => (p ??= rebuild());

  /** residual = w - (C + λI) x; its length. */
  const miss = (w: Float64Array, x: Float64Array): number => {
    symmetricTimes(c, x, residual);
    for (let i = 0; i < slots; i++) residual[i] = w[i] - residual[i] - ridge * x[i];
    return norm(residual);
  };

  return {
    solve(w, out, { once = false } = {}) {
      symmetricTimes(current(), w, out);
      const length = norm(w);
      let last = miss(w, out);
      if (last > mostDrift * length && !fresh) {
        p = rebuild();
        symmetricTimes(p, w, out);
        last = miss(w, out);
      }
      // A correction leaves about the square of the drift; |x| is up to |w| / λ, and so is its rounding
      const enough = once && (last / length) ** 2 <= 2 ** -52 / ridge;
      for (let round = 0; round < mostCorrections && last > 2 ** -52 * length; round++) {
        symmetricTimes(current(), residual, correction);
        for (let i = 0; i < slots; i++) out[i] += correction[i];
        if (enough) break;
        const now = miss(w, out);
        if (now > last / 2) break;
        last = now;
      }
    },
    follow(sign, w, u) {
      const pivot = 1 + sign * dot(w, 0, u, 0, slots);
      fresh = false;
      if (p && pivot > leastPivot) addOuter(p, -sign / pivot, u);
      else p = undefined;
    },
    forgetAll() {
      p = undefined;
    },
    triangle: current,
    rebuilds: () => rebuilds,
    bytes: () => (p ? p.byteLength : 0) + residual.byteLength + correction.byteLength,
  };
}
