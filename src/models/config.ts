/** Reading config.json: zod schemas whose errors name the field and the value in one line. */
import { z } from "zod";
import { UserError } from "../errors.ts";

/** More than any published model has; a damaged count would otherwise have us list tensors for hours. */
export const MOST_LAYERS = 2048;

/** Fields that every architecture may carry and shared code reads. */
export const tokenIds = {
  bos_token_id: z.number().int().nullish(),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  pad_token_id: z.number().int().nullish(),
};

/**
 * Parse with a one-line error: `config.json of gpt2: expected ..., got ...`. `defaults` stand in for absent fields
 * where relatives share a schema.
 */
export function parseConfig<S extends z.ZodType>(
  modelType: string,
  schema: S,
  json: unknown,
  defaults: Readonly<Record<string, unknown>> = {},
): z.output<S> {
  const parsed = schema.safeParse(typeof json === "object" && json !== null ? { ...defaults, ...json } : json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue.path.join(".") || "the file";
  throw new UserError(
    `config.json (${modelType}): expected a valid ${path}, got a wrong one: ${issue.message}; compare with the ` +
      "model's source",
  );
}
