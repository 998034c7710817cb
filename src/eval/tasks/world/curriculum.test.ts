/** What the base model is trained on: only training forms, no world of the tests, every answer as the text has it. */
import { describe, expect, it } from "vitest";
import { type Memory, readQuestion, readSentence, readText } from "../../../../tests/support/world-method.ts";
import type { Segment } from "../../../methods/mixture.ts";
import { randomStream } from "../../../tensor/random.ts";
import { firstFreshSeed, knownWorld, worldSources } from "./curriculum.ts";
import { ask, datedForms, questionForms, state, statementForms, stateSince } from "./forms.ts";
import { kinds, nameOf } from "./names.ts";
import { relations } from "./relations.ts";
import { createWorld } from "./world.ts";

const sources = worldSources();
const known = createWorld(knownWorld);
const knownFacts = new Map(known.facts.map((fact) => [`${fact.subject.name}/${fact.relation.id}`, fact.object]));
const knownNames = new Set(known.entities.map(({ name }) => name));

const examplesOf = (name: string, count: number, room = 255): (readonly Segment[])[] =>
  Array.from({ length: count }, (_, i) => sources[name].example(randomStream(2, name, i), room));

/** Is it a statement or question in a held-out form? */
function isHeldOut(text: string): boolean {
  for (const { relation, subject, object } of readSentence(text)) {
    const { phrases } = relation;
    const year = Number(/\d{4}/.exec(text)?.[0] ?? 0);
    const said = relation.topics.flatMap((topic) =>
      statementForms(phrases).flatMap((form) =>
        form.split === "test" ? state(phrases, topic, form, subject, object) : [],
      ),
    );
    const dated = datedForms(phrases).flatMap((form) =>
      form.split === "test" ? stateSince(phrases, year, form, subject, object) : [],
    );
    if ([...said, ...dated].includes(text)) return true;
  }
  return false;
}
const heldOutQuestions = relations.flatMap(({ phrases }) =>
  questionForms(phrases).flatMap((form) => {
    if (form.split === "train") return [];
    const [before, after] = ask(phrases, form, "\0").split("\0");
    return [{ before, after }];
  }),
);

interface Pair {
  readonly question: string;
  readonly answer: string;
  readonly weights: readonly [question: number | undefined, answer: number | undefined];
}

/** Questions with their answers, two segments each. */
function pairsOf(segments: readonly Segment[]): Pair[] {
  expect(segments.length % 2).toBe(0);
  return Array.from({ length: segments.length / 2 }, (_, i) => {
    const [asked, answered] = segments.slice(2 * i, 2 * i + 2);
    const question = /^Question: (.*)\nAnswer:$/.exec(asked.text)?.[1] as string;
    const answer = /^ (.*)\n$/.exec(answered.text)?.[1] as string;
    return { question, answer, weights: [asked.weight, answered.weight] };
  });
}

/** The answer that these facts give, over two where the question goes over two. */
function answerFrom(question: string, find: (subject: string, relation: string) => string | undefined) {
  const asked = readQuestion(question);
  if (!asked) throw new Error(`cannot read ${question}`);
  const { relation, through } = asked;
  const subject = through ? find(through.subject, through.relation.id) : asked.subject;
  return { subject, found: subject === undefined ? undefined : find(subject, relation.id) };
}

const fromKnown = (subject: string, relation: string): string | undefined => knownFacts.get(`${subject}/${relation}`);

