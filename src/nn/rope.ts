/**
 * Rotary position embeddings (RoFormer, 2104.09864), with Llama 3's frequency scaling and linear scaling (position
 * interpolation, 2306.15595: dividing positions is dividing frequencies).
 */
import { UserError } from "../errors.ts";
import { float32Host } from "../tensor/dtype.ts";
import { cast, constant, cos, mul, reshape, sin } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";

export interface RopeOptions {
  readonly headDim: number;
  /** Base of the geometric frequencies. */
  readonly theta: number;
  /** `rope_scaling` of config.json. */
  readonly scaling?: RopeScaling | null;
}

type RopeScaling = Readonly<Record<string, unknown>>;

/** theta_i = base^(-2i/D) (2104.09864, section 3.2.2), scaled if asked. */
function inverseFrequencies({ headDim, theta, scaling }: RopeOptions): Float32Array {
  const plain = Float32Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
  const type = scaling?.rope_type ?? scaling?.type ?? "default";
  if (!scaling || type === "default") return plain;
  if (type === "linear") return plain.map((f) => f / number(scaling, "factor"));
  if (type === "llama3") return plain.map((f) => llama3Frequency(f, scaling));
  throw new UserError(`rope: expected rope_scaling of type default, linear or llama3, got ${String(type)}`);
}

/** Low frequencies are divided by the factor, high ones kept, those between interpolated (Llama 3.1 model card). */
function llama3Frequency(frequency: number, scaling: RopeScaling): number {
  const factor = number(scaling, "factor");
  const low = number(scaling, "low_freq_factor");
  const high = number(scaling, "high_freq_factor");
  const turns = (number(scaling, "original_max_position_embeddings") * frequency) / (2 * Math.PI);
  if (turns < low) return frequency / factor;
  if (turns > high) return frequency;
  const smooth = (turns - low) / (high - low);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

function number(scaling: RopeScaling, key: string): number {
  const value = scaling[key];
  if (typeof value !== "number")
    throw new UserError(`rope: expected rope_scaling.${key} to be a number, got ${JSON.stringify(value)}`);
  return value;
}

/** cos and sin of position times frequency: positions [T] or [B, T] (int32) -> [T, D/2] or [B, T, D/2]. */
export function rotaryTables(positions: Tensor, options: RopeOptions): { cos: Tensor; sin: Tensor } {
  const frequencies = inverseFrequencies(options);
  const column = reshape(cast(positions, "float32"), [...positions.shape, 1]);
  const angles = mul(column, constant(float32Host([frequencies.length], frequencies)));
  return { cos: cos(angles), sin: sin(angles) };
}
