/**
 * The oracle of tests with worlds: it reads sentences and questions by trying every form there is, of both splits, and
 * keeps what was stated. It knows nothing of how texts are made but the phrases themselves.
 */
import type { Method } from "../../src/methods/method.ts";
import type { Kind } from "../../src/eval/tasks/world/names.ts";
import { commonFrames, questionFrames, topicFrames } from "../../src/eval/tasks/world/phrases/fillers.ts";
import { type Relation, relations } from "../../src/eval/tasks/world/relations.ts";
import { fakeMethod } from "./fake-method.ts";

const word = "[A-Z][a-z]+";
const names: Readonly<Record<Kind, string>> = {
  person: `${word} ${word}`,
  city: word,
  company: `${word} ${word}`,
  institution: `${word} ${word}`,
  team: `${word} ${word}`,
  work: `The ${word} ${word} of ${word}`,
  event: `the ${word} ${word}`,
  river: word,
};
const aliases: Readonly<Partial<Record<Kind, string>>> = { person: word };

const objectsOf = ({ range }: Relation): string => {
  if ("words" in range) return range.words.join("|");
  return "entity" in range ? names[range.entity] : "[0-9]+";
};

const pattern = (text: string, slots: Readonly<Record<string, string>>): RegExp =>
  new RegExp(
    `^${text.replace(/[.?]/g, "\\$&").replace(/\{(\w)\}/g, (_, slot: string) => `(?<${slot}>${slots[slot]})`)}$`,
  );

/** The longest piece between the slots: what has it not is not of this core, and that is quickly seen. */
const pieceOf = (core: string): string => core.split(/\{\w\}/).reduce((a, b) => (b.length > a.length ? b : a));

const statementCores = relations.flatMap((relation) => {
  const subject = `${names[relation.subject]}|${aliases[relation.subject] ?? `the ${relation.subject}`}`;
  return relation.phrases.statements.map((core) => {
    return { relation, piece: pieceOf(core), core: pattern(core, { S: subject, O: objectsOf(relation) }) };
  });
});
const questionCores = relations.flatMap((relation) =>
  relation.phrases.questions.map((core) => ({ relation, piece: pieceOf(core), core: pattern(core, { S: ".+" }) })),
);
const descriptions = relations.flatMap((relation) =>
  relation.phrases.descriptions.map((core) => ({ relation, core: pattern(core, { S: names[relation.subject] }) })),
);
const dated = ["As of {y}, {c}.", "From {y} on, {c}.", "Since {y} it has been true that {c}."];
const statementFrames = [...commonFrames, ...Object.values(topicFrames).flat(), ...dated].map((frame) =>
  pattern(frame, { c: ".+", C: ".+", y: "[0-9]{4}" }),
);
const askFrames = questionFrames.map((frame) => pattern(frame, { q: ".+", Q: ".+" }));

/** As it stands, or with the small first letter that a frame made a capital. */
const clauses = (match: RegExpExecArray | null, small: string): string[] => {
  const groups = match?.groups;
  if (!groups) return [];
  const capital = groups[small.toUpperCase()];
  return groups[small] ? [groups[small]] : [capital, capital.charAt(0).toLowerCase() + capital.slice(1)];
};

export interface Reading {
  readonly relation: Relation;
  /** As it is called in the sentence. */
  readonly subject: string;
  readonly object: string;
}

/** Every way to understand a sentence: none for a filler, one for a statement. */
export function readSentence(sentence: string): Reading[] {
  const found = new Map<string, Reading>();
  for (const frame of statementFrames)
    for (const clause of clauses(frame.exec(sentence), "c"))
      for (const { relation, piece, core } of statementCores) {
        if (!clause.includes(piece)) continue;
        const { S, O } = core.exec(clause)?.groups ?? {};
        if (S !== undefined) found.set(`${relation.id}/${S}/${O}`, { relation, subject: S, object: O });
      }
  return [...found.values()];
}

