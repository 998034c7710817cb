/**
 * Fewer entries instead of smaller ones: the three ways of MAC (https://arxiv.org/abs/2403.04317, its reduced memory
 * banks), as controls for a compressed bank. Each says which entries become one, as groups; the entry of a group is its
 * mean. Letters: N entries, n to keep, W numbers a row.
 */
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";
import { matrixOf, type Numbers } from "./matrix.ts";

/** Rows that become one, ascending; groups by their first row. */
export type Groups = readonly (readonly number[])[];

function checkKeep(who: string, count: number, keep: number): void {
  if (Number.isInteger(keep) && keep >= 1 && keep <= count) return;
  throw new UserError(`${who}: expected to keep 1 to ${count} of ${count} entries, got ${keep}`);
}

const ordered = (groups: readonly number[][]): number[][] =>
  groups.map((group) => group.toSorted((a, b) => a - b)).toSorted((a, b) => a[0] - b[0]);

/** Random pruning: n of N rows, each alone; the others go. */
export function prunedGroups(count: number, keep: number, random: Random): number[][] {
  checkKeep("prunedGroups", count, keep);
  return ordered(Array.from(random.permutation(count).subarray(0, keep), (row) => [row]));
}

/** Random averaging: all rows dealt out at random; groups differ by one row at most. */
export function randomGroups(count: number, keep: number, random: Random): number[][] {
  checkKeep("randomGroups", count, keep);
  const groups: number[][] = Array.from({ length: keep }, () => []);
  for (const [i, row] of random.permutation(count).entries()) groups[i % keep].push(row);
  return ordered(groups);
}

/**
 * Nearest-neighbour averaging: the two nearest of N rows (W numbers each) become their mean until n are left; the first
 * of equally near pairs goes first. About N² distances.
 */
export function nearestGroups(rows: Numbers, width: number, keep: number): number[][] {
  const { rows: N, data: means } = matrixOf(rows, width, "nearestGroups");
  checkKeep("nearestGroups", N, keep);
  const members: (number[] | undefined)[] = Array.from({ length: N }, (_, row) => [row]);
  /** Of each group the nearest behind it, and how far that is. */
  const nearest = new Int32Array(N).fill(-1);
  const distance = new Float64Array(N).fill(Number.POSITIVE_INFINITY);
  const between = (i: number, j: number): number => {
    let sum = 0;
    for (let k = 0; k < width; k++) sum += (means[i * width + k] - means[j * width + k]) ** 2;
    return sum;
  };
  const look = (i: number): void => {
    [nearest[i], distance[i]] = [-1, Number.POSITIVE_INFINITY];
    for (let j = i + 1; j < N; j++) {
      if (!members[j]) continue;
      const found = between(i, j);
      if (found < distance[i]) [nearest[i], distance[i]] = [j, found];
    }
  };
  for (let i = 0; i < N; i++) look(i);
  for (let left = N; left > keep; left--) {
    let a = -1;
    for (let i = 0; i < N; i++) {
      if (members[i] && nearest[i] >= 0 && (a < 0 || distance[i] < distance[a])) a = i;
    }
    const b = nearest[a];
    const [own, other] = [members[a] as number[], members[b] as number[]];
    const share = other.length / (own.length + other.length);
    for (let k = 0; k < width; k++) means[a * width + k] += share * (means[b * width + k] - means[a * width + k]);
    own.push(...other);
    members[b] = undefined;
    look(a);
    for (let i = 0; i < b; i++) {
      if (!members[i] || i === a) continue;
      if (nearest[i] === a || nearest[i] === b) look(i);
      else if (i < a) {
        const found = between(i, a);
        if (found < distance[i] || (found === distance[i] && a < nearest[i])) [nearest[i], distance[i]] = [a, found];
      }
    }
  }
  return ordered(members.filter((group) => group !== undefined));
}

/** The mean row of each group, weighted: [groups, W]. A group whose weights are all equal gets the plain mean. */
export function averageGroups(rows: Numbers, width: number, groups: Groups, weights?: Numbers): Float32Array {
  const { rows: N, data } = matrixOf(rows, width, "averageGroups");
  const out = new Float32Array(groups.length * width);
  const sum = new Float64Array(width);
  for (const [g, group] of groups.entries()) {
    sum.fill(0);
    let total = 0;
    for (const row of group) {
      const weight = weights ? weights[row] : 1;
      if (!(row >= 0 && row < N && weight > 0)) {
        throw new UserError(
          `averageGroups: expected rows below ${N} of weights above 0, got row ${row} of weight ${weight}`,
        );
      }
      for (let k = 0; k < width; k++) sum[k] += weight * data[row * width + k];
      total += weight;
    }
    for (let k = 0; k < width; k++) out[g * width + k] = sum[k] / total;
  }
  return out;
}

/** Two entries as one: their mean, each weighted by how many entries went into it. */
export const mergeEntries = (
  a: Float32Array,
  b: Float32Array,
  { weights = [1, 1] }: { readonly weights?: readonly [number, number] } = {},
): Float32Array => {
  if (a.length !== b.length) {
    throw new UserError(`mergeEntries: expected entries of one size, got ${a.length} and ${b.length} numbers`);
  }
  const both = new Float32Array(2 * a.length);
  both.set(a);
  both.set(b, a.length);
  return averageGroups(both, a.length, [[0, 1]], weights);
};
