/** The catalogue of methods: memory systems and remedies alike. */
import { UserError } from "../errors.ts";
import { didYouMean } from "../models/nearest.ts";
import type { MethodDefinition } from "./definition.ts";
import { adapter } from "./adapter.ts";
import { bankCompression } from "./bank-compression.ts";
import { ewc } from "./ewc.ts";
import { finetune } from "./finetune.ts";
import { goldContext } from "./gold-context.ts";
import { inContext } from "./in-context.ts";
import { larimar } from "./larimar.ts";
import { lora } from "./lora.ts";
import { none } from "./none.ts";
import { rag } from "./rag.ts";
import { replay } from "./replay.ts";
import { separate } from "./separate.ts";
import { sparseMemory } from "./sparse-memory.ts";

export const methods: Readonly<Record<string, MethodDefinition>> = {
  none,
  "in-context": inContext,
  rag,
  "gold-context": goldContext,
  finetune,
  lora,
  separate,
  adapter,
  ewc,
  replay,
  larimar,
  "bank-compression": bankCompression,
  "sparse-memory": sparseMemory,
};

export function methodNamed(name: string): MethodDefinition {
  if (Object.hasOwn(methods, name)) return methods[name];
  const names = Object.keys(methods);
  throw new UserError(
    `method: expected one of ${names.join(", ")}, got ${JSON.stringify(name)}${didYouMean(name, names)}`,
  );
}
