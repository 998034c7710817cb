/** Folders that methods write into: made with errors of one line, and cleared of what a killed process left behind. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorCode, writeError } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";

export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    if (errorCode(error) === "EEXIST")
      throw new UserError(`save: expected a folder at ${folder}, got a file; choose another place`);
    throw writeError(folder, error);
  }
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
