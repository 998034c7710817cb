/**
 * Recipes: what a recipe file may say, and the parts that all objectives share. What a model learns from is the
 * `objective`: language (the default) or contrastive; only the stages differ by it.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";

/** Shares of rows (or batches) by source; "texts" are the files. */
const mixture = z.record(z.string(), z.number().nonnegative()).default({ texts: 1 });

const optimization = {
  learningRate: z.number().positive(),
  schedule: z.enum(["constant", "cosine", "linear"]).default("cosine"),
  warmupSteps: z.number().int().nonnegative().default(0),
  floor: z.number().min(0).max(1).default(0),
  weightDecay: z.number().nonnegative().default(0),
  b1: z.number().default(0.9),
  b2: z.number().default(0.95),
  clipNorm: z.number().nonnegative().default(1),
};

const languageStage = z.strictObject({
  contextLength: z.number().int().positive(),
  batchSize: z.number().int().positive(),
  accumulate: z.number().int().positive().default(1),
  tokens: z.number().positive(),
  mixture,
  ...optimization,
  /** How a memory's values learn: row by row, only those that a batch reads. By default ten times as fast. */
  values: z
    .strictObject({
      learningRate: z.number().positive(),
      weightDecay: z.number().nonnegative().default(0),
      /** Of their gradients alone. */
      clipNorm: z.number().nonnegative().default(1),
    })
    .optional(),
});

const contrastiveStage = z.strictObject({
  /** Longer texts are cut. */
  maxTokens: z.number().int().positive(),
  /** Pairs; each is a negative of all others in its batch. */
  batchSize: z.number().int().min(2),
  accumulate: z.number().int().positive().default(1),
  steps: z.number().int().positive(),
  temperature: z.number().positive().default(0.05),
  mixture,
  ...optimization,
});

const shared = {
  name: z.string().regex(/^[\w.-]+$/),
  seed: z.number().int(),
  vocabulary: z.strictObject({
    size: z.number().int().min(257),
    /** The first one ends every document (language) or fills up short rows (contrastive). */
    specialTokens: z.array(z.string().min(1)).min(1),
    /** Examples of every source of the first stage that the vocabulary is made from, beside the texts. */
    examples: z.number().int().nonnegative().default(0),
  }),
  /** config.json without the sizes that the vocabulary decides. */
  model: z.looseObject({ model_type: z.string() }),
};

/** Stages come one after another, each with moments and a schedule of its own. More may be added to a run begun. */
const schemas = {
  language: z.strictObject({
    ...shared,
    objective: z.literal("language").optional(),
    /** A model whose vocabulary and weights are the start; only what it lacks, a memory, begins fresh. */
    from: z.string().min(1).optional(),
    stages: z.array(languageStage).min(1),
  }),
  contrastive: z.strictObject({
    ...shared,
    /** Made from pairs only, so there must be some. */
    vocabulary: shared.vocabulary.extend({ examples: z.number().int().positive().default(400) }),
    objective: z.literal("contrastive"),
    stages: z.array(contrastiveStage).min(1),
  }),
};

export type ObjectiveName = keyof typeof schemas;
export type LanguageRecipe = z.output<typeof schemas.language>;
export type ContrastiveRecipe = z.output<typeof schemas.contrastive>;
export type Recipe = LanguageRecipe | ContrastiveRecipe;

/** The model that a recipe starts from. */
export const startOf = (recipe: Recipe): string | undefined => ("from" in recipe ? recipe.from : undefined);

export const objectiveOf = ({ objective = "language" }: Recipe): ObjectiveName => objective;

export function parseRecipe(json: unknown): Recipe {
  const named = typeof json === "object" && json !== null && "objective" in json ? json.objective : "language";
  if (typeof named !== "string" || !Object.hasOwn(schemas, named)) {
    throw new UserError(
      `recipe: expected an objective among ${Object.keys(schemas).join(", ")}, got ${JSON.stringify(named)}; ` +
        "correct the file",
    );
  }
  const parsed = schemas[named as ObjectiveName].safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UserError(`recipe: expected a valid ${issue.path.join(".") || "file"}, got a wrong one: ${issue.message}`);
}
