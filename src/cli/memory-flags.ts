/** Where the commands about memories find one, and how they open it: with a model, or by its ledger alone. */
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { exists, isFolder } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import type { MethodDefinition } from "../methods/definition.ts";
import { identityOf, keptOptions } from "../methods/fact-face.ts";
import type { Method } from "../methods/method.ts";
import { methods, methodNamed } from "../methods/index.ts";
import { defaultModel, embeddedModels } from "../models/embedded.ts";
import { type DocumentMemory, openDocumentMemory } from "../runs/document-memory.ts";
import { type FactMemory, openFactMemory } from "../runs/fact-memory.ts";
import { type Ledger, ledgerName, openLedger } from "../runs/ledger.ts";
import { describeMemory, type MadeWith, noteMade } from "../runs/stored-memory.ts";
import { addMemoryMethodFlags, kebab, type MemoryKind, memoryMethods, methodOptions } from "./method-flags.ts";
import { openModel } from "./open-model.ts";
import { addEngineFlags, type EngineFlags, openRuntime, type Session } from "./session.ts";

/** Beside the folder of the runs. */
const defaultMemory = "memory";

export interface MemoryFlags {
  readonly memory: string;
}

export interface MethodMemoryFlags extends MemoryFlags, EngineFlags {
  readonly model: string;
  readonly method?: readonly string[];
}

export function addMemoryFlag(command: Command): void {
  command.option("--memory <folder>", "folder of the memory", defaultMemory);
}

/** --memory, --model, and the options of methods whose memory keeps such things; to be added after the other flags. */
export function addMethodMemoryFlags(command: Command, kinds: readonly MemoryKind[] = ["facts", "documents"]): void {
  addMemoryFlag(command);
  command.option("--model <name>", "embedded name, folder or hub id (default: that of the memory)", defaultModel);
  addEngineFlags(command, { seed: false });
  addMemoryMethodFlags(command, kinds);
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

/** A memory that is there, as far as its ledger tells. */
type Described = Partial<ReturnType<typeof describeMemory>>;

/** A name under which what is a folder here is found from elsewhere too. */
async function lasting(name: unknown): Promise<unknown> {
  // What comes along goes before a folder of the same name
  if (typeof name !== "string" || (await embeddedModels()).includes(name)) return name;
  return (await isFolder(name)) ? resolve(name) : name;
}

/** Refuses options under which entries would be others than those of the memory, before a model is loaded. */
function requireKept(
  command: Command,
  definition: MethodDefinition,
  identity: Readonly<Record<string, string>>,
  options: Readonly<Record<string, unknown>>,
): void {
  const { kept = [] } = definition.facts ?? definition.documents ?? {};
  const given = identityOf(options);
  const other = kept.find((name) => Object.hasOwn(identity, name) && given[name] !== identity[name]);
  if (other === undefined) return;
  throw new UserError(
    `${command.name()}: expected --${kebab(other)} ${identity[other]}, with which the memory was made, got ` +
      `${given[other]}; leave it out, or name another memory`,
  );
}

/** Of some options those that there are. */
const present = (options: Readonly<Record<string, unknown>>, names: readonly string[]): [string, unknown][] =>
  names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]]));

/**
 * Opens model and method for the time of `work`. What a memory that is there keeps of the method's options holds, and
 * so do the names that it remembers, unless other ones are given; hashes say whether those are the same.
 */
export async function withMemoryMethod<T>(
  command: Command,
  session: Session,
  { identity, made }: Described,
  kinds: readonly MemoryKind[],
  work: (method: Method, made: MadeWith) => Promise<T>,
): Promise<T> {
  const flags = command.opts<MethodMemoryFlags>();
  const name = flags.method?.[0] ?? identity?.method ?? memoryMethods(kinds)[0];
  const definition = methodNamed(name);
  const isMade = made !== undefined && identity?.method === name;
  const presets = { ...(isMade && made.options), ...(identity && keptOptions(definition, identity)) };
  const [{ options }] = methodOptions(command, [name], { [name]: presets });
  if (identity?.method === name) requireKept(command, definition, identity, options);
  const isRemembered = isMade && command.getOptionValueSource("model") !== "cli";
  const model = isRemembered ? made.model : flags.model;
  const { named = [], reading = [] } = definition.facts ?? definition.documents ?? {};
  const names = await Promise.all(named.map(async (key) => [key, await lasting(options[key])] as const));
  // Another way of reading is for this call alone
  const readings = present(isMade ? made.options : options, reading);
  const moved = (error: unknown, flags: string): never => {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${error.message} (the memory was made with it; if it has moved, name it with ${flags})`);
  };
  const base = await openModel(model, session).catch((error: unknown) => {
    if (isRemembered) moved(error, "--model");
    throw error;
  });
  const runtime = openRuntime(flags);
  try {
    const method = await definition
      .create(base, options, { runtime, seed: flags.seed ?? 0 })
      .catch((error: unknown) => {
        // An error about something that the memory names, and not the user
        const own = named.filter((key) => {
          const value = options[key];
          return isMade && typeof value === "string" && value === made.options[key] && String(error).includes(value);
        });
        if (own.length > 0) moved(error, own.map((key) => `--${kebab(key)}`).join(" and "));
        throw error;
      });
    try {
      const remembered = Object.fromEntries([...names, ...readings]);
      return await work(method, { model: (await lasting(model)) as string, options: remembered });
    } finally {
      await method.dispose();
    }
  } finally {
    await runtime.dispose();
  }
}

/** What there is to do with a memory, by what it keeps. */
export interface MemoryWork<T> {
  readonly facts?: (memory: FactMemory, made: MadeWith) => Promise<T>;
  readonly documents?: (memory: DocumentMemory, made: MadeWith, method: Method) => Promise<T>;
  /** Before a memory that is not there yet is made: what throws here leaves nothing behind. Without it there must be one. */
  readonly beforeMaking?: (method: Method) => Promise<unknown>;
}

/** Opens model, method and memory for the time of the work that suits the memory. */
export async function withMemory<T>(
  command: Command,
  session: Session,
  { facts, documents, beforeMaking }: MemoryWork<T>,
): Promise<T> {
  const { memory: folder } = command.opts<MethodMemoryFlags>();
  const isThere = await exists(join(folder, ledgerName));
  const described: Described = isThere || beforeMaking === undefined ? describeMemory(folder) : {};
  const kinds = [...(facts ? ["facts" as const] : []), ...(documents ? ["documents" as const] : [])];
  const before = methods[described.identity?.method ?? ""];
  if (before && !kinds.some((kind) => before[kind])) {
    throw new UserError(
      `${command.name()}: expected a memory of ${kinds.join(" or ")}, got ${folder} of ${before.name}; name another with ` +
        "--memory",
    );
  }
  return withMemoryMethod(command, session, described, kinds, async (method, made) => {
    if (!isThere) await beforeMaking?.(method);
    const opened =
      method.documents && documents
        ? { memory: await openDocumentMemory(folder, method), documents }
        : { memory: await openFactMemory(folder, method), facts };
    const { memory } = opened;
    try {
      // Its hashes are those of the memory: what they were named finds them the next time
      noteMade(memory.ledger, made);
      if (opened.documents) return await opened.documents(opened.memory, made, method);
      return await (opened.facts as NonNullable<typeof facts>)(opened.memory, made);
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
