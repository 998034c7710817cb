/**
 * Bottleneck adapters as a folder in the manner of Hugging Face PEFT (adapter_config.json, adapter_model.safetensors).
 * PEFT itself has no such adapter: the folder is read by this project, and easily by anything that reads safetensors.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { Checkpoint, Weights } from "../models/load.ts";
import type { ModelDefinition } from "../models/model.ts";
import { activationNames } from "../nn/activation.ts";
import { bottleneckAdapters, bottleneckNames } from "../nn/bottleneck.ts";
import type { Modification } from "../nn/params.ts";
import { checkShape, PREFIX, readAdapterFolder, writeAdapterFolder } from "./adapter-folder.ts";

type Base = Pick<Checkpoint<ModelDefinition>, "definition" | "config" | "geometry" | "weights" | "folder" | "hash">;

/** Adapters by path of their sub-layer: `<path>.adapter_down.weight` [m, C], `.bias` [m], `adapter_up` likewise. */
export interface Bottleneck {
  readonly tensors: Weights;
  readonly activation: (typeof activationNames)[number];
}

const configSchema = z.looseObject({
  peft_type: z.literal("BOTTLENECK"),
  bottleneck_size: z.int().positive(),
  non_linearity: z.enum(activationNames),
  mneme_base_sha256: z.string().optional(),
});

/** The shapes of all tensors, by name, for adapters of width m behind every sub-layer. */
function shapesOf({ definition, config, geometry }: Base, m: number): Record<string, readonly number[]> {
  const { down, downBias, up, upBias } = bottleneckNames;
  const C = geometry.width;
  return Object.fromEntries(
    definition.sublayerPaths(config).flatMap((path): [string, readonly number[]][] => [
      [`${path}.${down}`, [m, C]],
      [`${path}.${downBias}`, [m]],
      [`${path}.${up}`, [C, m]],
      [`${path}.${upBias}`, [C]],
    ]),
  );
}

export async function saveBottleneck(base: Base, { tensors, activation }: Bottleneck, folder: string): Promise<void> {
  const paths = base.definition.sublayerPaths(base.config);
  const down = tensors[`${paths[0]}.${bottleneckNames.down}`];
  if (!down)
    throw new UserError("adapter: expected the state of an adapter method, got another one's; save it with its own");
  const config = { bottleneck_size: down.shape[0], non_linearity: activation, target_modules: paths };
  await writeAdapterFolder(base, { type: "BOTTLENECK", config, tensors }, folder);
}

/** Read such a folder, and check that it fits the base. */
export function loadBottleneck(base: Base, folder: string): Promise<Bottleneck> {
  const caller = "loadBottleneck";
  return readAdapterFolder(
    base,
    folder,
    { schema: configSchema, caller, kind: "bottleneck adapters" },
    async ({ bottleneck_size: size, non_linearity: activation }, file) => {
      const tensors: Weights = {};
      for (const [name, shape] of Object.entries(shapesOf(base, size))) {
        checkShape(caller, name, shape, file.tensors.get(PREFIX + name)?.shape);
        tensors[name] = await file.readFloat32(PREFIX + name);
      }
      return { tensors, activation };
    },
  );
}

/** The base with adapters: a model for scoring and generation that shares the base's arrays. */
export function attachBottleneck<M extends Base>(
  base: M,
  { tensors, activation }: Bottleneck,
): M & { readonly modification: Modification } {
  return { ...base, weights: { ...base.weights, ...tensors }, modification: bottleneckAdapters(activation) };
}
