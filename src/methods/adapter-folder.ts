/**
 * A folder in the layout of Hugging Face PEFT (adapter_config.json, adapter_model.safetensors): what is the same for
 * every kind of adapters. Beside PEFT's own lines it names the weights that the adapters belong to.
 */
import { join } from "node:path";
import type { z } from "zod";
import { readChecked, writeFileAtomic } from "../checkpoint/files.ts";
import { openSafetensors, type SafetensorsFile, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import type { Checkpoint, Weights } from "../models/load.ts";
import type { ModelDefinition } from "../models/model.ts";
import { makeFolder } from "./folders.ts";

/** What stands before every tensor's name. */
export const PREFIX = "base_model.model.";

export const configPath = (folder: string): string => join(folder, "adapter_config.json");
const tensorsPath = (folder: string): string => join(folder, "adapter_model.safetensors");

export type AdapterBase = Pick<Checkpoint<ModelDefinition>, "folder" | "hash">;

export interface AdapterFolder {
  /** `peft_type`. */
  readonly type: string;
  /** The lines of this kind in adapter_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: Weights;
}

export async function writeAdapterFolder(
  base: AdapterBase,
  { type, config, tensors }: AdapterFolder,
  folder: string,
): Promise<void> {
  const whole = {
    peft_type: type,
    task_type: "CAUSAL_LM",
    base_model_name_or_path: base.folder,
    ...config,
    inference_mode: true,
    // Our own line, ignored elsewhere: the weights these adapters belong to
    mneme_base_sha256: await base.hash(),
  };
  await makeFolder(folder);
  const named = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [PREFIX + name, tensor]));
  await writeSafetensors(tensorsPath(folder), named, { metadata: { format: "pt" } });
  await writeFileAtomic(configPath(folder), `${JSON.stringify(whole, null, 2)}\n`);
}

export interface ReadAdapterOptions<C> {
  readonly schema: z.ZodType<C>;
  /** For errors: the function that was called, and what it reads. */
  readonly caller: string;
  readonly kind: string;
}

/** The configuration, checked, and what `read` makes of it and the tensors; adapters of other weights are refused. */
export async function readAdapterFolder<C extends { readonly mneme_base_sha256?: string }, R>(
  base: AdapterBase,
  folder: string,
  { schema, caller, kind }: ReadAdapterOptions<C>,
  read: (config: C, file: SafetensorsFile) => Promise<R>,
): Promise<R> {
  const wayOut = "is it of another kind?";
  const config = await readChecked(configPath(folder), schema, { caller, what: kind, wayOut });
  const { mneme_base_sha256: hash } = config;
  if (hash !== undefined && hash !== (await base.hash())) {
    throw new UserError(
      `${caller}: expected an adapter of the model in ${base.folder}, got one of another with SHA-256 ` +
        `${hash.slice(0, 12)}...; use the model it was trained on`,
    );
  }
  const file = await openSafetensors(tensorsPath(folder));
  try {
    return await read(config, file);
  } finally {
    await file.close();
  }
}

/** Refuses a tensor of another shape; `got` is undefined where there is none. */
export function checkShape(
  caller: string,
  name: string,
  expected: readonly number[],
  got: readonly number[] | undefined,
): void {
  if (got?.join() === expected.join()) return;
  throw new UserError(
    `${caller}: expected ${name} of shape [${expected}], got ${got ? `[${got}]` : "none"}; is it made for another model?`,
  );
}
