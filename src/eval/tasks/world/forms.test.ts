/** Relations and their forms: how many, all different, one split, every part of a form trained. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ask, datedForms, questionForms, state, statementForms, stateSince } from "./forms.ts";
import { commonFrames, questionFrames, topicFrames, topics } from "./phrases/fillers.ts";
import { relationOf, relations, relationsFor, topicOfKind } from "./relations.ts";

const S = "Qolo Qarn";
const O = "Vorz";

/** Everything that can be said or asked about a relation, with its split; topics share their common frames. */
const renderings = relations.map((relation) => {
  const { phrases } = relation;
  const said = relation.topics.flatMap((topic) =>
    statementForms(phrases).map((form) => ({ ...form, text: state(phrases, topic, form, S, O) })),
  );
  const statements = [...new Map(said.map((one) => [one.text, one])).values()];
  const dated = datedForms(phrases).map((form) => ({ ...form, text: stateSince(phrases, 2001, form, S, O) }));
  const questions = questionForms(phrases).map((form) => ({ ...form, text: ask(phrases, form, S) }));
  return { relation, said, statements, dated, questions };
});

describe("relations", () => {
  it("are 30, of every topic and with open answers for most", () => {
    expect(relations).toHaveLength(30);
    expect(new Set(relations.map(({ id }) => id)).size).toBe(30);
    const open = relations.filter(({ range }) => !("words" in range));
    expect(open).toHaveLength(24);
    for (const topic of topics) {
      const ids = relations.filter((relation) => relation.topics.includes(topic)).map(({ id }) => id);
      expect(ids.length, topic).toBeGreaterThanOrEqual(7);
      // What an artist is asked is not what an athlete is asked
      for (const other of topics.filter((one) => one !== topic))
        expect(ids, `${topic} and ${other}`).not.toEqual(
          relations.filter((relation) => relation.topics.includes(other)).map(({ id }) => id),
        );
    }
    expect(relations.filter(({ changes }) => changes).map(({ id }) => id)).toEqual([
      "residence",
      "employer",
      "team",
      "mayor",
      "director",
      "captain",
      "headquarters",
      "chief",
    ]);
  });

  it("have words without a repeat, and ranges that their steps fill", () => {
    for (const { id, range } of relations) {
      if ("words" in range) {
        expect(new Set(range.words).size, id).toBe(range.words.length);
        expect(range.words.length, id).toBeGreaterThanOrEqual(30);
        for (const word of range.words) expect(word).toMatch(/^[a-z]+( [a-z]+)*$/);
      } else if (!("entity" in range)) expect((range.to - range.from) % range.step, id).toBe(0);
    }
  });

  it("belong to the topics of their subjects", () => {
    for (const [kind, topic] of Object.entries(topicOfKind))
      expect(relationsFor(kind as keyof typeof topicOfKind, topic).map(({ subject }) => subject)).toContain(kind);
    expect(relationsFor("person", "science")).toContain(relationOf("field"));
    expect(relationsFor("person", "sport")).not.toContain(relationOf("field"));
    expect(relationsFor("river", "travel")).toEqual([]);
  });
});

describe("forms", () => {
  it("are at least 96 statements and 24 questions for every relation, all different texts", () => {
    for (const { relation, said, statements, questions, dated } of renderings) {
      const frames = commonFrames.length + 4 * relation.topics.length;
      expect(statementForms(relation.phrases), relation.id).toHaveLength(96);
      expect(said, relation.id).toHaveLength(96 * relation.topics.length);
      expect(statements, relation.id).toHaveLength(8 * frames);
      expect(questions, relation.id).toHaveLength(24);
      for (const { text } of [...statements, ...dated]) {
        expect(text).toContain(S);
        expect(text).toContain(O);
        expect(text).toMatch(/^[A-Z0-9].*\.$/);
        expect(text).not.toMatch(/[{}]/);
      }
      for (const { text } of questions) {
        expect(text).toContain(S);
        expect(text).toMatch(/^[A-Z].*\?$/);
        expect(text).not.toMatch(/[{}]/);
      }
    }
  });

  it("tell relations apart by themselves: no text is of two relations", () => {
    const texts = renderings.flatMap(({ statements, questions, dated }) =>
      [...statements, ...questions, ...dated].map(({ text }) => text),
    );
    expect(new Set(texts).size).toBe(texts.length);
    const described = relations.flatMap(({ phrases }) => phrases.descriptions);
    expect(new Set(described).size).toBe(described.length);
    for (const { id, phrases } of relations) {
      expect(phrases.descriptions.length, id).toBeGreaterThanOrEqual(2);
      for (const text of phrases.descriptions) expect(text).toMatch(/^the .*\{S\}/);
    }
  });

  it("are held out by exactly a third, the same texts in every topic", () => {
    for (const { relation, said, statements, questions, dated } of renderings) {
      for (const forms of [said, questions, dated])
        expect(3 * forms.filter(({ split }) => split === "test").length, relation.id).toBe(forms.length);
      const splits = new Map<string, Set<string>>();
      for (const { text, split } of said) splits.set(text, (splits.get(text) ?? new Set()).add(split));
      for (const [text, own] of splits) expect(own.size, text).toBe(1);
      expect(splits.size).toBe(statements.length);
    }
  });

  it("are trained in every core and every frame, with no frame or core held out altogether", () => {
    for (const { relation, questions, dated } of renderings) {
      const forms = statementForms(relation.phrases);
      for (const list of [forms, questions, dated]) {
        for (const split of ["train", "test"] as const) {
          const own = list.filter((form) => form.split === split);
          expect(new Set(own.map(({ core }) => core)), relation.id).toEqual(new Set(list.map(({ core }) => core)));
          expect(new Set(own.map(({ frame }) => frame)), relation.id).toEqual(new Set(list.map(({ frame }) => frame)));
        }
      }
    }
    expect(new Set(commonFrames).size).toBe(8);
    expect(questionFrames).toHaveLength(4);
    expect(new Set(topics.flatMap((topic) => topicFrames[topic])).size).toBe(20);
  });

  it("are what they were: models were trained on them", () => {
    const texts = renderings.flatMap(({ said, questions, dated }) =>
      [...said, ...questions, ...dated].map(({ split, text }) => `${split} ${text}`),
    );
    texts.push(...relations.flatMap(({ phrases }) => [...phrases.descriptions]));
    expect(createHash("sha256").update(texts.join("\n")).digest("hex")).toBe(
      "2103e00941bbd9296f012a7b2979635da89c885b30e5607f17aa78362090d4bb",
    );
  });

  it("keep names as they are written", () => {
    const { phrases } = relationOf("winner");
    const name = "the $& $1 Cup";
    expect(state(phrases, "sport", { core: 0, frame: 0, split: "train" }, name, O)).toBe(
      "The $& $1 Cup was won by Vorz.",
    );
    expect(ask(phrases, { core: 0, frame: 1, split: "train" }, name)).toBe("Please answer: who won the $& $1 Cup?");
    expect(stateSince(phrases, 2004, { core: 4, frame: 1 }, name, O)).toBe(
      "From 2004 on, Vorz was the winner of the $& $1 Cup.",
    );
  });
});
