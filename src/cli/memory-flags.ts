/** Where the commands about facts find the memory, and how they open it: with a model, or by its ledger alone. */
import { join } from "node:path";
import type { Command } from "commander";
import { exists } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { keptOptions } from "../methods/fact-face.ts";
import { methodNamed } from "../methods/index.ts";
import type { Method } from "../methods/method.ts";
import { defaultModel } from "../models/embedded.ts";
import { type FactMemory, memoryIdentity, openFactMemory } from "../runs/fact-memory.ts";
import { type Identity, type Ledger, ledgerName, openLedger } from "../runs/ledger.ts";
import { addFactMethodFlags, factMethods, methodOptions } from "./method-flags.ts";
import { openModel } from "./open-model.ts";
import { addEngineFlags, type EngineFlags, openRuntime, type Session } from "./session.ts";

/** Beside the folder of the runs. */
const defaultMemory = "memory";

export interface MemoryFlags {
  readonly memory: string;
}

export interface FactFlags extends MemoryFlags, EngineFlags {
  readonly model: string;
  readonly method?: readonly string[];
}

export function addMemoryFlag(command: Command): void {
  command.option("--memory <folder>", "folder of the memory", defaultMemory);
}

/** --memory, --model, and the options of methods that write facts; to be added after the other flags. */
export function addFactFlags(command: Command): void {
  addMemoryFlag(command);
  command.option("--model <name>", "embedded name, folder or hub id", defaultModel);
  addEngineFlags(command, { seed: false });
  addFactMethodFlags(command);
}

/** Opens the ledger for the time of `work`: no model is needed to read it. */
export async function withLedger<T>({ memory }: MemoryFlags, work: (ledger: Ledger) => T | Promise<T>): Promise<T> {
  const ledger = openLedger(memory);
  try {
    return await work(ledger);
  } finally {
    ledger.close();
  }
}

/**
 * Opens model and method for the time of `work`. `identity` is that of a memory that is there: what it keeps of the
 * method's options holds, unless other ones are given.
 */
export async function withFactMethod<T>(
  command: Command,
  session: Session,
  identity: Identity | undefined,
  work: (method: Method) => Promise<T>,
): Promise<T> {
  const flags = command.opts<FactFlags>();
  const name = flags.method?.[0] ?? identity?.method ?? factMethods[0];
  const kept = identity ? keptOptions(methodNamed(name), identity) : {};
  const [{ definition, options }] = methodOptions(command, [name], { [name]: kept });
  const model = await openModel(flags.model, session);
  const runtime = openRuntime(flags);
  try {
    const method = await definition.create(model, options, { runtime, seed: 0 });
    try {
      return await work(method);
    } finally {
      await method.dispose();
    }
  } finally {
    await runtime.dispose();
  }
}

export interface FactMemoryWork {
  /** Before a memory that is not there yet is made: what throws here leaves nothing behind. Without it there must be one. */
  readonly beforeMaking?: (method: Method) => Promise<unknown>;
}

/** Opens model, method and memory for the time of `work`. */
export async function withFactMemory<T>(
  command: Command,
  session: Session,
  work: (memory: FactMemory) => Promise<T>,
  { beforeMaking }: FactMemoryWork = {},
): Promise<T> {
  const { memory: folder } = command.opts<FactFlags>();
  const isThere = await exists(join(folder, ledgerName));
  const identity = isThere || beforeMaking === undefined ? memoryIdentity(folder) : undefined;
  return withFactMethod(command, session, identity, async (method) => {
    if (!isThere) await beforeMaking?.(method);
    const memory = await openFactMemory(folder, method);
    try {
      return await work(memory);
    } finally {
      await memory.close();
    }
  });
}

const two = (n: number): string => String(n).padStart(2, "0");

/** "2026-01-31 09:05:07" in the time of this place. */
export function shownMoment(milliseconds: number): string {
  const time = new Date(milliseconds);
  const date = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${date} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":")}`;
}

/** Milliseconds since 1970 of a time in the forms of ISO 8601; one to the second is the end of that second. */
export function momentOf(caller: string, text: string): number {
  const [, date, hour, second, rest] = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d)?(.*))?$/.exec(text.trim()) ?? [];
  const time = date === undefined ? Number.NaN : Date.parse(`${date}T${hour ?? "00:00"}${second ?? ""}${rest ?? ""}`);
  if (Number.isNaN(time)) {
    throw new UserError(
      `${caller}: expected a time such as "2026-01-31 09:05", got ${JSON.stringify(text)}; \`mneme log\` shows times`,
    );
  }
  return second !== undefined && !rest?.startsWith(".") ? time + 999 : time;
}
