/** Writes a trained model as a folder in Hugging Face layout: the base's own files with new weights. */
import { access, copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type FloatStorage, writeSafetensors } from "../checkpoint/safetensors.ts";
import { copyTokenizer } from "../checkpoint/tokenizer.ts";
import type { HostTensor } from "../tensor/dtype.ts";

/** Files of a checkpoint beside its weights and tokenizer. */
const companions = ["config.json", "generation_config.json"];

export async function saveModel(
  base: { readonly folder: string },
  weights: Readonly<Record<string, HostTensor>>,
  folder: string,
  { dtype = "float32" }: { dtype?: FloatStorage } = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSafetensors(join(folder, "model.safetensors"), weights, { dtype, metadata: { format: "pt" } });
  if (base.folder === folder) return;
  await copyTokenizer(base.folder, folder);
  for (const name of companions) {
    const from = join(base.folder, name);
    const there = await access(from).then(() => true, () => false);
    if (there) await copyFile(from, join(folder, name));
  }
}
