/** Folders of adapters of any kind, put on their base. The folder says which kind it is. */
import { z } from "zod";
import { readChecked } from "../checkpoint/files.ts";
import type { Model } from "../models/instance.ts";
import type { LoadedModel } from "../models/load.ts";
import { configPath } from "./adapter-folder.ts";
import { attachBottleneck, loadBottleneck } from "./bottleneck-folder.ts";
import { loadAdapter, mergeAdapter } from "./peft.ts";

export type AdaptedModel = LoadedModel & Model;

/** By `peft_type`. What can be merged into the weights costs nothing afterwards; the rest stays beside them. */
const kinds = {
  LORA: async (base: LoadedModel, folder: string): Promise<AdaptedModel> => {
    return { ...base, weights: mergeAdapter(base, await loadAdapter(base, folder)) };
  },
  BOTTLENECK: async (base: LoadedModel, folder: string): Promise<AdaptedModel> => {
    return attachBottleneck(base, await loadBottleneck(base, folder));
  },
};

const kindSchema = z.looseObject({ peft_type: z.enum(Object.keys(kinds) as (keyof typeof kinds)[]) });

/** The base as it answers with the adapters in a folder: a model for scoring and generation. */
export async function withAdapter(base: LoadedModel, folder: string): Promise<AdaptedModel> {
  const asked = {
    caller: "withAdapter",
    what: "adapters of a known kind",
    wayOut: "merge them into a model elsewhere",
  };
  const { peft_type: kind } = await readChecked(configPath(folder), kindSchema, asked);
  return kinds[kind](base, folder);
}
