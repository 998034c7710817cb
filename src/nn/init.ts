/**
 * Initial values of parameters. A rule looks at a name and a shape and says how to fill it; every tensor draws from
 * its own stream, so its values depend on the seed and its name alone, not on what else the model has.
 */
import { zerosHost } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import type { Random } from "../tensor/random.ts";
import { isBias, isNorm, isResidualOutput } from "./names.ts";

export type Initializer = (out: Float32Array, shape: readonly number[], random: Random) => void;
export type InitRule = (name: string, shape: readonly number[]) => Initializer;

export const fillWith =
  (value: number): Initializer =>
  (out) => {
    out.fill(value);
  };

const zeros: Initializer = fillWith(0);
const ones: Initializer = fillWith(1);

export const normal =
  (std: number): Initializer =>
  (out, _shape, random) => {
    random.fillNormal(out, 0, std);
  };

/**
 * Uniform in +-sqrt(6 / ((1 + slope^2) * fanIn)) (https://arxiv.org/abs/1502.01852). The default slope, sqrt(5), is
 * what PyTorch's Linear uses: +-1 / sqrt(fanIn). fanIn is the product of all axes but the first ([out, in] layout);
 * name "first" for [in, out] weights.
 */
export const kaimingUniform =
  ({ slope = Math.sqrt(5), fanIn = "last" }: { slope?: number; fanIn?: "first" | "last" } = {}): Initializer =>
  (out, shape, random) => {
    const inputs = fanIn === "first" ? shape[0] : shape.slice(1).reduce((a, b) => a * b, 1);
    const bound = Math.sqrt(6 / ((1 + slope * slope) * inputs));
    random.fillUniform(out, -bound, bound);
  };

/**
 * GPT-2's rule (Radford et al. 2019, section 2.3): normals of `std`, smaller by 1 / sqrt(2 * layers) where a projection
 * adds to the residual stream (two per layer, so its variance stays level with depth); biases 0; norms 1.
 */
export function gpt2Rule({
  layers,
  std = 0.02,
  isResidual = isResidualOutput,
}: {
  layers: number;
  std?: number;
  isResidual?: (name: string) => boolean;
}): InitRule {
  return (name) => {
    if (isBias(name)) return zeros;
    if (isNorm(name)) return ones;
    return normal(isResidual(name) ? std / Math.sqrt(2 * layers) : std);
  };
}

/** Fresh float32 parameters for these shapes. */
export function initialize(
  shapes: Readonly<Record<string, readonly number[]>>,
  rule: InitRule,
  seed: number,
): Record<string, HostTensor<"float32">> {
  const parameters: Record<string, HostTensor<"float32">> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const tensor = zerosHost("float32", shape);
    rule(name, shape)(tensor.data, shape, randomStream(seed, "init", name));
    parameters[name] = tensor;
  }
  return parameters;
}
