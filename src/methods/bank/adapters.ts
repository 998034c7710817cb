/**
 * Low-rank adapters on keys and values of the last layers of a base (memory bank compression,
 * https://arxiv.org/abs/2601.00756: "KV-LoRA"), or on queries too: beside projections of their own, or beside a fused one
 * (GPT-2), where what is added goes to its last rows and leaves the queries as they are.
 */
import type { LoadedModel, Weights } from "../../models/load.ts";
import { kaimingUniform } from "../../nn/init.ts";
import { zerosHost } from "../../tensor/dtype.ts";
import { randomStream } from "../../tensor/random.ts";

export interface AttentionAdapterOptions {
  readonly rank: number;
  /** How many of the last layers. */
  readonly layers: number;
  readonly beside: "kv" | "qkv";
}

/** Queries, keys and values in one matrix. */
const fused = /(^|\.)c_attn$/;
const separate = { kv: /(^|\.)[kv](_proj)?$/, qkv: /(^|\.)[qkv](_proj)?$/ } as const;

/** Fresh adapters by name: A uniform, B zero. */
export function attentionAdapters(
  { definition, config, geometry, weights }: LoadedModel,
  { rank, layers, beside }: AttentionAdapterOptions,
  seed: number,
): Weights {
  const adapters: Weights = {};
  if (rank === 0) return adapters;
  const { width: C, heads, headDim } = geometry;
  const paths = definition.linearPaths(config);
  const perLayer = paths.length / geometry.layers;
  for (const path of paths.slice(Math.max(0, geometry.layers - layers) * perLayer)) {
    if (!fused.test(path) && !separate[beside].test(path)) continue;
    const { shape } = weights[`${path}.weight`];
    const all = definition.linearInputFirst ? shape[1] : shape[0];
    const outputs = fused.test(path) && beside === "kv" ? all - heads * headDim : all;
    const a = zerosHost("float32", [rank, C]);
    kaimingUniform()(a.data, a.shape, randomStream(seed, "adapter", path));
    adapters[`${path}.lora_A.weight`] = a;
    adapters[`${path}.lora_B.weight`] = zerosHost("float32", [outputs, rank]);
  }
  return adapters;
}
