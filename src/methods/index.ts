/** The catalogue of methods: memory systems and remedies alike. */
import { UserError } from "../errors.ts";
import type { MethodDefinition } from "./definition.ts";
import { finetune } from "./finetune.ts";
import { lora } from "./lora.ts";

export const methods: Readonly<Record<string, MethodDefinition>> = { finetune, lora };

export function methodNamed(name: string): MethodDefinition {
  if (Object.hasOwn(methods, name)) return methods[name];
  throw new UserError(`method: expected one of ${Object.keys(methods).join(", ")}, got ${JSON.stringify(name)}`);
}
