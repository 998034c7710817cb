/**
 * The folder of one run: config.json, progress.json, state-N/, checkpoint/, events.jsonl, result.json, report.html.
 * Opened by one process at a time, every file whole or absent, and openable again after a crash at any moment.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { errorCode, readError, readJsonObject, writeFileAtomic } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { openEventLog, readEvents } from "./event-log.ts";
import type { RunEvent } from "./events.ts";
import { acquireLock, isLocked } from "../checkpoint/lock.ts";

export interface RunFolder {
  readonly path: string;
  /** Name of the folder itself. */
  readonly name: string;
  /** Is there no configuration yet? */
  readonly isNew: boolean;
  /** Full path of something inside. */
  file(name: string): string;
  /** Is there a file or folder of this name? */
  has(name: string): Promise<boolean>;
  /** A JSON object, or undefined when there is no such file. */
  readJson(name: string): Promise<Record<string, unknown> | undefined>;
  writeJson(name: string, value: unknown): Promise<void>;
  writeText(name: string, text: string): Promise<void>;
  /** Creates a folder that appears under its name only when `fill` has finished; an old one is replaced.
   * Whole or absent at every moment: a crash between the two renames leaves neither. */
  writeFolder(name: string, fill: (path: string) => Promise<void>): Promise<void>;
  /** Removes a file or a folder, if it is there. */
  remove(name: string): Promise<void>;
  list(): Promise<string[]>;
  append(event: RunEvent): Promise<void>;
  /** Makes the appended events durable. */
  sync(): Promise<void>;
  events(): Promise<RunEvent[]>;
  /** Releases the lock. */
  close(): Promise<void>;
}

const lockName = "run.lock";

/** What a crash may leave before anything was saved. */
const isDebris = (name: string): boolean =>
  name.startsWith(lockName) || (name.startsWith(".") && name.endsWith(".tmp"));

/** Does a running process have this run folder open? */
export const isOpenRun = (path: string): Promise<boolean> => isLocked(join(path, lockName));

async function contents(path: string): Promise<string[] | undefined> {
  try {
    return (await readdir(path)).filter((name) => !isDebris(name));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    if (errorCode(error) === "ENOTDIR") {
      throw new UserError(`openRunFolder: expected a folder at ${path}, got a file; use another name`);
    }
    throw readError("openRunFolder", path, error);
  }
}

/** Throws when the folder does not fit what is wanted. */
function checkContents(path: string, found: readonly string[] | undefined, resume: boolean): void {
  const has = (name: string) => found?.includes(name) ?? false;
  const ours = ["progress.json", "events.jsonl", "result.json"].filter(has);
  const some = (found ?? []).slice(0, 5).join(", ");
  if (has("config.json")) {
    if (!resume) {
      const state = has("result.json") ? "a finished" : ours.length > 0 ? "an unfinished" : "another";
      throw new UserError(
        `openRunFolder: expected a new or empty folder, got ${path} with ${state} run (${some}); ` +
          "resume that run, or use another folder",
      );
    }
    if (has("result.json") && !has("progress.json")) {
      throw new UserError(
        `openRunFolder: expected progress.json beside result.json in ${path}, got ${some} (half deleted?); ` +
          "delete the folder and start again",
      );
    }
    return;
  }
  if (ours.length > 0) {
    throw new UserError(
      `openRunFolder: expected config.json in the run folder ${path}, got only ${some} (half deleted?); ` +
        "delete the folder and start again",
    );
  }
  if (resume) {
    const got =
      found === undefined ? "no such folder" : found.length === 0 ? "an empty folder" : `a folder with ${some}`;
    throw new UserError(`openRunFolder: expected a run to resume at ${path}, got ${got}; start it without resuming`);
  }
  if (found && found.length > 0) {
    throw new UserError(`openRunFolder: expected a new or empty folder, got ${path} with ${some}; use another folder`);
  }
}

async function syncFolder(path: string): Promise<void> {
  // Not every platform can sync a folder; the files in it are already safe.
  const handle = await open(path, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Syncs every file below a folder, so that its rename never exposes half-written content. */
async function syncTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) {
      await syncTree(child);
      continue;
    }
    const handle = await open(child, "r+");
    await handle.sync().finally(() => handle.close());
  }
  await syncFolder(path);
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error: unknown) => {
    const code = errorCode(error);
    if (code === undefined) throw error;
    throw new UserError(`openRunFolder: expected to create the folder ${path}, got ${code}; choose another place`);
  });
}

/**
 * Opens a run folder and locks it. Without `resume` it must be new or empty, with `resume` it must hold a run.
 * A folder that another process has open, that holds something else, or that is half deleted is a UserError.
 */
export async function openRunFolder(path: string, { resume = false }: { resume?: boolean } = {}): Promise<RunFolder> {
  const root = resolve(path);
  const before = await contents(root);
  // A folder of somebody else gets no lock file from us; one with a run is judged once we hold its lock.
  if (!before?.includes("config.json")) checkContents(path, before, resume);
  await makeFolder(root);
  const file = (name: string) => join(root, name);
  const lock = await acquireLock(file(lockName), path);
  try {
    checkContents(path, await contents(root), resume);
    for (const name of await readdir(root)) {
      // We hold the lock, so temporary files are left-overs of a crash.
      if (isDebris(name) && !name.startsWith(lockName)) await rm(file(name), { recursive: true, force: true });
    }
    const isNew = !(await contents(root))?.includes("config.json");
    return await openLocked(root, isNew, async () => {
      await lock.release();
      // A folder that we made and that nothing was saved in goes again (rmdir refuses when there is something).
      if (before === undefined) await rmdir(root).catch(() => undefined);
    });
  } catch (error) {
    await lock.release();
    if (before === undefined) await rmdir(root).catch(() => undefined);
    throw error;
  }
}

async function openLocked(root: string, isNew: boolean, release: () => Promise<void>): Promise<RunFolder> {
  const file = (name: string) => join(root, name);
  const temporaryName = (name: string) => file(`.${name}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
  const list = () => readdir(root);
  const has = async (name: string) => (await list()).includes(name);
  /** Removing a folder takes many steps; renamed first, it is never seen half empty under its name. */
  const discard = async (name: string) => {
    const aside = temporaryName(name);
    try {
      await rename(file(name), aside);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return;
      throw error;
    }
    await rm(aside, { recursive: true, force: true });
  };
  // config.json comes first in a new folder: the log is opened with the first event.
  let log = isNew ? undefined : await openEventLog(file("events.jsonl"));
  return {
    path: root,
    name: basename(root),
    isNew,
    file,
    has,
    list,
    readJson: async (name) => ((await has(name)) ? readJsonObject(file(name)) : undefined),
    writeJson: (name, value) => writeFileAtomic(file(name), `${JSON.stringify(value, null, 2)}\n`),
    writeText: (name, text) => writeFileAtomic(file(name), text),
    async writeFolder(name, fill) {
      const temporary = temporaryName(name);
      await mkdir(temporary);
      try {
        await fill(temporary);
        await syncTree(temporary);
        await discard(name);
        await rename(temporary, file(name));
      } catch (error) {
        await rm(temporary, { recursive: true, force: true });
        throw error;
      }
      await syncFolder(root);
    },
    remove: discard,
    async append(event) {
      log ??= await openEventLog(file("events.jsonl"));
      await log.append(event);
    },
    sync: async () => log?.sync(),
    events: () => readEvents(file("events.jsonl")),
    async close() {
      await log?.close();
      log = undefined;
      await release();
    },
  };
}
