/** What a run is called: short, and unique among the runs beside one database. */
import { basename, dirname, isAbsolute, relative, resolve, sep } from "node:path";

/** The path of `folder` below `root` with slashes, or undefined where it lies elsewhere. */
export function below(root: string, folder: string): string | undefined {
  const short = relative(root, resolve(folder));
  const inside = short !== "" && short !== ".." && !short.startsWith(`..${sep}`) && !isAbsolute(short);
  return inside ? short.split(sep).join("/") : undefined;
}

/** The short name of a run: its place below the folder of the database, or just its folder's name. */
export const runName = (folder: string, databasePath: string): string =>
  below(dirname(resolve(databasePath)), folder) ?? basename(resolve(folder));
