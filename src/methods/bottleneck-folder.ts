/**
 * Bottleneck adapters as a folder in the manner of Hugging Face PEFT (adapter_config.json, adapter_model.safetensors).
 * PEFT itself has no such adapter: the folder is read by this project, and easily by anything that reads safetensors.
 */
import { join } from "node:path";
import { z } from "zod";
import { readJsonObject, writeFileAtomic } from "../checkpoint/files.ts";
import { openSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import type { Checkpoint, Weights } from "../models/load.ts";
import type { ModelDefinition } from "../models/model.ts";
import { activationNames } from "../nn/activation.ts";
import { bottleneckAdapters, bottleneckNames } from "../nn/bottleneck.ts";
import type { Modification } from "../nn/params.ts";
import { makeFolder } from "./folders.ts";

const PREFIX = "base_model.model.";

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
  const config = {
    peft_type: "BOTTLENECK",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: base.folder,
    bottleneck_size: down.shape[0],
    non_linearity: activation,
    target_modules: paths,
    inference_mode: true,
    mneme_base_sha256: await base.hash(),
  };
  await makeFolder(folder);
  const named = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [PREFIX + name, tensor]));
  await writeSafetensors(join(folder, "adapter_model.safetensors"), named, { metadata: { format: "pt" } });
  await writeFileAtomic(join(folder, "adapter_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/** Read such a folder, and check that it fits the base. */
export async function loadBottleneck(base: Base, folder: string): Promise<Bottleneck> {
  const parsed = configSchema.safeParse(await readJsonObject(join(folder, "adapter_config.json")));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new UserError(
      `loadBottleneck: expected bottleneck adapters in ${folder}, got ${issue.path.join(".")}: ${issue.message}; is it of another kind?`,
    );
  }
  const { bottleneck_size: size, non_linearity: activation, mneme_base_sha256: hash } = parsed.data;
  if (hash !== undefined && hash !== (await base.hash())) {
    throw new UserError(
      `loadBottleneck: expected adapters of the model in ${base.folder}, got some of another with SHA-256 ${hash.slice(0, 12)}...; use the model they were trained on`,
    );
  }
  const tensors: Weights = {};
  const file = await openSafetensors(join(folder, "adapter_model.safetensors"));
  try {
    for (const [name, shape] of Object.entries(shapesOf(base, size))) {
      const got = file.tensors.get(PREFIX + name)?.shape;
      if (got?.join() !== shape.join()) {
        throw new UserError(
          `loadBottleneck: expected ${name} of shape [${shape}], got ${got ? `[${got}]` : "none"}; is it made for another model?`,
        );
      }
      tensors[name] = await file.readFloat32(PREFIX + name);
    }
  } finally {
    await file.close();
  }
  return { tensors, activation };
}

/** The base with adapters: a model for scoring and generation that shares the base's arrays. */
export function attachBottleneck<M extends Base>(
  base: M,
  { tensors, activation }: Bottleneck,
): M & { readonly modification: Modification } {
  return { ...base, weights: { ...base.weights, ...tensors }, modification: bottleneckAdapters(activation) };
}
