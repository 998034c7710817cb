/** Text files that a command is given: files, folders, and lists of names. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readChecked, readError } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";

export const unique = (paths: readonly string[]): string[] => [...new Set(paths)];

/** Files of --data: files as they are, of folders every .txt, sorted. */
export async function dataFiles(caller: string, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    const info = await stat(path).catch((error: unknown) => {
      throw readError(caller, path, error);
    });
    if (!info.isDirectory()) found.push(path);
    else {
      const texts = (await readdir(path)).filter((name) => name.endsWith(".txt")).sort();
      if (texts.length === 0)
        throw new UserError(`${caller}: expected .txt files in ${path}, got none; name another folder`);
      found.push(...texts.map((name) => join(path, name)));
    }
  }
  return unique(found);
}

/** Names in a list file: `["a.txt", ...]` or `{ "files": [...] }`. */
export async function namesIn(caller: string, path: string): Promise<string[]> {
  const names = z.array(z.string());
  const schema = z.union([names, z.object({ files: names }).transform(({ files }) => files)]);
  const what = 'a list of file names, or an object with them as "files",';
  return readChecked(path, schema, { caller, what, wayOut: "correct it" });
}