/** What a text states, in order, with full names; questions that are answered in it as well. */
export function readText(text: string): Reading[] {
  const readings: Reading[] = [];
  for (const paragraph of text.split(/\n+(?!Answer:)/)) {
    const [, question, answer] = /^Question: (.*)\nAnswer: (.*)$/.exec(paragraph) ?? [];
    if (question !== undefined) {
      const asked = readQuestion(question);
      if (asked?.subject !== undefined && answer !== "unknown")
        readings.push({ relation: asked.relation, subject: asked.subject, object: answer });
      continue;
    }
    let last = "";
    for (const sentence of paragraph.split(/(?<=\.) /)) {
      for (const { relation, subject, object } of readSentence(sentence)) {
        const full = new RegExp(`^(${names[relation.subject]})$`).test(subject);
        if (full) last = subject;
        else if (relation.subject === "person" && !last.endsWith(` ${subject}`)) last = `nobody ${subject}`;
        readings.push({ relation, subject: last, object });
      }
    }
  }
  return readings;
}

export interface Asked {
  readonly relation: Relation;
  readonly subject?: string;
  /** Where the subject is described: the object of this fact. */
  readonly through?: { readonly relation: Relation; readonly subject: string };
}

export function readQuestion(text: string): Asked | undefined {
  for (const frame of askFrames)
    for (const clause of clauses(frame.exec(text), "q"))
      for (const { relation, piece, core } of questionCores) {
        if (!clause.includes(piece)) continue;
        const subject = core.exec(clause)?.groups?.S;
        if (subject === undefined) continue;
        if (new RegExp(`^(${names[relation.subject]})$`).test(subject)) return { relation, subject };
        for (const first of descriptions) {
          const inner = first.core.exec(subject)?.groups?.S;
          const { range } = first.relation;
          if (inner !== undefined && "entity" in range && range.entity === relation.subject)
            return { relation, through: { relation: first.relation, subject: inner } };
        }
      }
  return undefined;
}

/** What a method remembers: the objects stated for a subject and relation, oldest first. */
export type Memory = Map<string, string[]>;

export interface WorldMethodOptions {
  /** What it knew from the beginning. */
  readonly known?: readonly Reading[];
  /** Chooses among what was stated; the default is the newest. */
  readonly recall?: (stated: readonly string[], relation: Relation, memory: Memory) => string | undefined;
  /** Said about what was never stated. */
  readonly otherwise?: string;
}

const keyOf = (relation: Relation, subject: string): string => `${subject}/${relation.id}`;

function remember(memory: Memory, readings: Iterable<Reading>): void {
  for (const { relation, subject, object } of readings) {
    const key = keyOf(relation, subject);
    memory.set(key, [...(memory.get(key) ?? []), object]);
  }
}

/** Remembers what documents state, answers from it, and from what stands before a question. */
export function worldMethod({
  known = [],
  recall = (stated) => stated.at(-1),
  otherwise = "unknown",
}: WorldMethodOptions = {}): Method & { readonly memory: Memory } {
  const memory: Memory = new Map();
  remember(memory, known);
  const fake = fakeMethod({ name: "world" });
  const answer = (text: string, from: Memory): string => {
    const asked = readQuestion(text);
    if (!asked) throw new Error(`cannot read the question: ${text}`);
    const find = (relation: Relation, subject: string): string | undefined =>
      recall(from.get(keyOf(relation, subject)) ?? [], relation, from);
    const { relation, through } = asked;
    const subject = through ? find(through.relation, through.subject) : asked.subject;
    return (subject !== undefined && find(relation, subject)) || otherwise;
  };
  return {
    ...fake,
    memory,
    async *observe(documents, options) {
      for (const { text } of documents) remember(memory, readText(text));
      yield* fake.observe(documents, options);
    },
    async answer(queries) {
      return queries.map(({ text, form }) => {
        if (form !== "completion") return answer(text, memory);
        const [, before, question] = /^([^]*)Question: (.*)\nAnswer:$/.exec(text) ?? [];
        const seen: Memory = new Map(memory);
        remember(seen, readText(before));
        return answer(question, seen);
      });
    },
  };
}
