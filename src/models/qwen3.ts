/**
 * Qwen3 (2505.09388): Llama with a head size of its own and an RMSNorm over each head of queries and keys; no
 * biases.
 */
import { llamaFamily } from "./llama.ts";
import { qwenWindow } from "./qwen2.ts";

export const qwen3 = llamaFamily("qwen3", {
  defaults: { head_dim: 128, sliding_window: 4096, max_position_embeddings: 32768 },
  qkvBias: (c) => c.attention_bias,
  outputBias: (c) => c.attention_bias,
  headNorm: true,
  window: qwenWindow,
});
