/**
 * events.jsonl: one event a line, appended as they happen. A crash can tear the last line; it is dropped on reading
 * and cut off before the next append. Garbage before the last line is damage from elsewhere and is reported.
 */
import { open, readFile, truncate } from "node:fs/promises";
import { errorCode } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import type { RunEvent } from "./events.ts";

/** An event of any kind: of a run, unless said otherwise. */
interface Typed {
  readonly type: string;
}

export interface EventLog<E extends Typed = RunEvent> {
  append(event: E): Promise<void>;
  /** Makes everything appended so far durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

function parseLine<E extends Typed>(line: string): E | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const isEvent = typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
    return isEvent ? (value as E) : undefined;
  } catch {
    return undefined;
  }
}

/** Events and the number of bytes they fill; what follows is torn. */
async function readLog<E extends Typed>(path: string): Promise<{ events: E[]; bytes: number; torn: boolean }> {
  const data = await readFile(path).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  });
  const events: E[] = [];
  let at = 0;
  for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, at)) {
    const event = parseLine<E>(data.toString("utf8", at, end));
    if (!event) {
      // Whole lines may follow only a whole line; after a power failure the tail may also be zeros.
      if (data.indexOf(10, end + 1) >= 0) {
        throw new UserError(
          `readEvents: expected one JSON event a line in ${path}, got something else in line ${events.length + 1}; ` +
            "delete the file to go on without its history",
        );
      }
      break;
    }
    events.push(event);
    at = end + 1;
  }
  return { events, bytes: at, torn: at < data.length };
}

/** All whole events of a log; none when there is no file. */
export async function readEvents<E extends Typed = RunEvent>(path: string): Promise<E[]> {
  return (await readLog<E>(path)).events;
}

/** Opens a log for appending behind its last whole line. */
export async function openEventLog<E extends Typed = RunEvent>(path: string): Promise<EventLog<E>> {
  const { bytes, torn } = await readLog(path);
  if (torn) await truncate(path, bytes);
  const handle = await open(path, "a");
  return {
    async append(event) {
      // One write call per line: a killed process leaves at most this line torn.
      await handle.appendFile(`${JSON.stringify(event)}\n`).catch((error: unknown) => {
        const code = errorCode(error);
        if (code === undefined) throw error;
        throw new UserError(`appendEvent: expected to write to ${path}, got ${code}; make room and resume the run`);
      });
    },
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}
