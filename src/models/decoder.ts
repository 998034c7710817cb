/**
 * Decoding with a key/value cache: one compiled graph with symbolic B, T and P reads prompts and single tokens alike.
 * The cache lives in host memory, time first ([P, B, K, D] per layer): the graph writes the keys and values of new
 * tokens straight behind the old ones and reads the past in place, so a step moves no more than its own tokens.
 * Slot 0 of a cache is a padding token that no query sees: the runtime's products crash on an empty past.
 */
import { internal, UserError } from "../errors.ts";
import { type LowRank, paramsOf, weightInputs } from "../nn/params.ts";
import type { Program, Runtime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { input, reshape, slice, transpose } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { addDims } from "../tensor/shape.ts";
import type { Geometry, ModelDefinition } from "./model.ts";

/** A model with its numbers: what decoding, scoring and inspection need. */
export interface Model {
  readonly definition: ModelDefinition;
  readonly config: unknown;
  readonly geometry: Geometry;
  /** By canonical name; low-rank adapters (`<path>.lora_A.weight`, `<path>.lora_B.weight`) may be among them. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  readonly lowRank?: LowRank;
}

export interface DecoderOptions {
  /** Weights become part of the graph: faster steps, slower creation, one more copy. Else they are read live at each step. */
  frozen?: boolean;
}

/** Keys and values of the tokens read so far by B sequences in step. */
export interface Cache {
  readonly batch: number;
  /** Tokens read per row, padding included. */
  readonly length: number;
  /** Row b continues what row `rows[b]` has read (beam search). */
  reorder(rows: ArrayLike<number>): void;
  /** Forget all but the first `length` tokens. */
  truncate(length: number): void;
  bytes(): number;
}

export interface Decoder {
  readonly geometry: Geometry;
  /** An empty cache with room for `capacity` tokens per row; it grows. */
  createCache(batch: number, capacity?: number): Cache;
  /**
   * Read T more tokens of each of the B rows: ids [B, T] row-major, positions likewise (negative: padding; default:
   * the tokens count on from the cache). Scores [B, V] of the token that follows the last one. The array is reused.
   */
  step(cache: Cache, ids: ArrayLike<number>, positions?: ArrayLike<number>): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** Slots before the first token. */
const HEAD = 1;

/** Longest piece of a prompt in one run: keeps the [T, S] scores of a long prompt small. */
const CHUNK = 512;

interface LayerBuffers {
  key: Float32Array;
  value: Float32Array;
}

interface HostCache extends Cache {
  length: number;
  readonly layers: LayerBuffers[];
  /** Time first, [P, B]. */
  positions: Int32Array;
  reserve(length: number): void;
}

function decoderGraph({ definition, config, geometry, weights, lowRank }: Model): Record<string, Tensor> {
  const { layers, kvHeads: K, headDim: D } = geometry;
  const shapes = Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape]));
  const p = paramsOf(weightInputs(shapes), lowRank);
  const past = (name: string): Tensor => transpose(input(name, "float32", ["P", "B", K, D]), [1, 2, 0, 3]);
  const { final, present } = definition.forward(p, config, {
    ids: input("ids", "int32", ["B", "T"]),
    positions: input("positions", "int32", ["B", "T"]),
    past: {
      positions: transpose(input("past.positions", "int32", ["P", "B"])),
      layers: Array.from({ length: layers }, (_, i) => ({ key: past(`past.${i}.key`), value: past(`past.${i}.value`) })),
    },
  });
  const last = slice(final, { axis: 1, start: addDims("T", -1), end: "T" });
  const outputs: Record<string, Tensor> = {
    logits: definition.logits(p, config, reshape(last, ["B", geometry.width])),
  };
  for (const [i, { key, value }] of present.entries()) {
    outputs[`present.${i}.key`] = transpose(key, [2, 0, 1, 3]);
    outputs[`present.${i}.value`] = transpose(value, [2, 0, 1, 3]);
  }
  return outputs;
}