describe("curriculum", () => {
  it("has five sources, each example a pure function of the numbers drawn", () => {
    const names = ["documents", "questions", "reading", "recall", "recall-long"];
    expect(Object.keys(sources)).toEqual(names.map((name) => `world-${name}`));
    for (const name of Object.keys(sources)) {
      const [one, two] = examplesOf(name, 2);
      expect(worldSources()[name].example(randomStream(2, name, 1), 255)).toEqual(two);
      expect(one).not.toEqual(two);
    }
  });

  it("world-documents state facts of the known world, all learned in full", () => {
    let stated = 0;
    for (const segments of examplesOf("world-documents", 60)) {
      expect(segments).toHaveLength(1);
      expect(segments[0].weight).toBeUndefined();
      for (const { subject, relation, object } of readText(segments[0].text)) {
        expect(fromKnown(subject, relation.id)).toBe(object);
        stated++;
      }
      for (const sentence of segments[0].text.split(/(?<=\.)\s/)) expect(isHeldOut(sentence), sentence).toBe(false);
    }
    expect(stated).toBeGreaterThan(150);
  });

  it("world-questions are answered as the known world has it, or unknown where it has nothing", () => {
    const all = examplesOf("world-questions", 120).flatMap(pairsOf);
    for (const { question, answer, weights } of all) {
      const { subject, found } = answerFrom(question, fromKnown);
      expect(answer, question).toBe(found ?? "unknown");
      // Learned as well where they are about the known world; a stranger's name is not
      expect(weights).toEqual([knownNames.has(subject as string) ? 0.3 : 0, 3]);
    }
    const unknown = all.filter(({ answer }) => answer === "unknown");
    expect(unknown.length / all.length).toBeCloseTo(0.18, 1);
    expect(all.filter(({ question }) => readQuestion(question)?.through).length).toBeGreaterThan(30);
  });

  it.each([255, 1023])("world-reading answers what stands in the window, in rows of %i", (room) => {
    const kindsSeen: Record<string, number> = { read: 0, twoHop: 0, unknown: 0, known: 0, changed: 0 };
    for (const [passage, ...rest] of examplesOf("world-reading", room > 500 ? 20 : 60, room)) {
      if (passage === undefined) continue;
      expect(passage.weight).toBe(0);
      expect(passage.text.endsWith("\n\n")).toBe(true);
      for (const sentence of passage.text.trim().split(/(?<=\.)\s+/)) expect(isHeldOut(sentence), sentence).toBe(false);
      const memory: Memory = new Map();
      for (const { subject, relation, object } of readText(passage.text)) {
        const key = `${subject}/${relation.id}`;
        memory.set(key, [...(memory.get(key) ?? []), object]);
        expect(knownNames.has(subject)).toBe(false);
      }
      for (const stated of memory.values()) kindsSeen.changed += stated.length - 1;
      const fromPassage = (subject: string, relation: string): string | undefined =>
        memory.get(`${subject}/${relation}`)?.at(-1);
      const pairs = pairsOf(rest);
      expect(pairs.length).toBeGreaterThanOrEqual(2);
      for (const { question, answer, weights } of pairs) {
        expect(weights).toEqual([0, 3]);
        const { subject, found } = answerFrom(question, fromPassage);
        if (knownNames.has(subject as string)) {
          expect(answer).toBe(fromKnown(subject as string, readQuestion(question)?.relation.id as string));
          kindsSeen.known++;
        } else {
          expect(answer, `${question}\n${passage.text}`).toBe(found ?? "unknown");
          if (found === undefined) kindsSeen.unknown++;
          else {
            expect(passage.text).toContain(answer);
            kindsSeen[readQuestion(question)?.through ? "twoHop" : "read"]++;
          }
        }
      }
    }
    // In short passages two facts seldom meet
    if (room < 500) delete kindsSeen.twoHop;
    for (const [kind, count] of Object.entries(kindsSeen)) expect(count, kind).toBeGreaterThan(0);
    expect(kindsSeen.read).toBeGreaterThan(kindsSeen.unknown);
  });

  it.each([
    ["world-recall", 255],
    ["world-recall", 1023],
    ["world-recall-long", 1023],
  ])("%s asks for nearly all that it tells, in rows of %i", (name, room) => {
    let unknown = 0;
    let read = 0;
    for (const [passage, ...rest] of examplesOf(name, 60, room)) {
      expect(passage.weight).toBe(0);
      for (const sentence of passage.text.trim().split(/(?<=\.)\s+/)) expect(isHeldOut(sentence), sentence).toBe(false);
      const told = new Map(readText(passage.text).map((one) => [`${one.subject}/${one.relation.id}`, one.object]));
      const pairs = pairsOf(rest);
      expect(pairs).toHaveLength(told.size);
      for (const { question, answer, weights } of pairs) {
        expect(weights).toEqual([0, 3]);
        const { subject, found } = answerFrom(question, (who, relation) => told.get(`${who}/${relation}`));
        expect(knownNames.has(subject as string)).toBe(false);
        expect(answer, `${question}\n${passage.text}`).toBe(found ?? "unknown");
        if (found === undefined) unknown++;
        else read++;
      }
    }
    expect(unknown / (read + unknown)).toBeGreaterThan(0.06);
    expect(unknown / (read + unknown)).toBeLessThan(0.18);
  });

  it("asks in training forms only", () => {
    const questions = ["world-questions", "world-reading", "world-recall", "world-recall-long"].flatMap((name) =>
      examplesOf(name, 30).flatMap((segments) =>
        segments.flatMap(({ text }) => /^Question: (.*)\nAnswer:$/.exec(text)?.[1] ?? []),
      ),
    );
    expect(questions.length).toBeGreaterThan(150);
    const heldOut = questions.filter((question) =>
      heldOutQuestions.some(({ before, after }) => question.startsWith(before) && question.endsWith(after)),
    );
    expect(heldOut).toEqual([]);
  });

  it("uses world 0 and worlds from 1000 on, none that a test or stream may use", () => {
    const reserved = new Set<string>();
    for (let seed = 1; seed < firstFreshSeed; seed++)
      // Fresh worlds have at most 24 people and few of all else
      for (const kind of kinds)
        for (let i = 0; i < (kind === "person" ? 24 : 4); i++) reserved.add(nameOf(kind, seed, i));
    expect(reserved.size).toBe(999 * (24 + 7 * 4));
    const readings = ["world-documents", "world-reading", "world-recall", "world-recall-long"].flatMap((name) =>
      examplesOf(name, 60).flatMap((segments) => segments.flatMap(({ text }) => readText(text))),
    );
    const asked = examplesOf("world-questions", 60).flatMap((segments) =>
      pairsOf(segments).map(({ question }) => readQuestion(question)?.subject ?? ""),
    );
    const mentioned = [...readings.flatMap(({ subject, object }) => [subject, object]), ...asked];
    expect(mentioned.length).toBeGreaterThan(500);
    for (const name of mentioned) expect(reserved.has(name), name).toBe(false);
  });
});
