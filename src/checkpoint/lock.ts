/**
 * A lock file that keeps two processes out of one folder and that a crash cannot leave behind for good:
 * it names its holder by process id and start time, and a lock whose holder is dead is taken over.
 * The file appears with its content in one step (a hard link), so nobody ever reads half a lock.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, isObject } from "./files.ts";
import { UserError } from "../errors.ts";

interface Holder {
  readonly pid: number;
  /** When the process started, in the system's own terms; null where it cannot be known. */
  readonly started: string | null;
  readonly host: string;
  readonly since: string;
  readonly token: string;
}

export interface Lock {
  /** Removes the lock if it is still ours. */
  release(): Promise<void>;
}

/** Start of a process as boot id and clock ticks (Linux); "dead" for a zombie, null where it cannot be known. */
function startOf(pid: number): string | "dead" | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name in parentheses may hold anything, so fields count from the last parenthesis.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return "dead";
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}:${fields[19]}`;
  } catch {
    return null;
  }
}

/** Does the process that wrote the lock still run? A lock of another host counts as alive: nobody here can tell. */
function isAlive(holder: Holder): boolean {
  if (holder.host !== hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return false;
  }
  const started = startOf(holder.pid);
  if (started === "dead") return false;
  return started === null || holder.started === null || started === holder.started;
}

/** The holder, undefined when there is no lock, null when the file is not one of ours (damaged). */
async function readHolder(path: string): Promise<Holder | undefined | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (!isObject(value)) return null;
    const { pid, started, host, since, token } = value;
    if (typeof pid !== "number" || !Number.isInteger(pid) || pid < 1 || typeof host !== "string") return null;
    return {
      pid,
      host,
      started: typeof started === "string" ? started : null,
      since: typeof since === "string" ? since : "an unknown time",
      token: typeof token === "string" ? token : "",
    };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Puts our lock at `path`; false when there is one already. */
async function claim(path: string, content: string): Promise<boolean> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
  await writeFile(temporary, content, { flag: "wx" });
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const code = errorCode(error);
    if (code === "EEXIST") return false;
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS" && code !== "EMLINK") throw error;
    // A file system without hard links: creating the file exclusively is the next best.
    return await writeFile(path, content, { flag: "wx" }).then(
      () => true,
      (failure: unknown) => {
        if (errorCode(failure) === "EEXIST") return false;
        throw failure;
      },
    );
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Removes a lock whose holder is dead. A second lock file guards the removal against others doing the same. */
async function removeStale(path: string, content: string): Promise<void> {
  const guard = `${path}.takeover`;
  if (!(await claim(guard, content))) {
    const other = await readHolder(guard);
    if (other === null || (other && !isAlive(other))) await rm(guard, { force: true });
    return;
  }
  try {
    const holder = await readHolder(path);
    if (holder === null || (holder && !isAlive(holder))) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** Takes the lock at `path`, or throws a UserError that names its holder. `folder` is for the message. */
export async function acquireLock(path: string, folder: string): Promise<Lock> {
  const token = randomBytes(12).toString("hex");
  const since = new Date().toISOString();
  const own: Holder = { pid: process.pid, started: startOf(process.pid), host: hostname(), since, token };
  const content = `${JSON.stringify(own)}\n`;
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await claim(path, content)) {
      return {
        async release() {
          if ((await readHolder(path))?.token === token) await rm(path, { force: true });
        },
      };
    }
    const holder = await readHolder(path);
    if (holder === undefined) continue;
    if (holder !== null && isAlive(holder)) {
      const here = holder.host === hostname();
      const who = !here
        ? `process ${holder.pid} on ${holder.host}`
        : holder.pid === process.pid
          ? "this process"
          : `process ${holder.pid}`;
      throw new UserError(
        `acquireLock: expected ${folder} to be free, got a lock of ${who} since ${holder.since}; ` +
          (here ? "wait for it to end, stop it, or use another folder" : `if it no longer runs, delete ${path}`),
      );
    }
    await removeStale(path, content);
    if (attempt > 0) await sleep(5);
  }
  throw new UserError(`acquireLock: expected to take over the stale lock ${path}, got no turn; delete the file`);
}

/** Is the lock at `path` held by a process that runs? Only a look: the next moment may be different. */
export async function isLocked(path: string): Promise<boolean> {
  const holder = await readHolder(path);
  return holder !== undefined && holder !== null && isAlive(holder);
}
