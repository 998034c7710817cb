/**
 * A world's questions for scope detectors: of each fact that is written, another way to ask for it, and questions about
 * facts that are not written: the same relation of another subject, another relation of the same subject.
 */
import { pick, randomStream } from "../../../tensor/random.ts";
import type { ScopeRecord } from "../../scope.ts";
import type { Split } from "./forms.ts";
import { questionOf, sentence } from "./render.ts";
import { bySubject, createWorld } from "./world.ts";

export interface WorldScopeOptions {
  readonly seed: number;
  readonly people: number;
  /** Forms of the questions; facts are written in training forms, always. */
  readonly split: Split;
  /** Facts are written as the question for them, or as a statement. */
  readonly written: "question" | "statement";
}

/** About half of the facts are written. */
export function worldScopeRecords({ seed, people, split, written }: WorldScopeOptions): ScopeRecord[] {
  const random = randomStream(seed, "scope", written);
  const { facts } = createWorld({ seed, people });
  const isWritten = new Set(facts.filter(() => random.uniform() < 0.5));
  const rest = facts.filter((fact) => !isWritten.has(fact));
  const subjects = bySubject(rest);
  return [...isWritten].map((fact) => {
    const telling = { random, split: "train" } as const;
    const asking = { random, split };
    const question = questionOf(fact, telling).text;
    const stated = sentence(fact, telling);
    let other = questionOf(fact, asking).text;
    while (other === question) other = questionOf(fact, asking).text;
    const neighbours = [
      rest.filter((one) => one.relation === fact.relation && one.subject !== fact.subject),
      subjects.get(fact.subject) ?? [],
    ];
    return {
      id: fact.id,
      prompt: written === "question" ? question : stated,
      statement: written === "question" ? `${question} ${fact.object}` : stated,
      inScope: [other],
      outOfScope: neighbours.flatMap((some) => (some.length > 0 ? [questionOf(pick(some, random), asking).text] : [])),
    };
  });
}
