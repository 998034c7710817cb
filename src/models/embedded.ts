/** The models that come with the package, in its folder `models/`. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isFile, isFolder } from "../checkpoint/files.ts";
import {
  type HubOptions,
  parseHubName,
  type ResolvedModel,
  resolveModel as resolveHubModel,
} from "../checkpoint/hub.ts";
import { UserError } from "../errors.ts";
import { didYouMean } from "./nearest.ts";

/** The model that is taken when none is named. */
export const defaultModel = "mneme-base";

/** Two folders up both from src/models and from the built dist/models. */
export const embeddedFolder = fileURLToPath(new URL("../../models", import.meta.url));

/** Names of the embedded models. */
export async function embeddedModels(folder = embeddedFolder): Promise<string[]> {
  const names = (await readdir(folder).catch((): string[] => [])).filter((name) => !name.startsWith("."));
  const complete = await Promise.all(names.map((name) => isFile(join(folder, name, "config.json"))));
  return names.filter((_, i) => complete[i]).sort();
}

/** The folder of a model by its embedded name, its path or its hub id. */
export async function resolveModel(name: string, options: HubOptions = {}): Promise<ResolvedModel> {
  const embedded = await embeddedModels();
  if (embedded.includes(name)) return { name, folder: join(embeddedFolder, name), commit: undefined };
  if ((await isFolder(name)) || parseHubName(name) !== undefined) return resolveHubModel(name, options);
  throw new UserError(
    `model: expected an embedded model (${embedded.join(", ") || "there is none"}), a folder or a hub id (org/name), ` +
      `got ${JSON.stringify(name)}${didYouMean(name, embedded)}`,
  );
}
