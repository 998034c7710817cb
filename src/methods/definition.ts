/** How a method presents itself: a name, a source, one schema of options from which flags and forms are derived. */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { LoadedModel } from "../models/load.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Method } from "./method.ts";

export interface MethodDeps {
  readonly runtime: Runtime;
  readonly seed: number;
}

export interface MethodDefinition<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** Where it comes from. */
  readonly paper: string;
  /** Every option with its default and one line of help. */
  readonly options: S;
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
