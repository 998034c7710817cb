/** Activation functions by the names that config.json uses. GELU and both its approximations: 1606.08415, section 2. */
import { gelu, geluTanh, mul, relu, sigmoid, silu, tanh } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";

export const activations = {
  gelu,
  gelu_python: gelu,
  // Three spellings of the tanh approximation
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  quick_gelu: (x: Tensor) => mul(x, sigmoid(mul(x, 1.702))),
  relu,
  silu,
  swish: silu,
  tanh,
} as const;

type Activation = keyof typeof activations;
export const activationNames = Object.keys(activations) as [Activation, ...Activation[]];
