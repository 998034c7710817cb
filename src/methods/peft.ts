/**
 * Low-rank adapters in the layout of Hugging Face PEFT (adapter_config.json, adapter_model.safetensors), which PEFT,
 * vLLM and llama.cpp's converter load; and merging them into the weights: W + (alpha / r) B A.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { Checkpoint, Weights } from "../models/load.ts";
import type { ModelDefinition } from "../models/model.ts";
import { lowRankAdapters } from "../nn/lora.ts";
import type { Modification } from "../nn/params.ts";
import { float32Host } from "../tensor/dtype.ts";
import { checkShape, PREFIX, readAdapterFolder, writeAdapterFolder } from "./adapter-folder.ts";

const DOWN = ".lora_A.weight";
const UP = ".lora_B.weight";

type Base = Pick<Checkpoint<ModelDefinition>, "definition" | "config" | "weights" | "folder" | "hash">;

/** Adapters by path, as PEFT sees them: `<path>.lora_A.weight` [r, in] and `<path>.lora_B.weight` [out, r]. */
export interface Adapter {
  readonly tensors: Weights;
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
}

const configSchema = z.looseObject({
  peft_type: z.literal("LORA"),
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).default(0),
  use_rslora: z.literal(false).default(false),
  use_dora: z.literal(false).default(false),
  bias: z.literal("none").default("none"),
  // Ranks and scales of single layers: only where there are none
  rank_pattern: z.strictObject({}).nullish(),
  alpha_pattern: z.strictObject({}).nullish(),
  mneme_base_sha256: z.string().optional(),
});

const pathsOf = (tensors: Weights): string[] =>
  Object.keys(tensors)
    .filter((name) => name.endsWith(DOWN))
    .map((name) => name.slice(0, -DOWN.length));

/**
 * Names for `target_modules`, which PEFT matches with the ends of module paths: last parts where they select the very
 * layers that are adapted, else whole paths (`c_proj` alone would also select the other `c_proj` of each block).
 */
function targetModules({ definition, config }: Base, paths: readonly string[]): string[] {
  const last = (path: string): string => path.slice(path.lastIndexOf(".") + 1);
  const kinds = new Set(paths.map(last));
  const selected = definition.linearPaths(config).filter((path) => kinds.has(last(path)));
  return selected.length === paths.length ? [...kinds] : [...paths];
}

export async function saveAdapter(
  base: Base,
  { tensors, rank, alpha, dropout }: Adapter,
  folder: string,
): Promise<void> {
  const config = {
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targetModules(base, pathsOf(tensors)),
    fan_in_fan_out: base.definition.linearInputFirst,
    bias: "none",
  };
  await writeAdapterFolder(base, { type: "LORA", config, tensors }, folder);
}

/** Read an adapter folder written here or by PEFT, and check that it fits the base. */
export function loadAdapter(base: Base, folder: string): Promise<Adapter> {
  return readAdapterFolder(
    base,
    folder,
    { schema: configSchema, caller: "loadAdapter", kind: "a plain LoRA adapter" },
    async ({ r: rank, lora_alpha: alpha, lora_dropout: dropout }, file) => {
      const known = new Set(base.definition.linearPaths(base.config));
      const adapted = new Set<string>();
      const tensors: Weights = {};
      for (const stored of file.tensors.keys()) {
        const name = stored.replace(PREFIX, "").replace(".default.weight", ".weight");
        const path = name.replace(/\.lora_[AB]\.weight$/, "");
        if (!known.has(path) || path === name) {
          throw new UserError(
            `loadAdapter: expected adapters of the model's linear layers, got ${stored}; is it made for another model?`,
          );
        }
        adapted.add(path);
        tensors[name] = await file.readFloat32(stored);
      }
      if (adapted.size === 0)
        throw new UserError(`loadAdapter: expected adapters in ${folder}, got none; save the adapter again`);
      for (const path of adapted) checkPair(base, tensors, path, rank);
      return { tensors, rank, alpha, dropout };
    },
  );
}

function layerSize({ definition, weights }: Base, path: string): { inputs: number; outputs: number } {
  const [rows, columns] = weights[`${path}.weight`].shape;
  return definition.linearInputFirst ? { inputs: rows, outputs: columns } : { inputs: columns, outputs: rows };
}

function checkPair(base: Base, tensors: Weights, path: string, rank: number): void {
  const { inputs, outputs } = layerSize(base, path);
  for (const [name, shape] of [
    [path + DOWN, [rank, inputs]],
    [path + UP, [outputs, rank]],
  ] as const)
    checkShape("loadAdapter", name, shape, tensors[name]?.shape);
}

/** The base with an adapter beside its layers: a model for scoring and generation that shares the base's arrays. */
export function attachAdapter<M extends Base>(
  base: M,
  { tensors, rank, alpha }: Adapter,
): M & { readonly modification: Modification } {
  const modification = lowRankAdapters({ scale: alpha / rank, dropout: 0 });
  return { ...base, weights: { ...base.weights, ...tensors }, modification };
}

/** W + (alpha / r) B A for every adapted layer, in new arrays: the model that answers as base and adapter together. */
export function mergeAdapter(base: Base, { tensors, rank, alpha }: Adapter): Weights {
  const merged: Weights = { ...base.weights };
  for (const path of pathsOf(tensors)) {
    const { inputs, outputs } = layerSize(base, path);
    const { data: a } = tensors[path + DOWN];
    const { data: b } = tensors[path + UP];
    const { shape, data } = base.weights[`${path}.weight`];
    const sum = data.slice();
    const [rowStep, columnStep] = base.definition.linearInputFirst ? [1, outputs] : [inputs, 1];
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < rank; r++) {
        const factor = (alpha / rank) * b[o * rank + r];
        for (let i = 0; i < inputs; i++) sum[o * rowStep + i * columnStep] += factor * a[r * inputs + i];
      }
    }
    merged[`${path}.weight`] = float32Host(shape, sum);
  }
  return merged;
}
