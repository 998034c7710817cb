/** Every activation function against its closed form. */
import { afterAll, describe, test } from "vitest";
import { expectClose } from "../support/close.ts";
import { createRuntime } from "../../src/runtime/runtime.ts";
import { float32Host } from "../../src/tensor/dtype.ts";
import { input } from "../../src/tensor/functions.ts";
import { activationNames, activations } from "../../src/nn/activation.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

describe("activations", () => {
  const quickGelu = (x: number): number => x / (1 + Math.exp(-1.702 * x));
  const tanhGelu = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  // x Phi(x) from a table of the normal distribution: Phi(1) = 0.8413447461, Phi(2) = 0.9772498681
  const exactGelu = (x: number): number =>
    x * ({ 1: 0.8413447461, 2: 0.9772498681, 0: 0.5, [-1]: 0.1586552539 }[x] ?? Number.NaN);
  const silu = (x: number): number => x / (1 + Math.exp(-x));
  const oracle: Record<(typeof activationNames)[number], (x: number) => number> = {
    gelu: exactGelu,
    gelu_python: exactGelu,
    gelu_new: tanhGelu,
    gelu_fast: tanhGelu,
    gelu_pytorch_tanh: tanhGelu,
    quick_gelu: quickGelu,
    relu: (x) => Math.max(0, x),
    silu,
    swish: silu,
    tanh: Math.tanh,
  };

  test.each(activationNames)("%s", async (name) => {
    const points = [-1, 0, 1, 2];
    const program = await runtime.compile({ y: activations[name](input("x", "float32", [4])) });
    const { y } = await program.run({ x: float32Host([4], points) });
    expectClose(name, y.data, points.map(oracle[name]), { absolute: 1e-6, relative: 1e-6 });
  });
});
