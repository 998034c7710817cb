/** Shares of a mixture: names with weights that need not add up to 1, and which of them a random number means. */
import { UserError } from "../errors.ts";

export interface Shares<N extends string> {
  /** Those with a share above 0. */
  readonly names: readonly N[];
  /** The index of the name that a number from 0 up to 1 falls on, each as often as its share. */
  indexAt(uniform: number): number;
}

/** Refuses names that are not `known`, and mixtures of nothing. */
export function sharesOf<N extends string>(shares: Readonly<Record<N, number>>, known: readonly N[]): Shares<N> {
  const names = (Object.keys(shares) as N[]).filter((name) => shares[name] > 0);
  for (const name of names) {
    if (known.includes(name)) continue;
    throw new UserError(`mixture: expected sources among ${known.join(", ")}, got ${name}; correct the recipe`);
  }
  const total = names.reduce((sum, name) => sum + shares[name], 0);
  if (!(total > 0)) throw new UserError("mixture: expected a share above 0, got none; name a source");
  return {
    names,
    indexAt(uniform) {
      let left = uniform * total;
      const index = names.findIndex((name) => (left -= shares[name]) < 0);
      // Rounding may leave a rest behind the last
      return index < 0 ? names.length - 1 : index;
    },
  };
}
