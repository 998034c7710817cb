/**
 * The module of Larimar: encoder, conditioning and adapters that were fitted to one base, as a folder with config.json
 * and model.safetensors. It names the base by the hash of its weights and serves no other.
 */
import { join } from "node:path";
import { z } from "zod";
import { readChecked, sha256File, writeFileAtomic } from "../../checkpoint/files.ts";
import { type FloatStorage, openSafetensors, requireTensors, writeSafetensors } from "../../checkpoint/safetensors.ts";
import { UserError } from "../../errors.ts";
import type { Model } from "../../models/instance.ts";
import type { LoadedModel, Weights } from "../../models/load.ts";
import { initialize } from "../../nn/init.ts";
import { lowRankAdapters } from "../../nn/lora.ts";
import type { Modification } from "../../nn/params.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { freshAdapters, targetPaths } from "../lora.ts";
import { makeFolder } from "../folders.ts";
import { bindBlocks } from "./bind.ts";
import { latentRule, latentShapes } from "./nets.ts";

const count = z.int().positive();

export const moduleSchema = z
  .object({
    model_type: z.literal("mneme-larimar"),
    base: z.object({ name: z.string(), sha256: z.string() }),
    /** "frozen": the base as it is, with adapters. "joint": weights of its own for all of the base's. */
    variant: z.enum(["frozen", "joint"]),
    slots: count,
    rank: z.int().nonnegative(),
    alpha: z.number().positive(),
    latent: z.object({
      width: count,
      blocks: count,
      encoderWidth: count,
      encoderLayers: z.int().nonnegative(),
      encoderHeads: count,
      encoderInner: count,
      encoderContext: z.int().min(8),
    }),
    /** How it was fitted: for people. */
    fit: z.record(z.string(), z.unknown()).default({}),
  })
  .refine(({ latent }) => latent.width % latent.blocks === 0, {
    path: ["latent", "blocks"],
    error: "it must divide width",
  })
  .refine(({ latent }) => latent.encoderWidth % latent.encoderHeads === 0, {
    path: ["latent", "encoderHeads"],
    error: "it must divide encoderWidth",
  })
  .refine(({ slots, latent }) => slots <= latent.width, { path: ["slots"], error: "it must be at most latent.width" });

export type ModuleConfig = z.output<typeof moduleSchema>;

export interface LarimarModule {
  readonly config: ModuleConfig;
  /** Everything that the fit trains, by name: networks, adapters, and in the joint variant the base's own names. */
  readonly weights: Weights;
}

const FILE = "model.safetensors";

/** The adapters take effect where a module has some. */
export const adaptersOf = ({ rank, alpha }: Pick<ModuleConfig, "rank" | "alpha">): Modification | undefined =>
  rank === 0 ? undefined : lowRankAdapters({ scale: alpha / rank, dropout: 0 });

/** The decoder as the module has it: the base with adapters, or with weights of the module's own. */
export const decoderModel = (base: LoadedModel, { config, weights }: LarimarModule): Model => ({
  definition: base.definition,
  config: base.config,
  geometry: base.geometry,
  weights: { ...base.weights, ...weights },
  modification: adaptersOf(config),
});

/** Root mean square of the base's word embeddings, from the table that is as high as the vocabulary. */
function wordScale({ weights, geometry }: LoadedModel): number {
  const table = Object.values(weights).find(
    ({ shape }) => shape[0] === geometry.vocabulary && shape[1] === geometry.width,
  );
  const data = table?.data ?? [1];
  let sum = 0;
  for (const value of data) sum += value * value;
  return Math.sqrt(sum / data.length);
}

/** A module of random numbers. */
function emptyModule(base: LoadedModel, config: ModuleConfig, seed: number): LarimarModule {
  const { latent, rank, variant } = config;
  const networks = initialize(latentShapes(latent, base.geometry), latentRule(latent, wordScale(base)), seed);
  const own = Object.entries(base.weights).map(([name, { dtype, shape, data }]) => [
    name,
    { dtype, shape, data: data.slice() },
  ]);
  return {
    config,
    weights: {
      ...networks,
      ...(rank > 0 && freshAdapters(base, targetPaths(base, []), rank, seed)),
      ...(variant === "joint" && (Object.fromEntries(own) as Weights)),
    },
  };
}

/** A module that was not fitted yet, as a fit begins. */
export async function freshModule(
  runtime: Runtime,
  base: LoadedModel,
  config: ModuleConfig,
  seed: number,
): Promise<LarimarModule> {
  const module = emptyModule(base, config, seed);
  await bindBlocks(runtime, base, module.weights, config.latent);
  return module;
}

export async function saveModule(
  { config, weights }: LarimarModule,
  folder: string,
  { dtype = "float16" }: { dtype?: FloatStorage } = {},
): Promise<void> {
  await makeFolder(folder);
  await writeSafetensors(join(folder, FILE), weights, { dtype, metadata: { format: "pt" } });
  await writeFileAtomic(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/** Load the module of a base; that of another base is refused. */
export async function loadModule(
  base: LoadedModel,
  folder: string,
): Promise<LarimarModule & { readonly sha256: string }> {
  const what = "the configuration of a larimar module";
  const config = await readChecked(join(folder, "config.json"), moduleSchema, { caller: "larimar", what });
  const hash = await base.hash();
  if (hash !== config.base.sha256) {
    throw new UserError(
      `larimar: expected a module for the base ${hash}, got one for ${config.base.sha256} (${config.base.name}) in ` +
        `${folder}; name that base with --model, or fit a module for this one with \`mneme fit larimar\``,
    );
  }
  const expected = Object.entries(emptyModule(base, config, 0).weights).map(
    ([name, { shape }]) => [name, shape] as const,
  );
  const file = await openSafetensors(join(folder, FILE));
  try {
    requireTensors(file, Object.fromEntries(expected));
    const weights: Weights = {};
    for (const [name] of expected) weights[name] = await file.readFloat32(name);
    return { config, weights, sha256: await sha256File(file.path) };
  } finally {
    await file.close();
  }
}
