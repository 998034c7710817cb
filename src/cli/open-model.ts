/** From what the user calls a model to the model: an embedded name, a folder, or a hub id that is downloaded. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { parseHubName, resolveModel } from "../checkpoint/hub.ts";
import { UserError } from "../errors.ts";
import { formatBytes } from "../eval/format.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { embeddedFolder, embeddedModels } from "./embedded.ts";
import { didYouMean } from "./nearest.ts";
import type { Session } from "./session.ts";

const isFile = (path: string): Promise<boolean> => stat(path).then((info) => info.isFile(), () => false);
const isFolder = (path: string): Promise<boolean> => stat(path).then((info) => info.isDirectory(), () => false);

/** The folder of a model. A hub id is downloaded with a progress bar. */
export async function modelFolder(name: string, { progress, signal }: Pick<Session, "progress" | "signal">): Promise<string> {
  const embedded = await embeddedModels();
  if (embedded.includes(name)) return join(embeddedFolder, name);
  if (await isFolder(name)) {
    if ((await isFile(join(name, "adapter_config.json"))) && !(await isFile(join(name, "config.json")))) {
      throw new UserError(`model: expected a whole model, got the adapter ${name}; name its base with --model and it with --adapter`);
    }
    return name;
  }
  if (parseHubName(name) === undefined) {
    throw new UserError(
      `model: expected an embedded model (${embedded.join(", ") || "there is none"}), a folder or a hub id (org/name), ` +
        `got ${JSON.stringify(name)}${didYouMean(name, embedded)}`,
    );
  }
  const { folder } = await resolveModel(name, {
    signal,
    onNote: (message) => progress.line(message),
    onProgress: ({ file, bytesDone, bytesTotal }) => {
      const detail = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}, ${file}`;
      progress.update({ label: `downloading ${name}`, done: bytesDone, total: bytesTotal, detail });
    },
  });
  progress.clear();
  return folder;
}

/** The model itself; with an adapter folder (PEFT), merged into the weights. */
export async function openModel(name: string, session: Session, { adapter }: { adapter?: string } = {}): Promise<LoadedModel> {
  const model = await loadModel(await modelFolder(name, session));
  if (adapter === undefined) return model;
  if (!(await isFile(join(adapter, "adapter_config.json")))) {
    throw new UserError(`adapter: expected a folder with adapter_config.json, got ${adapter}; name what \`mneme learn --method lora\` wrote`);
  }
  const { loadAdapter, mergeAdapter } = await import("../methods/peft.ts");
  return { ...model, weights: mergeAdapter(model, await loadAdapter(model, adapter)) };
}
