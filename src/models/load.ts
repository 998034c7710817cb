/**
 * A checkpoint folder as a model ready to run: configuration, float32 weights under their canonical names, tokenizer.
 * Every disagreement between config.json, weights and tokenizer is refused here, so that no later code meets one.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { UserError } from "../errors.ts";
import { exists, readJsonObject, sha256File } from "../checkpoint/files.ts";
import {
  openCheckpoint,
  readAll,
  requireTensors,
  type SafetensorsFile,
  shardsOf,
  type TensorInfo,
} from "../checkpoint/safetensors.ts";
import { checkVocabulary, loadTokenizer, type Tokenizer } from "../checkpoint/tokenizer.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { definitionFor } from "./index.ts";
import type { Definition, EncoderDecoderDefinition, EncoderDefinition, Geometry, ModelDefinition } from "./model.ts";

export type Weights = Record<string, HostTensor<"float32">>;

/** A checkpoint without its tokenizer. */
export interface Checkpoint<D extends Definition = Definition> {
  readonly definition: D;
  readonly config: unknown;
  readonly geometry: Geometry;
  /** By canonical name, widened to float32. The arrays are the model: training writes into them. */
  readonly weights: Weights;
  /** The folder it came from. */
  readonly folder: string;
  /** Tokens that end a text, from generation_config.json or else config.json; may be empty. */
  readonly eosIds: readonly number[];
  /** SHA-256 (hexadecimal) of the weights file; of several shards, of their names and hashes in order. */
  hash(): Promise<string>;
}

/** A causal language model with its tokenizer. */
export interface LoadedModel extends Checkpoint<ModelDefinition> {
  readonly tokenizer: Tokenizer;
}

/** A sentence encoder with its tokenizer. */
export interface LoadedEncoder extends Checkpoint<EncoderDefinition> {
  readonly tokenizer: Tokenizer;
}

/** An encoder-decoder with its tokenizer. */
export interface LoadedEncoderDecoder extends Checkpoint<EncoderDecoderDefinition> {
  readonly tokenizer: Tokenizer;
}

export interface LoadOptions {
  /** Refuse weights that are NaN or infinite; costs one more pass over them. */
  checkWeights?: boolean;
}

/** Load a causal language model; any other kind is refused. */
export const loadModel = (folder: string, options?: LoadOptions): Promise<LoadedModel> =>
  loadKind("causal", { caller: "loadModel", folder, wayOut: "choose a model that generates" }, options);

/** Load an encoder; any other kind is refused. */
export const loadEncoder = (folder: string, options?: LoadOptions): Promise<LoadedEncoder> =>
  loadKind("encoder", { caller: "loadEncoder", folder, wayOut: "choose a sentence encoder" }, options);

/** Load an encoder-decoder; any other kind is refused. */
export const loadEncoderDecoder = (folder: string, options?: LoadOptions): Promise<LoadedEncoderDecoder> =>
  loadKind("encoder-decoder", { caller: "loadEncoderDecoder", folder, wayOut: "choose a T5" }, options);

const KINDS: Readonly<Record<Definition["kind"], string>> = {
  causal: "a causal language model",
  encoder: "an encoder",
  "encoder-decoder": "an encoder-decoder",
};

type Kind<K extends Definition["kind"]> = Extract<Definition, { readonly kind: K }>;

async function loadKind<K extends Definition["kind"]>(
  kind: K,
  { caller, folder, wayOut }: { caller: string; folder: string; wayOut: string },
  options?: LoadOptions,
): Promise<Checkpoint<Kind<K>> & { tokenizer: Tokenizer }> {
  const checkpoint = await loadCheckpoint(folder, options);
  const isOfKind = (c: Checkpoint): c is Checkpoint<Kind<K>> => c.definition.kind === kind;
  if (isOfKind(checkpoint)) return withTokenizer(checkpoint);
  const { definition } = checkpoint;
  throw new UserError(
    `${caller}: expected ${KINDS[kind]} in ${folder}, got ${definition.modelType}, ${KINDS[definition.kind]}; ${wayOut}`,
  );
}

