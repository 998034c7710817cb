/** Where the commands about runs find them: the database, a run by its name, the folder of a new one. */
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { errorCode, exists } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { recordName } from "../runs/evaluation.ts";
import { openStore, type RunStore } from "../runs/store.ts";
import { sweepName } from "../runs/sweep.ts";

/** Beside the folders of the runs. */
const defaultDatabase = join("runs", "mneme.db");

export interface StoreFlags {
  readonly db: string;
}

export function addStoreFlags(command: Command): void {
  command.option("--db <file>", "database of the runs; new runs lie beside it", defaultDatabase);
}

/** The flag as it has to be repeated in a command line that goes on from here. */
export const databaseArguments = ({ db }: StoreFlags): string[] => (db === defaultDatabase ? [] : ["--db", db]);

/** Opens the store for the time of `work`. With `must`, a database that is not there is an error. */
export async function withStore<T>(
  { db }: StoreFlags,
  work: (store: RunStore) => Promise<T>,
  { must = false }: { must?: boolean } = {},
): Promise<T> {
  if (must && !(await exists(db))) {
    throw new UserError(
      `runs: expected a database at ${db}, got none; name it with --db, or build it from run folders with \`mneme ` +
        `runs --reindex\``,
    );
  }
  const store = openStore(db);
  try {
    return await work(store);
  } finally {
    store.close();
  }
}

/** The folder of a run or sweep that the user names by its folder or by its name in the store. */
export async function folderOfRun(store: RunStore, name: string, file: string = recordName): Promise<string> {
  const beside = join(dirname(store.path), name);
  for (const folder of [name, beside]) if (await exists(join(folder, file))) return resolve(folder);
  if (await exists(name)) {
    throw new UserError(`resume: expected a folder with ${file}, got ${name} without it; name the folder of a run`);
  }
  return store.run(name).folder;
}

/** The folder of a sweep that the user names by its folder or its name beside the database; undefined for a run. */
export async function sweepFolder(store: RunStore, name: string): Promise<string | undefined> {
  for (const folder of [name, join(dirname(store.path), name)]) {
    if (await exists(join(folder, sweepName))) return resolve(folder);
  }
  return undefined;
}

/** Makes the first folder `stem-1`, `stem-2`, ... beside the database that is not there yet. */
export async function newFolder(store: RunStore, stem: string): Promise<string> {
  const root = dirname(store.path);
  await mkdir(root, { recursive: true });
  for (let number = 1; ; number++) {
    const folder = join(root, `${stem}-${number}`);
    try {
      await mkdir(folder);
      return folder;
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
  }
}
