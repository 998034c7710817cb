/** Bank compression on bases of some thousand weights: documents with questions, sizes, fits of a few steps. */
import { bankCompression } from "../../src/methods/bank-compression.ts";
import type { Fitted } from "../../src/methods/definition.ts";
import type { ModuleConfig } from "../../src/methods/bank/module.ts";
import type { Document } from "../../src/methods/method.ts";
import type { LoadedModel } from "../../src/models/load.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { type Driven, drive } from "./training.ts";

const people = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"];
const things = ["salt", "milk", "rope", "chalk"];

export const smallDocuments: readonly Document[] = people.flatMap((name, i) =>
  things.map((thing, k) => ({
    id: `${name}-${k}`,
    text: `${name}${i} counts ${thing}.`,
    facts: [{ prompt: { text: `What does ${name}${i} count?` }, target: thing }],
  })),
);

const shape = {
  ...{ slots: 4, width: 16, places: 2, encoderWidth: 16, encoderLayers: 1, encoderHeads: 2 },
  ...{ inner: 16, blocks: 2, blockHeads: 2, blockInner: 16, context: 40 },
};
const books = { codes: 8, depth: 2 };

/** What a module of these sizes says of itself, for bases of two layers. */
export const smallConfig = (name: string, sha256: string): ModuleConfig => ({
  model_type: "mneme-bank-compression",
  base: { name, sha256 },
  shape,
  ...books,
  adapters: { rank: 2, alpha: 4, layers: 2, beside: "kv" },
  fit: {},
});

const smallSizes = {
  ...{ ...shape, ...books, rank: 2, alpha: 4 },
  ...{ groups: 2, perGroup: 3, questions: 3, steps: 8, learningRate: 3e-3, warmupSteps: 1, careSteps: 2 },
};

export interface SmallFit {
  readonly options?: Record<string, unknown>;
  readonly documents?: readonly Document[];
  readonly checkpoint?: string;
  readonly signal?: AbortSignal;
  readonly onEvent?: Parameters<typeof drive>[1];
}

async function* streamOf(documents: readonly Document[]): AsyncGenerator<Document> {
  yield* documents;
}

export async function fitSmall(
  runtime: Runtime,
  base: LoadedModel,
  { options, documents = smallDocuments, onEvent, ...more }: SmallFit = {},
): Promise<Driven<Fitted>> {
  const { fit } = bankCompression;
  if (!fit) throw new Error("no fit");
  const given = { ...smallSizes, ...options };
  return drive(fit.run(base, given, { runtime, seed: 1, documents: streamOf(documents), ...more }), onEvent);
}
