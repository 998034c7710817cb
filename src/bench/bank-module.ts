/** What the measures of compressed documents share: the module with its method, and documents of a generated world. */
import { subjectDocuments, type SubjectDocument } from "../eval/tasks/world/subject-documents.ts";
import { createWorld } from "../eval/tasks/world/world.ts";
import { bankCompression } from "../methods/bank-compression.ts";
import { type ModeName, modeNames, modes } from "../methods/bank/modes.ts";
import { type DocumentFace, documentFaceOf } from "../methods/document-face.ts";
import type { Method } from "../methods/method.ts";
import type { LoadedModel } from "../models/load.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { randomStream } from "../tensor/random.ts";
import { ofModule } from "./measure.ts";

/** A world for nothing else, and people enough for the documents of any measure here. */
const WORLD = 981;
const PEOPLE = 250;

export const ofBankModule = (measure: Parameters<typeof ofModule>[1]) => ofModule("mneme-bank-compression", measure);

/** Modes that read with a fitted module. */
export const fittedModes = modeNames.filter((kind) => !modes[kind].online);

/** So many documents of the world. */
export const someDocuments = (count: number): SubjectDocument[] =>
  subjectDocuments(createWorld({ seed: WORLD, people: PEOPLE }), { facts: 5 }, randomStream(WORLD, "bench")).slice(
    0,
    count,
  );

interface Opened {
  readonly method: Method;
  readonly face: DocumentFace;
}

/** The method with a module, in one of its modes. */
export async function openMethod(
  base: LoadedModel,
  { module, kind, runtime }: { module: string; kind: ModeName; runtime: Runtime },
): Promise<Opened> {
  const method = await bankCompression.create(base, { module, kind }, { runtime, seed: 0 });
  return { method, face: documentFaceOf(method) };
}
