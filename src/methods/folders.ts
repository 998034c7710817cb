/** Folders of methods: made with errors of one line, cleared of what a killed process left behind, found by name. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorCode, isFolder, writeError } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { embeddedFolder } from "../models/embedded.ts";

export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    if (errorCode(error) === "EEXIST")
      throw new UserError(`save: expected a folder at ${folder}, got a file; choose another place`);
    throw writeError(folder, error);
  }
}

/** The folder of a fitted module, which may also be named as one of those that come along. */
export async function moduleFolder(method: string, given: string): Promise<string> {
  const embedded = join(embeddedFolder, given);
  if (await isFolder(given)) return given;
  if (/^[\w.-]+$/.test(given) && (await isFolder(embedded))) return embedded;
  throw new UserError(`${method}: expected the folder of a module, got ${given}; fit one with \`mneme fit ${method}\``);
}

/** Remove temporary files of `name` (`.<name>.<process>.<random>.tmp`) whose process is gone. */
export async function removeLeftovers(folder: string, name: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const entry of names) {
    if (!entry.startsWith(`.${name}.`) || !entry.endsWith(".tmp")) continue;
    const [owner] = entry.slice(name.length + 2).split(".");
    if (!isRunning(Number(owner))) await rm(join(folder, entry), { force: true });
  }
}

function isRunning(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}
