/**
 * Facts that a fit is measured by and never practises. They are the last ones that are told; of those, the ones that the
 * others tell too, in whatever words, measure nothing and are left out.
 */
import { subjectOf } from "../../memory/subject.ts";
import type { Document, StatedFact } from "../method.ts";

/** Facts kept from the fit at most. */
const HELD_OUT = 128;

/** By what a fact is known again: its name, and the ways it is asked for. */
const marksOf = ({ prompt, rephrased = [], about }: StatedFact): string[] => [
  ...(about === undefined ? [] : [`name ${about}`]),
  ...[prompt, ...rephrased].map(({ text }) => `asked ${subjectOf(text)}`),
];

/** What is practised, and what is not and is measured; documents that are neither tell what is practised. */
export function divided(documents: readonly Document[]): { learned: Document[]; kept: Document[] } {
  const stating = documents.filter(({ facts = [] }) => facts.length > 0);
  const count = Math.min(HELD_OUT, Math.floor(stating.length / 8));
  const last = count === 0 ? [] : stating.slice(-count);
  const out = new Set(last);
  const learned = documents.filter((document) => !out.has(document));
  const practised = new Set(learned.flatMap(({ facts = [] }) => facts.flatMap(marksOf)));
  const isNew = (fact: StatedFact): boolean => marksOf(fact).every((mark) => !practised.has(mark));
  return { learned, kept: last.filter(({ facts = [] }) => facts.every(isNew)) };
}
