/** How a method presents itself: a name, a source, one schema of options from which flags and forms are derived. */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { LoadedModel } from "../models/load.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { FactsDefinition, MemoryOptionNames } from "./fact-face.ts";
import type { Document, Method, MethodEvent } from "./method.ts";
import type { TrainResult } from "./train.ts";

export interface MethodDeps {
  readonly runtime: Runtime;
  readonly seed: number;
}

/** What a fit is given beside its options. */
interface FitTask extends MethodDeps {
  /** What it practises on; the command line wires them in. */
  readonly documents: AsyncIterable<Document>;
  /** Folder of the state of the training: the same fit goes on from it. */
  readonly checkpoint?: string;
  readonly signal?: AbortSignal;
}

/** A fitted module, not yet written. */
export interface Fitted {
  readonly result: TrainResult;
  /** What was measured of it, by name. */
  readonly measured: Readonly<Record<string, number>>;
  /** Write it as a folder; says in one line what it wrote. */
  save(folder: string): Promise<string>;
}

/** The training phase that a method needs once on a base before it can observe. Its product is a module. */
export interface FitDefinition<S extends z.ZodObject = z.ZodObject> {
  /** What its documents state: one fact each, or several in whole documents. Default: facts. */
  readonly practises?: "facts" | "documents";
  /** Every option with its default and one line of help. */
  readonly options: S;
  /** Train; yields progress. The base's arrays are not changed. */
  run(base: LoadedModel, options: z.output<S>, task: FitTask): AsyncGenerator<MethodEvent, Fitted>;
}

export interface MethodDefinition<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** Where it comes from. */
  readonly paper: string;
  /** Every option with its default and one line of help. */
  readonly options: S;
  /** For methods that need one. */
  readonly fit?: FitDefinition;
  /** For methods that write facts one by one. */
  readonly facts?: FactsDefinition;
  /** For methods that keep whole documents in a bank. */
  readonly documents?: MemoryOptionNames;
  /** Attach to a base model. The base's arrays are not changed. */
  create(base: LoadedModel, options: z.output<S>, deps: MethodDeps): Promise<Method>;
  /** Write what was learned as a folder that other tools load; says in one line what it wrote. */
  save(method: Method, base: LoadedModel, folder: string, options: z.output<S>): Promise<string>;
}

/**
 * A definition for the catalogue: its file sees options with their types, callers give any record of them. They are
 * checked, and those left out get their defaults, wherever the definition is entered.
 */
export function defineMethod<S extends z.ZodObject>(definition: MethodDefinition<S>): MethodDefinition {
  const { name, options } = definition;
  const resolve = (given: Readonly<Record<string, unknown>>): z.output<S> =>
    parseMethodOptions({ name, options }, given) as z.output<S>;
  return {
    ...definition,
    create: async (base, given, deps) => definition.create(base, resolve(given), deps),
    save: async (method, base, folder, given) => definition.save(method, base, folder, resolve(given)),
  };
}

/** As `defineMethod`, for the fit of the method of this name. */
export function defineFit<S extends z.ZodObject>(name: string, definition: FitDefinition<S>): FitDefinition {
  const { options, run } = definition;
  return {
    ...definition,
    run: (base, given, task) => run(base, parseMethodOptions({ name, options }, given) as z.output<S>, task),
  };
}

/** Resolve options with defaults; the error names the option, its rule and the ones there are. */
export function parseMethodOptions(
  { name, options }: Pick<MethodDefinition, "name" | "options">,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const parsed = z.strictObject(options.shape).safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const known = Object.keys(options.shape).join(", ");
  const place = issue.path.join(".");
  throw new UserError(
    `${name}: expected valid options, got ${place ? `${place}: ` : ""}${issue.message}; known are ${known}`,
  );
}
