/**
 * Qwen2 and Qwen2.5 (2407.10671): Llama with biases on queries, keys and values. A sliding window is often stated and
 * seldom on: it holds only with `use_sliding_window`, and only from layer `max_window_layers` upwards.
 */
import { type LlamaConfig, llamaFamily } from "./llama.ts";

/** The window of a layer: `layer_types` has the word where newer files state it. */
export function qwenWindow(c: LlamaConfig, layer: number): number | undefined {
  const sliding = c.layer_types ? c.layer_types[layer] === "sliding_attention" : layer >= c.max_window_layers;
  return c.use_sliding_window && sliding ? (c.sliding_window ?? undefined) : undefined;
}

export const qwen2 = llamaFamily("qwen2", {
  defaults: { sliding_window: 4096, max_position_embeddings: 32768 },
  qkvBias: () => true,
  outputBias: () => false,
  headNorm: false,
  window: qwenWindow,
});
