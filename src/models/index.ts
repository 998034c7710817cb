/** The catalogue of architectures: one file each, found by the `model_type` of config.json. */
import { UserError } from "../errors.ts";
import { bert } from "./bert.ts";
import { gpt2 } from "./gpt2.ts";
import { llama, mistral } from "./llama.ts";
import type { Definition, ModelDefinition } from "./model.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { t5 } from "./t5.ts";
import { xlmRoberta } from "./xlm-roberta.ts";

export const definitions = {
  bert,
  gpt2,
  llama,
  mistral,
  qwen2,
  qwen3,
  t5,
  "xlm-roberta": xlmRoberta,
} satisfies Record<string, Definition>;

/** The architecture that a parsed config.json names. `kind` of the result tells language models, encoders and encoder-decoders apart. */
export function definitionFor(config: unknown): Definition {
  const type = typeof config === "object" && config !== null && "model_type" in config ? config.model_type : undefined;
  if (typeof type === "string" && Object.hasOwn(definitions, type))
    return definitions[type as keyof typeof definitions];
  throw new UserError(
    `models: expected model_type to be one of ${Object.keys(definitions).join(", ")}, got ` +
      `${JSON.stringify(type) ?? "none"}; choose a model of a known architecture`,
  );
}

/** As `definitionFor`, for those who need a language model. */
export function causalDefinitionFor(config: unknown): ModelDefinition {
  const definition = definitionFor(config);
  if (definition.kind === "causal") return definition;
  throw new UserError(
    `models: expected a language model, got the ${definition.kind} ${definition.modelType}; choose one that generates`,
  );
}
