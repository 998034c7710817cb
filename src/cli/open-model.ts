/** From what the user calls a model to the model: an embedded name, a folder, or a hub id that is downloaded. */
import { join } from "node:path";
import { isFile } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { formatBytes } from "../eval/format.ts";
import type { AdaptedModel } from "../methods/adapters.ts";
import { loadModel } from "../models/load.ts";
import { resolveModel } from "../models/embedded.ts";
import type { Session } from "./session.ts";

/** The folder of a model. A hub id is downloaded with a progress bar. */
export async function modelFolder(
  name: string,
  { progress, signal }: Pick<Session, "progress" | "signal">,
): Promise<string> {
  const { folder } = await resolveModel(name, {
    signal,
    onNote: (message) => progress.line(message),
    onProgress: ({ file, bytesDone, bytesTotal }) => {
      const detail = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}, ${file}`;
      progress.update({ label: `downloading ${name}`, done: bytesDone, total: bytesTotal, detail });
    },
  });
  progress.clear();
  if ((await isFile(join(folder, "adapter_config.json"))) && !(await isFile(join(folder, "config.json")))) {
    throw new UserError(
      `model: expected a whole model, got the adapter ${name}; name its base with --model and it with --adapter ` +
        "(generate and score have it)",
    );
  }
  return folder;
}

/** The model itself, or as it answers with the adapters in a folder. */
export async function openModel(
  name: string,
  session: Session,
  { adapter }: { adapter?: string } = {},
): Promise<AdaptedModel> {
  const model = await loadModel(await modelFolder(name, session));
  if (adapter === undefined) return model;
  if (!(await isFile(join(adapter, "adapter_config.json")))) {
    throw new UserError(
      `adapter: expected a folder with adapter_config.json, got ${adapter}; name what \`mneme learn\` wrote as an ` +
        "adapter",
    );
  }
  const { withAdapter } = await import("../methods/adapters.ts");
  return withAdapter(model, adapter);
}
