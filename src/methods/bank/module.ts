/**
 * The module of bank compression: encoders, aggregator, prefix networks, adapters and codebooks that were fitted to one
 * base, as a folder with config.json and model.safetensors. It names the base by the hash of its weights, and so a T5 that
 * is its encoder.
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
import { float32Host } from "../../tensor/dtype.ts";
import { makeFolder } from "../folders.ts";
import { attentionAdapters } from "./adapters.ts";
import { ownEncoder } from "./encoder.ts";
import { encoderOfModule, encoderSchema } from "./encoders.ts";
import { type BankShape, networkRule, readingShapes, ROOT, usual } from "./shape.ts";
import type { SlotEncoder } from "./slot-encoder.ts";

const count = z.int().positive();

export const moduleSchema = z
  .object({
    model_type: z.literal("mneme-bank-compression"),
    base: z.object({ name: z.string(), sha256: z.string() }),
    /** A T5; none for our own encoder. */
    encoder: encoderSchema.optional(),
    shape: z.object({
      slots: count,
      width: count,
      places: count,
      encoderWidth: count,
      encoderLayers: z.int().nonnegative(),
      encoderHeads: count,
      inner: count,
      blocks: count,
      blockHeads: count,
      blockInner: count,
      context: z.int().min(8),
    }),
    /** K, and R of the residual codebooks. */
    codes: z.int().min(2).max(65536),
    depth: count,
    adapters: z.object({
      rank: z.int().nonnegative(),
      alpha: z.number().positive(),
      /** How many of the base's last layers have some. */
      layers: z.int().nonnegative(),
      /** "kv" or "qkv": beside which projections. */
      beside: z.enum(["kv", "qkv"]),
    }),
    /** How it was fitted: for people. */
    fit: z.record(z.string(), z.unknown()).default({}),
  })
  .refine(({ shape }) => shape.width % shape.places === 0, {
    path: ["shape", "places"],
    error: "it must divide width",
  })
  .refine(({ shape }) => shape.width % shape.blockHeads === 0, {
    path: ["shape", "blockHeads"],
    error: "it must divide width",
  })
  // Heads of a T5 may have any size
  .refine(({ encoder, shape }) => encoder !== undefined || shape.encoderWidth % shape.encoderHeads === 0, {
    path: ["shape", "encoderHeads"],
    error: "it must divide encoderWidth",
  });

export type ModuleConfig = z.output<typeof moduleSchema>;

export interface BankModule {
  readonly config: ModuleConfig;
  /** Everything that the fit trains, by name. */
  readonly weights: Weights;
  readonly encoder: SlotEncoder;
}

/** A module of the usual sizes that no fit has seen. */
export async function usualConfig(base: LoadedModel): Promise<ModuleConfig> {
  const { codes, depth, rank, alpha, ...sizes } = usual;
  return moduleSchema.parse({
    model_type: "mneme-bank-compression",
    base: { name: base.folder.split(/[\\/]/).at(-1), sha256: await base.hash() },
    shape: { ...sizes, width: base.geometry.width, context: sizes.slots * sizes.places },
    codes,
    depth,
    adapters: { rank, alpha, layers: base.geometry.layers, beside: "kv" },
  });
}

const FILE = "model.safetensors";

/** One code for a slot [K, D], and R codes for each place of a slot [R, K, D / V]. */
export const codebookNames = { single: `${ROOT}.codebook.single`, residual: `${ROOT}.codebook.residual` } as const;

/** The adapters take effect where a module has some. */
export const adaptersOf = ({ adapters: { rank, alpha } }: ModuleConfig): Modification | undefined =>
  rank === 0 ? undefined : lowRankAdapters({ scale: alpha / rank, dropout: 0 });

/** The base as the module has it: with adapters. */
export const adaptedModel = (base: LoadedModel, { config, weights }: BankModule): Model => ({
  definition: base.definition,
  config: base.config,
  geometry: base.geometry,
  weights: { ...base.weights, ...weights },
  modification: adaptersOf(config),
});

/** A module of random numbers; its codebooks are zeros until there is data for them. */
export function emptyModule(
  base: LoadedModel,
  config: ModuleConfig,
  seed: number,
  encoder: SlotEncoder = ownEncoder(base, config.shape),
): BankModule {
  const shape: BankShape = config.shape;
  const { codes, depth } = config;
  const { width: D, places: V } = shape;
  return {
    config,
    encoder,
    weights: {
      ...encoder.fresh(seed),
      ...initialize(readingShapes(shape, base.geometry), networkRule(shape), seed),
      ...attentionAdapters(base, config.adapters, seed),
      [codebookNames.single]: float32Host([codes, D], new Float32Array(codes * D)),
      [codebookNames.residual]: float32Host([depth, codes, D / V], new Float32Array((depth * codes * D) / V)),
    },
  };
}

export async function saveModule(
  { config, weights }: BankModule,
  folder: string,
  { dtype = "float16" }: { dtype?: FloatStorage } = {},
): Promise<void> {
  await makeFolder(folder);
  await writeSafetensors(join(folder, FILE), weights, { dtype, metadata: { format: "pt" } });
  await writeFileAtomic(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

interface LoadModuleOptions {
  /** Where the T5 is that it was fitted with, if not where its configuration says. */
  readonly encoder?: string;
}

/** Load the module of a base; that of another base, or of another encoder than is there, is refused. */
export async function loadModule(
  base: LoadedModel,
  folder: string,
  { encoder: place }: LoadModuleOptions = {},
): Promise<BankModule & { readonly sha256: string }> {
  const what = "the configuration of a bank-compression module";
  const config = await readChecked(join(folder, "config.json"), moduleSchema, { caller: "bank-compression", what });
  const hash = await base.hash();
  if (hash !== config.base.sha256) {
    throw new UserError(
      `bank-compression: expected a module for the base ${hash}, got one for ${config.base.sha256} ` +
        `(${config.base.name}) in ${folder}; name that base with --model, or fit a module for this one with ` +
        "`mneme fit bank-compression`",
    );
  }
  const { shape } = config;
  const encoder = await encoderOfModule(base, { config: config.encoder, shape, module: folder, encoder: place });
  const expected = Object.entries(emptyModule(base, config, 0, encoder).weights).map(
    ([name, { shape }]) => [name, shape] as const,
  );
  const file = await openSafetensors(join(folder, FILE));
  try {
    requireTensors(file, Object.fromEntries(expected));
    const weights: Weights = {};
    for (const [name] of expected) weights[name] = await file.readFloat32(name);
    return { config, weights, encoder, sha256: await sha256File(file.path) };
  } finally {
    await file.close();
  }
}