function createHostCache({ layers, kvHeads, headDim }: Geometry, batch: number, capacity: number): HostCache {
  if (!Number.isInteger(batch) || batch < 1) throw new UserError(`cache: expected 1 or more sequences, got ${batch}`);
  const row = kvHeads * headDim;
  const width = batch * row;
  let room = HEAD + capacity;
  const grown = <A extends Float32Array | Int32Array>(old: A, size: number): A => {
    const larger = new (old.constructor as new (size: number) => A)(size);
    larger.set(old);
    return larger;
  };
  const gatherRows = (data: Float32Array | Int32Array, length: number, unit: number, rows: ArrayLike<number>): void => {
    const held = data.slice(0, batch * unit);
    for (let t = HEAD; t < HEAD + length; t++) {
      const start = t * batch * unit;
      held.set(data.subarray(start, start + batch * unit));
      for (let b = 0; b < batch; b++) {
        if (rows[b] !== b) data.set(held.subarray(rows[b] * unit, (rows[b] + 1) * unit), start + b * unit);
      }
    }
  };
  const cache: HostCache = {
    batch,
    length: 0,
    layers: Array.from({ length: layers }, () => ({
      key: new Float32Array(room * width),
      value: new Float32Array(room * width),
    })),
    positions: new Int32Array(room * batch).fill(-1, 0, HEAD * batch),
    reserve(length) {
      if (HEAD + length <= room) return;
      room = HEAD + Math.max(length, 2 * (room - HEAD));
      for (const layer of cache.layers) {
        layer.key = grown(layer.key, room * width);
        layer.value = grown(layer.value, room * width);
      }
      cache.positions = grown(cache.positions, room * batch);
    },
    reorder(rows) {
      if (rows.length !== batch) throw new UserError(`cache.reorder: expected ${batch} rows, got ${rows.length}`);
      for (const { key, value } of cache.layers) {
        gatherRows(key, cache.length, row, rows);
        gatherRows(value, cache.length, row, rows);
      }
      gatherRows(cache.positions, cache.length, 1, rows);
    },
    truncate(length) {
      if (!Number.isInteger(length) || length < 0 || length > cache.length) {
        throw new UserError(`cache.truncate: expected a length from 0 to ${cache.length}, got ${length}`);
      }
      cache.length = length;
    },
    bytes: () => (2 * layers * width + batch) * room * 4,
  };
  return cache;
}

/** Compile a model for decoding. */
export async function createDecoder(runtime: Runtime, model: Model, { frozen = true }: DecoderOptions = {}): Promise<Decoder> {
  const { definition, geometry, weights } = model;
  if (definition.kind !== "causal") {
    throw new UserError(`decoder: expected a causal language model, got ${definition.modelType}, an encoder; choose another model`);
  }
  const graph = decoderGraph(model);
  const program: Program = await runtime.compile(graph, frozen ? weights : undefined);
  const { layers, kvHeads, headDim, vocabulary } = geometry;
  const live: Record<string, HostTensor> = {};
  for (const { name } of program.inputs) if (name in weights) live[name] = weights[name];
  const names = Array.from({ length: layers }, (_, i) => ({
    pastKey: `past.${i}.key`,
    pastValue: `past.${i}.value`,
    presentKey: `present.${i}.key`,
    presentValue: `present.${i}.value`,
  }));
  let logits = new Float32Array(vocabulary);

  const run = async (cache: HostCache, ids: Int32Array, positions: Int32Array): Promise<void> => {
    const B = cache.batch;
    const P = HEAD + cache.length;
    const T = ids.length / B;
    const width = B * kvHeads * headDim;
    cache.reserve(cache.length + T);
    const pastShape = [P, B, kvHeads, headDim];
    const presentShape = [T, B, kvHeads, headDim];
    const feeds: Record<string, HostTensor> = {
      ...live,
      ids: { dtype: "int32", shape: [B, T], data: ids },
      positions: { dtype: "int32", shape: [B, T], data: positions },
      "past.positions": { dtype: "int32", shape: [P, B], data: cache.positions.subarray(0, P * B) },
    };
    const into: Record<string, HostTensor> = { logits: { dtype: "float32", shape: [B, vocabulary], data: logits } };
    for (let i = 0; i < layers; i++) {
      const { key, value } = cache.layers[i];
      const { pastKey, pastValue, presentKey, presentValue } = names[i];
      feeds[pastKey] = { dtype: "float32", shape: pastShape, data: key.subarray(0, P * width) };
      feeds[pastValue] = { dtype: "float32", shape: pastShape, data: value.subarray(0, P * width) };
      into[presentKey] = { dtype: "float32", shape: presentShape, data: key.subarray(P * width, (P + T) * width) };
      into[presentValue] = { dtype: "float32", shape: presentShape, data: value.subarray(P * width, (P + T) * width) };
    }
    await program.run(feeds, { into });
    for (let t = 0; t < T; t++) for (let b = 0; b < B; b++) cache.positions[(P + t) * B + b] = positions[b * T + t];
    cache.length += T;
  };

  return {
    geometry,
    createCache: (batch, capacity = 64) => createHostCache(geometry, batch, capacity),
    async step(cache, ids, positions) {
      const host = cache as HostCache;
      const { batch: B, length: P } = host;
      const T = ids.length / B;
      if (!Number.isInteger(T) || T < 1) internal(`decoder.step: ${ids.length} ids for ${B} rows`);
      if (logits.length !== B * vocabulary) logits = new Float32Array(B * vocabulary);
      for (let start = 0; start < T; start += CHUNK) {
        const size = Math.min(CHUNK, T - start);
        const part = new Int32Array(B * size);
        const places = new Int32Array(B * size);
        for (let b = 0; b < B; b++) {
          for (let t = 0; t < size; t++) {
            part[b * size + t] = ids[b * T + start + t];
            places[b * size + t] = positions ? positions[b * T + start + t] : P + start + t;
          }
        }
        await run(host, part, places);
      }
      return logits;
    },
    dispose: () => program.release(),
  };
}
