/** What sparse memory finetuning needs of a model: a table of slots that its layers read, and a token that ends texts. */
import { UserError } from "../../errors.ts";
import type { LoadedModel } from "../../models/load.ts";

export interface ModelMemory {
  /** Name of the table's tensor. */
  readonly table: string;
  /** N. */
  readonly slots: number;
  /** W. */
  readonly width: number;
}

export function memoryOf({ definition, config, weights, folder }: LoadedModel): ModelMemory {
  const [table] = definition.tables(config);
  if (table !== undefined) {
    const [slots, width] = weights[table].shape;
    return { table, slots, width };
  }
  throw new UserError(
    `sparse-memory: expected a model with a memory layer, got ${definition.modelType} without one in ${folder}; train ` +
      "one with `mneme pretrain` and a recipe whose model has a memory",
  );
}

export function endOf({ eosIds, tokenizer }: Pick<LoadedModel, "eosIds" | "tokenizer">): number {
  const eosId = eosIds[0] ?? tokenizer.eosId;
  if (eosId !== undefined) return eosId;
  throw new UserError(
    "sparse-memory: expected a model with an end-of-text token, got none; add eos_token_id to its config.json",
  );
}
