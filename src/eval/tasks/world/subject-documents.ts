/**
 * Short documents in training forms, each about one subject: a few of its facts, as many as fit into about 128 tokens.
 * What a document states is kept beside it, for whoever asks.
 */
import type { Document } from "../../../methods/method.ts";
import type { Random } from "../../../tensor/random.ts";
import { biography, type Voice } from "./render.ts";
import { sample, trainVoice } from "./stream.ts";
import { bySubject, type Fact, type World } from "./world.ts";

export interface SubjectDocument {
  readonly document: Document;
  /** What it states, in no order. */
  readonly told: readonly Fact[];
}

/** About 128 tokens of mneme-base. */
const MOST_CHARACTERS = 390;

/** Up to `most` of a subject's facts in words; fewer where they would be too long. */
function tell(own: readonly Fact[], most: number, voice: Voice): { text: string; told: Fact[] } {
  const chosen = sample(own, most, voice.random);
  for (let count = chosen.length; ; count--) {
    const told = chosen.slice(0, count);
    const text = biography(told, voice);
    if (text.length <= MOST_CHARACTERS || count === 1) return { text, told };
  }
}

/** A document about every subject of a world that has facts, in random order. */
export function subjectDocuments(
  { seed, facts }: World,
  { facts: most }: { readonly facts: number },
  random: Random,
): SubjectDocument[] {
  const voice = trainVoice(random);
  const subjects = random.shuffle([...bySubject(facts)]);
  return subjects.map(([subject, own]) => {
    const { text, told } = tell(own, most, voice);
    return { document: { id: `${seed}/${subject.id}`, text }, told };
  });
}