async function withTokenizer<D extends Definition>(
  checkpoint: Checkpoint<D>,
): Promise<Checkpoint<D> & { tokenizer: Tokenizer }> {
  const tokenizer = await loadTokenizer(checkpoint.folder);
  checkVocabulary(tokenizer, checkpoint.geometry.vocabulary);
  return { ...checkpoint, tokenizer };
}

/** Load configuration and weights only: for tools that bring their own token ids. */
export async function loadCheckpoint(folder: string, { checkWeights = false }: LoadOptions = {}): Promise<Checkpoint> {
  const json = await readJsonObject(join(folder, "config.json"));
  const definition = definitionFor(json);
  const config = definition.parseConfig(json);
  const geometry = definition.geometry(config);
  const weights = await loadWeights(folder, definition, config);
  if (checkWeights) for (const [name, tensor] of Object.entries(weights)) requireFinite(folder, name, tensor.data);
  const eosIds = await endTokens(folder, json, geometry.vocabulary);
  let hash: Promise<string> | undefined;
  return {
    definition,
    config,
    geometry,
    weights,
    folder,
    eosIds,
    hash() {
      hash ??= hashWeights(folder);
      return hash;
    },
  };
}

async function loadWeights(folder: string, definition: Definition, config: unknown): Promise<Weights> {
  const file = await openCheckpoint(folder);
  try {
    const { view, stored } = canonicalView(file, definition, config);
    const expected = { ...definition.shapes(config) };
    if (definition.kind === "encoder") {
      for (const [name, shape] of Object.entries(definition.optionalShapes(config)))
        if (stored.has(name)) expected[name] = shape;
    }
    requireTensors(view, expected);
    const read = await readAll(
      file,
      Object.keys(expected).map((name) => stored.get(name) as string),
    );
    const weights: Weights = {};
    for (const name of Object.keys(expected)) {
      const tensor = read.get(stored.get(name) as string) as HostTensor;
      if (!isFloat32(tensor)) {
        throw new UserError(
          `loadModel: ${folder}: expected floats in "${name}", got ${tensor.dtype}; quantised checkpoints are not ` +
            "supported, choose a float one",
        );
      }
      weights[name] = tensor;
    }
    return weights;
  } finally {
    await file.close();
  }
}

const isFloat32 = (tensor: HostTensor): tensor is HostTensor<"float32"> => tensor.dtype === "float32";

/** The file as if its tensors had their canonical names, for the checks; and where each is stored. */
function canonicalView(
  file: SafetensorsFile,
  definition: Definition,
  config: unknown,
): { view: SafetensorsFile; stored: Map<string, string> } {
  const stored = new Map<string, string>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, info] of file.tensors) {
    const canonical = definition.canonicalName(name, config, file.tensors);
    if (canonical === undefined) continue;
    const other = stored.get(canonical);
    if (other !== undefined) {
      throw new UserError(
        `loadModel: ${file.path}: expected one tensor for "${canonical}", got "${other}" and "${name}"; remove one ` +
          "from the file",
      );
    }
    stored.set(canonical, name);
    tensors.set(canonical, info);
  }
  return { view: { ...file, tensors }, stored };
}

function requireFinite(folder: string, name: string, data: Float32Array): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) {
      throw new UserError(
        `loadModel: ${folder}: expected finite weights, got ${data[i]} at element ${i} of "${name}"; the training ` +
          "that wrote them diverged",
      );
    }
  }
}

/** generation_config.json knows better: it may name several, and models are published with it corrected. */
async function endTokens(folder: string, config: Record<string, unknown>, vocabulary: number): Promise<number[]> {
  const path = join(folder, "generation_config.json");
  const generation = (await exists(path)) ? await readJsonObject(path) : {};
  const value = generation.eos_token_id ?? config.eos_token_id ?? [];
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  return ids.filter((id): id is number => typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabulary);
}

async function hashWeights(folder: string): Promise<string> {
  const index = join(folder, "model.safetensors.index.json");
  const single = join(folder, "model.safetensors");
  if (await exists(single)) return sha256File(single);
  const all = createHash("sha256");
  for (const shard of await shardsOf(index)) all.update(`${shard} ${await sha256File(join(folder, shard))}\n`);
  return all.digest("hex");
}
