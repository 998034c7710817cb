/**
 * The background of a memory: how many of a number of batches of ordinary text read each slot. It is counted once, and
 * lies as `background.safetensors` beside the model (or in a folder of its own), with the hash of that model.
 */
import { join } from "node:path";
import { exists } from "../../checkpoint/files.ts";
import { openSafetensors, writeSafetensors } from "../../checkpoint/safetensors.ts";
import { UserError } from "../../errors.ts";
import { int32Host } from "../../tensor/dtype.ts";
import type { Background, Counts } from "./ranking.ts";

const FILE = "background.safetensors";
const FREQUENCIES = "frequencies";

/** How to get one. */
const wayOut = "make one with `mneme fit sparse-memory` and name its folder with --background, or take --ranking tf";

export interface BackgroundCount extends Background {
  batches: number;
  /** One more batch, by the slots that it read. */
  add(counts: Counts): void;
}

/** Counts batches, from nothing or from what was counted before. */
export function countBackground(slots: number, before?: Background): BackgroundCount {
  const count: BackgroundCount = {
    batches: before?.batches ?? 0,
    frequencies: before?.frequencies.slice() ?? new Int32Array(slots),
    add(counts) {
      count.batches++;
      for (const slot of counts.keys()) count.frequencies[slot]++;
    },
  };
  return count;
}

/** Writes it for the model of this hash; says where. */
export async function saveBackground(
  folder: string,
  { batches, frequencies }: Background,
  model: string,
): Promise<string> {
  const path = join(folder, FILE);
  const tensors = { [FREQUENCIES]: int32Host([frequencies.length], frequencies) };
  await writeSafetensors(path, tensors, { metadata: { batches: String(batches), model } });
  return path;
}

/** Loads the background of a model with so many slots; that of another model is refused. */
export async function loadBackground(folder: string, slots: number, model: string): Promise<Background> {
  const path = join(folder, FILE);
  if (!(await exists(path)))
    throw new UserError(`sparse-memory: expected the memory's background, ${path}, got no such file; ${wayOut}`);
  const file = await openSafetensors(path);
  try {
    const { metadata, tensors } = file;
    if (metadata.model !== model) {
      throw new UserError(
        `sparse-memory: expected the background of the model ${model}, got that of ${metadata.model} in ${path}; ${wayOut}`,
      );
    }
    const found = tensors.has(FREQUENCIES) ? (await file.read(FREQUENCIES)).data : undefined;
    const batches = Number(metadata.batches);
    const sound =
      found instanceof Int32Array &&
      found.length === slots &&
      Number.isSafeInteger(batches) &&
      batches > 0 &&
      found.every((df) => df >= 0 && df <= batches);
    if (sound) return { batches, frequencies: found };
    throw new UserError(`sparse-memory: expected counts of ${slots} slots in ${path}, got others; ${wayOut}`);
  } finally {
    await file.close();
  }
}
