/**
 * Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): score(d) = sum over rankings of 1 / (60 + rank of d),
 * ranks counted from 1. Joins rankings whose scores cannot be compared.
 */
const K = 60;

/** The keys of all rankings (each best first) in one order; of equals, the larger key. */
export function fuseRankings(rankings: readonly (readonly number[])[]): number[] {
  const scores = new Map<number, number>();
  for (const ranking of rankings) {
    for (const [i, key] of ranking.entries()) scores.set(key, (scores.get(key) ?? 0) + 1 / (K + i + 1));
  }
  return [...scores].sort(([a, x], [b, y]) => y - x || b - a).map(([key]) => key);
}
