/**
 * What learning does inside a model, on a few fixed texts: drift of hidden states from the base, layer by layer, and
 * the spread of attention, head by head; beside them how the scores of old topics decay. Warning signs, not scores.
 * One snapshot is taken before the first topic and one after every topic; only numbers are kept of it.
 */
import { internal } from "../errors.ts";
import type { Method } from "../methods/method.ts";
import { type Decay, decayOf } from "./decay.ts";
import type { Cell, ScoreMatrix } from "./metrics.ts";
import { attentionEntropy, drift, linearCka, type Rows, stacked } from "./representation.ts";

/** Against the base, for one layer; formulas in representation.ts. */
export interface LayerDrift {
  readonly relativeL2: number;
  readonly cosine: number;
  readonly cka: number;
}

export interface Snapshot {
  /** By hidden state: 0 the embeddings, l the output of layer l counted from 1. */
  readonly drift: readonly LayerDrift[];
  /** [layer][head], nats. */
  readonly attentionEntropy: readonly (readonly number[])[];
}

/** Hidden states of the untouched base: what snapshots are compared with. */
export interface BaseStates {
  readonly hidden: readonly Rows[];
}

export interface Diagnostics {
  readonly decay: Decay;
  /** Null where the method cannot be looked into, or the task names no texts. */
  readonly insides: {
    readonly before: Snapshot | null;
    readonly after: readonly Snapshot[];
    /** [row][hidden state]: relative L2 over that after the first topic (1 in row 0); null where that is 0. */
    readonly driftRatio: readonly (readonly Cell[])[];
    /** [row][layer][head]: attention entropy over that of the base; null without a baseline. */
    readonly entropyRatio: readonly (readonly (readonly Cell[])[])[];
  } | null;
}

/** The first tokens of a text have little to attend to: they are no key tokens unless a text has no others. */
const unkeyed = 4;

/** Positions of the key tokens among T: all after the first four. */
export function keyTokens(T: number): number[] {
  const from = Math.min(unkeyed, T - 1);
  return Array.from({ length: T - from }, (_, i) => from + i);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

interface Insides {
  readonly hidden: readonly Rows[];
  readonly entropy: readonly (readonly number[])[];
}

/** Hidden states of all texts one below the other, and mean entropy over the key tokens of all texts. */
async function insidesOf(method: Method, texts: readonly string[], states: number): Promise<Insides> {
  const found = await method.inspect?.(texts, { hidden: upTo(states), attentions: upTo(states - 1) });
  if (!found || found.length !== texts.length) internal(`${method.name}.inspect: ${found?.length} of ${texts.length}`);
  const hidden = upTo(states).map((state) =>
    stacked(
      found.map((one) => {
        const { data, shape } = one.hidden.get(state) ?? internal(`${method.name}.inspect: no hidden state ${state}`);
        return { data, width: shape[2] };
      }),
    ),
  );
  const entropy = upTo(states - 1).map((layer) => {
    const sums: number[] = [];
    let weight = 0;
    for (const one of found) {
      const { data, shape } = one.attentions.get(layer) ?? internal(`${method.name}.inspect: no attentions ${layer}`);
      const [, heads, length] = shape;
      const positions = keyTokens(length);
      weight += positions.length;
      attentionEntropy(data, { heads, length, positions }).forEach((value, head) => {
        sums[head] = (sums[head] ?? 0) + value * positions.length;
      });
    }
    return sums.map((sum) => sum / weight);
  });
  return { hidden, entropy };
}

/** The base's states, from a method that has not learned yet; undefined where it cannot be looked into. */
export async function readBase(method: Method, texts: readonly string[] = []): Promise<BaseStates | undefined> {
  if (!method.inspect || texts.length === 0) return undefined;
  const [first] = await method.inspect(texts.slice(0, 1), {});
  const states = first.hidden.size;
  return states === 0 ? undefined : { hidden: (await insidesOf(method, texts, states)).hidden };
}

/** The model as it is now beside its base. */
export async function takeSnapshot(method: Method, texts: readonly string[], base: BaseStates): Promise<Snapshot> {
  const { hidden, entropy } = await insidesOf(method, texts, base.hidden.length);
  const cka = await linearCka(hidden.map((now, i) => [now, base.hidden[i]] as const));
  return {
    drift: hidden.map((now, i) => ({ ...drift(now, base.hidden[i]), cka: cka[i] })),
    attentionEntropy: entropy,
  };
}

const ratio = (value: number, to: number | undefined): Cell => (to === undefined || to === 0 ? null : value / to);

/** Everything that follows from the matrix and the snapshots (before the first topic; after each). */
export function diagnosticsOf(
  matrix: ScoreMatrix,
  { before, after }: { before: Snapshot | null; after: readonly Snapshot[] },
): Diagnostics {
  const decay = decayOf(matrix);
  if (before === null && after.length === 0) return { decay, insides: null };
  const driftRatio = after.map(({ drift: layers }) =>
    layers.map(({ relativeL2 }, i) => ratio(relativeL2, after[0].drift[i]?.relativeL2)),
  );
  const entropyRatio = after.map(({ attentionEntropy: layers }) =>
    layers.map((heads, layer) => heads.map((value, head) => ratio(value, before?.attentionEntropy[layer]?.[head]))),
  );
  return { decay, insides: { before, after, driftRatio, entropyRatio } };
}
