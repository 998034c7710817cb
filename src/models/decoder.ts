/**
 * Decoding with a key/value cache: one compiled graph with symbolic B, T and P reads prompts and single tokens alike.
 * The graph reads the past in place and writes the keys and values of new tokens straight behind it (cache.ts), so a
 * step moves no more than its own tokens. Only the scores after the last token leave it.
 */
import { internal, UserError } from "../errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { input, reshape, transpose } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { ConditionKind, RowCondition } from "./condition.ts";
import { type Cache, createHostCache, HEAD, type HostCache, joinHostCaches, type Place } from "./cache.ts";
import { requireIds } from "./ids.ts";
import { type CompileOptions, fitsGraph, frozenWeights, liveWeights, type Model, modelParams } from "./instance.ts";
import type { Geometry } from "./model.ts";

export type { CompileOptions, Model };

export interface Decoder {
  readonly geometry: Geometry;
  /**
   * An empty cache for B sequences with room for `capacity` tokens each; it grows. A decoder that was compiled for
   * conditions needs one for each.
   */
  createCache(batch: number, capacity?: number, conditions?: readonly RowCondition[]): Cache;
  /** A new cache of the rows at these places in other caches, whatever their lengths; a row may be taken repeatedly. */
  join(caches: readonly Cache[], places: readonly Place[], capacity: number): Cache;
  /**
   * Read T more tokens of each of the cache's B rows: ids [B, T] row by row, positions likewise (negative: padding,
   * which nothing sees; default: counted on from the cache). Gives the scores [B, V] of the token after the last, in
   * an array that the cache's next step overwrites.
   */
  step(cache: Cache, ids: ArrayLike<number>, positions?: ArrayLike<number>): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** Longest piece of a prompt in one run: keeps the [T, S] attention scores of a long prompt small. */
const CHUNK = 512;

export interface DecoderOptions extends CompileOptions {
  /** Every row is told a condition of this kind beside its text. */
  conditioned?: ConditionKind;
}

function decoderGraph(model: Model, told: ConditionKind | undefined): Record<string, Tensor> {
  const { definition, config, geometry } = model;
  const { layers, kvHeads: K, headDim: D, width } = geometry;
  const p = modelParams(model);
  // The runtime folds this transpose into the matrix products: the past is not copied
  const past = (name: string): Tensor => transpose(input(name, "float32", ["P", "B", K, D]), [1, 2, 0, 3]);
  const { final, present } = definition.forward(p, config, {
    ids: input("ids", "int32", ["B", "T"]),
    positions: input("positions", "int32", ["B", "T"]),
    lastOnly: true,
    ...told?.inputs(geometry),
    past: {
      positions: transpose(input("past.positions", "int32", ["P", "B"])),
      layers: Array.from({ length: layers }, (_, i) => ({
        key: past(`past.${i}.key`),
        value: past(`past.${i}.value`),
      })),
    },
  });
  const outputs: Record<string, Tensor> = { logits: definition.logits(p, config, reshape(final, ["B", width])) };
  for (const [i, { key, value }] of present.entries()) {
    outputs[`present.${i}.key`] = transpose(key, [2, 0, 1, 3]);
    outputs[`present.${i}.value`] = transpose(value, [2, 0, 1, 3]);
  }
  return outputs;
}

/** Compile a model for decoding; by default its weights are frozen where they fit into a graph. */
export async function createDecoder(
  runtime: Runtime,
  model: Model,
  { frozen = fitsGraph({ weights: frozenWeights(model) }), conditioned }: DecoderOptions = {},
): Promise<Decoder> {
  const { geometry } = model;
  const { layers, kvHeads, headDim, vocabulary, context } = geometry;
  // What the cache holds does not enter the graph
  const told = conditioned?.remember ? undefined : conditioned;
  const program = await runtime.compile(decoderGraph(model, told), frozen ? frozenWeights(model) : undefined);
  const live = liveWeights(program, model);
  const names = Array.from({ length: layers }, (_, i) => ({
    past: { key: `past.${i}.key`, value: `past.${i}.value` },
    present: { key: `present.${i}.key`, value: `present.${i}.value` },
  }));

  const run = async (cache: HostCache, T: number, ids: Int32Array, positions: Int32Array): Promise<void> => {
    const { batch: B, length } = cache;
    cache.reserve(length + T);
    const P = HEAD + length;
    const slot = B * kvHeads * headDim;
    const float32 = (time: number, data: Float32Array, start: number): HostTensor => ({
      dtype: "float32",
      shape: [time, B, kvHeads, headDim],
      data: data.subarray(start * slot, (start + time) * slot),
    });
    const feeds: Record<string, HostTensor> = {
      ...live,
      ...told?.feeds(geometry, cache.conditions ?? [], positions),
      ids: { dtype: "int32", shape: [B, T], data: ids },
      positions: { dtype: "int32", shape: [B, T], data: positions },
      "past.positions": { dtype: "int32", shape: [P, B], data: cache.positions.subarray(0, P * B) },
    };
    const into: Record<string, HostTensor> = {
      logits: { dtype: "float32", shape: [B, vocabulary], data: cache.logits },
    };
    for (let i = 0; i < layers; i++) {
      const { key, value } = cache.layers[i];
      feeds[names[i].past.key] = float32(P, key, 0);
      feeds[names[i].past.value] = float32(P, value, 0);
      into[names[i].present.key] = float32(T, key, P);
      into[names[i].present.value] = float32(T, value, P);
    }
    await program.run(feeds, { into });
    for (let t = 0; t < T; t++) for (let b = 0; b < B; b++) cache.positions[(P + t) * B + b] = positions[b * T + t];
    cache.length += T;
  };

  return {
    geometry,
    createCache(batch, capacity = 64, conditions) {
      if ((conditions?.length ?? 0) !== (conditioned ? batch : 0))
        internal(`decoder.createCache: ${conditions?.length ?? 0} conditions for ${batch} rows`);
      const cache = createHostCache(geometry, batch, capacity, conditions);
      if (conditions) conditioned?.remember?.(geometry, conditions, cache);
      return cache;
    },
    join: (caches, places, capacity) => joinHostCaches(geometry, caches as readonly HostCache[], places, capacity),
    async step(cache, ids, positions) {
      const host = cache as HostCache;
      const { batch: B } = host;
      const length = host.length - host.before;
      const T = ids.length / B;
      if (!Number.isInteger(T) || T < 1) internal(`decoder.step: ${ids.length} ids for ${B} rows`);
      if (positions && positions.length !== ids.length)
        internal(`decoder.step: ${positions.length} positions for ${ids.length} ids`);
      requireIds("decoder", ids, vocabulary);
      const furthest = positions ? Array.from(positions).reduce((a, b) => Math.max(a, b)) : length + T - 1;
      if (furthest >= context) {
        throw new UserError(
          `decoder: expected positions below ${context} (the model's context), got ${furthest}; read fewer tokens`,
        );
      }
      if (host.logits.length !== B * vocabulary) host.logits = new Float32Array(B * vocabulary);
      for (let start = 0; start < T; start += CHUNK) {
        const size = Math.min(CHUNK, T - start);
        const part = new Int32Array(B * size);
        const places = new Int32Array(B * size);
        for (let b = 0; b < B; b++) {
          for (let t = 0; t < size; t++) {
            part[b * size + t] = ids[b * T + start + t];
            places[b * size + t] = positions ? positions[b * T + start + t] : length + start + t;
          }
        }
        await run(host, size, part, places);
      }
      return host.logits;
    },
    dispose: () => program.release(),
  };
}
