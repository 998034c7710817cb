/**
 * Reading prompts of any lengths into one cache with as few tokens as possible: what several of them begin with is read
 * once, and of the rest, prompts of similar length are read together, as padding costs what text costs.
 */
import type { Cache, Place } from "./cache.ts";
import type { Condition } from "./condition.ts";
import type { Decoder } from "./decoder.ts";
import { sharedHeads } from "./shared-heads.ts";

/** A cache of one row per prompt, and the scores [B, V] of the tokens after them. */
export interface Reading {
  readonly cache: Cache;
  readonly logits: Float32Array;
}

/** Heads that save fewer tokens than these are read with each prompt: runs of their own would cost more. */
const LEAST_SAVED = 64;
/** And of all tokens. */
const LEAST_SHARE = 0.05;

/** Read all prompts into a cache with room for `capacity` tokens a row, each under its condition if there are any. */
export async function readPrompts(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  capacity: number,
  conditions?: readonly Condition[],
): Promise<Reading> {
  if (conditions) return readRows(decoder, prompts, capacity, undefined, conditions);
  const found = sharedHeads(prompts);
  const tokens = prompts.reduce((sum, { length }) => sum + length, 0);
  if (found.saved < Math.max(LEAST_SAVED, LEAST_SHARE * tokens)) {
    return readRows(decoder, prompts, capacity);
  }
  const { heads, headOf } = found;
  const { cache: head } = await readRows(decoder, heads, Math.max(...heads.map(({ length }) => length)));
  const all = capacity + head.length; // short heads have padding before them
  const rows = [...prompts.keys()];
  const groups = [rows.filter((row) => headOf[row] >= 0), rows.filter((row) => headOf[row] < 0)].filter(
    ({ length }) => length > 0,
  );
  const readings: Reading[] = [];
  for (const group of groups) {
    const after = group.map((row) => ({ row: headOf[row], tokens: heads[headOf[row]]?.length ?? 0 }));
    const members = group.map((row) => prompts[row]);
    const room = groups.length === 1 ? all : head.length + Math.max(...members.map(({ length }) => length));
    readings.push(await readRows(decoder, members, room, headOf[group[0]] < 0 ? undefined : { cache: head, after }));
  }
  return joined(decoder, readings, groups, all);
}

/** What stands before the rows: row and length of each one's head in a cache. */
interface Before {
  readonly cache: Cache;
  readonly after: readonly { readonly row: number; readonly tokens: number }[];
}

/** Read rows, each behind its head if there are any, those of similar length together. */
async function readRows(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  capacity: number,
  before?: Before,
  conditions?: readonly Condition[],
): Promise<Reading> {
  const read = prompts.map((_, row) => before?.after[row].tokens ?? 0);
  const groups = similarLengths(prompts.map(({ length }, row) => length - read[row]));
  const readings: Reading[] = [];
  for (const group of groups) {
    const width = Math.max(...group.map((row) => prompts[row].length - read[row]));
    const room = groups.length === 1 ? capacity : width + (before?.cache.length ?? 0);
    const heads = before && group.map((row): Place => [0, before.after[row].row]);
    const told = conditions && group.map((row) => ({ ...conditions[row], last: prompts[row].length - 1 }));
    const cache =
      before && heads ? decoder.join([before.cache], heads, room) : decoder.createCache(group.length, room, told);
    const { ids, positions } = leftPadded(
      group.map((row) => ({ prompt: prompts[row], read: read[row] })),
      width,
    );
    readings.push({ cache, logits: await decoder.step(cache, ids, positions) });
  }
  return joined(decoder, readings, groups, capacity);
}

/** Readings of the given rows as one, in the order of the rows. */
function joined(
  decoder: Decoder,
  readings: readonly Reading[],
  groups: readonly (readonly number[])[],
  capacity: number,
): Reading {
  if (readings.length === 1) return readings[0];
  const { vocabulary: V } = decoder.geometry;
  const logits = new Float32Array(groups.reduce((sum, { length }) => sum + length, 0) * V);
  const places: [number, number][] = [];
  for (const [g, group] of groups.entries()) {
    for (const [k, row] of group.entries()) {
      places[row] = [g, k];
      logits.set(readings[g].logits.subarray(k * V, (k + 1) * V), row * V);
    }
  }
  const caches = readings.map(({ cache }) => cache);
  return { cache: decoder.join(caches, places, capacity), logits };
}

/** Fewer tokens than these are not worth a run of their own. */
const LEAST_TOGETHER = 256;
/** A row of fewer tokens than this share of its group's longest begins another group. */
const SIMILAR = 0.9;

/** Indices by falling length, in groups of similar length; one group, in order, where that saves nothing. */
export function similarLengths(lengths: readonly number[]): number[][] {
  const order = [...lengths.keys()].sort((a, b) => lengths[b] - lengths[a]);
  let left = lengths.reduce((a, b) => a + b, 0);
  const groups: number[][] = [];
  let tokens = Number.POSITIVE_INFINITY;
  for (const index of order) {
    const group = groups.at(-1);
    const alike = group !== undefined && lengths[index] >= SIMILAR * lengths[group[0]];
    if (group && (alike || tokens < LEAST_TOGETHER || left < LEAST_TOGETHER)) {
      group.push(index);
      tokens += lengths[index];
    } else {
      groups.push([index]);
      tokens = lengths[index];
    }
    left -= lengths[index];
  }
  return groups.length === 1 ? [order.sort((a, b) => a - b)] : groups;
}

/** What is left of the prompts, filled up on the left to `width` tokens: their last tokens stand in one column. */
function leftPadded(
  rows: readonly { readonly prompt: readonly number[]; readonly read: number }[],
  width: number,
): { ids: Int32Array; positions: Int32Array } {
  const ids = new Int32Array(rows.length * width);
  const positions = new Int32Array(ids.length).fill(-1);
  for (const [b, { prompt, read }] of rows.entries()) {
    const end = (b + 1) * width;
    for (let t = read; t < prompt.length; t++) {
      ids[end - prompt.length + t] = prompt[t];
      positions[end - prompt.length + t] = t;
    }
  }
  return { ids, positions };
}
