/**
 * Cross-entropy on text that has nothing to do with a stream: how much of the language the model kept. Measured on the
 * given files (the novels that nothing was trained on, where they are at hand), or on articles about fresh worlds in
 * held-out forms, which everybody can make.
 */
import { readTextFile } from "../../../checkpoint/text.ts";
import { meanBitsPerByte } from "../../../models/score.ts";
import { randomStream } from "../../../tensor/random.ts";
import type { Probe } from "../../task.ts";
import { article } from "./render.ts";
import { createWorld } from "./world.ts";

/** Of each file only this much is scored, from a third of its length on. */
const CHARACTERS_PER_FILE = 8000;
const FRESH_WORLDS = 8;
/** Worlds from here on, up to those for training, are for nothing but this. */
export const firstValidationSeed = 900;

function freshTexts(): string[] {
  return Array.from({ length: FRESH_WORLDS }, (_, i) => {
    const { facts } = createWorld({ seed: firstValidationSeed + i, people: 8 });
    return article(facts.slice(0, 20), { random: randomStream(firstValidationSeed + i, "validation"), split: "test" });
  });
}

async function textsOf(files: readonly string[]): Promise<string[]> {
  if (files.length === 0) return freshTexts();
  const read = await Promise.all(files.map((file) => readTextFile(file)));
  return read.map(({ text }) => {
    const from = Math.floor(Math.max(0, text.length - CHARACTERS_PER_FILE) / 3);
    // Through bytes, as half a surrogate pair at an end is no text
    return Buffer.from(text.slice(from, from + CHARACTERS_PER_FILE)).toString();
  });
}

/** A probe and the texts that it is taken on. */
export interface TextProbe extends Probe {
  readonly texts: readonly string[];
}

/** Bits per byte; lower is better. */
export async function validationProbe(files: readonly string[]): Promise<TextProbe> {
  const texts = await textsOf(files);
  return {
    texts,
    name: "validationText",
    direction: "lower",
    unit: "bits per byte",
    evaluate: (method, { signal } = {}) =>
      meanBitsPerByte(texts, async (text) => {
        signal?.throwIfAborted();
        return method.score("", text);
      }),
  };
}
