/** The models that come with the package, in its folder `models/`. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.ts";

/** The model that is taken when none is named. */
export const defaultModel = "mneme-tiny";

/** Two folders up both from src/cli and from the built dist/cli. */
export const embeddedFolder = fileURLToPath(new URL("../../models", import.meta.url));

/** Names of the embedded models. */
export async function embeddedModels(folder = embeddedFolder): Promise<string[]> {
  const names = (await readdir(folder).catch((): string[] => [])).filter((name) => !name.startsWith("."));
  const complete = names.map((name) => stat(join(folder, name, "config.json")).then((info) => info.isFile(), () => false));
  const flags = await Promise.all(complete);
  return names.filter((_, i) => flags[i]).sort();
}

/** The folder of an embedded model, for `loadModel`. */
export async function embeddedModel(name: string = defaultModel): Promise<string> {
  const names = await embeddedModels();
  if (names.includes(name)) return join(embeddedFolder, name);
  throw new UserError(`embeddedModel: expected one of ${names.join(", ") || "none (there are no embedded models)"}, got ${name}; correct the name`);
}
