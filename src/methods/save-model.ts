/** Writes a trained model as a folder in Hugging Face layout: the base's own files with new weights. */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { exists, writeFileAtomic } from "../checkpoint/files.ts";
import { type FloatStorage, writeSafetensors } from "../checkpoint/safetensors.ts";
import { copyTokenizer } from "../checkpoint/tokenizer.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import type { Method } from "./method.ts";
import { makeFolder } from "./folders.ts";

/** Files of a checkpoint beside its weights and tokenizer. */
const companions = ["config.json", "generation_config.json"];

/** The base with the weights that a method trained in their place; says what it wrote. */
export async function saveTrained(
  method: Method,
  base: { readonly folder: string; readonly weights: Readonly<Record<string, HostTensor>> },
  folder: string,
): Promise<string> {
  const { tensors } = await method.state();
  const weights = Object.fromEntries(Object.entries(base.weights).map(([name, own]) => [name, tensors[name] ?? own]));
  await saveModel(base, weights, folder);
  return `model in Hugging Face layout: ${folder}`;
}

export async function saveModel(
  base: { readonly folder: string },
  weights: Readonly<Record<string, HostTensor>>,
  folder: string,
  { dtype = "float32" }: { dtype?: FloatStorage } = {},
): Promise<void> {
  await makeFolder(folder);
  await writeSafetensors(join(folder, "model.safetensors"), weights, { dtype, metadata: { format: "pt" } });
  if (resolve(base.folder) === resolve(folder)) return;
  await copyTokenizer(base.folder, folder);
  for (const name of companions) {
    const from = join(base.folder, name);
    if (await exists(from)) await writeFileAtomic(join(folder, name), await readFile(from));
  }
}
