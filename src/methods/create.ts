/** A method by its name, attached to a model: what most callers want in one step. */
import type { LoadedModel } from "../models/load.ts";
import { type MethodDeps, parseMethodOptions } from "./definition.ts";
import { methodNamed } from "./index.ts";
import type { Method } from "./method.ts";

/** Options are checked by the method's schema; those left out get their defaults. The base is not changed. */
export async function createMethod(
  name: string,
  base: LoadedModel,
  options: Readonly<Record<string, unknown>>,
  { runtime, seed = 0 }: Pick<MethodDeps, "runtime"> & Partial<MethodDeps>,
): Promise<Method> {
  const definition = methodNamed(name);
  return definition.create(base, parseMethodOptions(definition, options), { runtime, seed });
}
