/** Facts as text: nothing lost, nothing added, lengths as promised, and never a held-out form where none may be. */
import { existsSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { type Reading, readQuestion, readSentence, readText } from "../../../../tests/support/world-method.ts";
import { loadTokenizer, type Tokenizer } from "../../../checkpoint/tokenizer.ts";
import { randomStream } from "../../../tensor/random.ts";
import { ask, datedForms, questionForms, type Split, state, statementForms, stateSince } from "./forms.ts";
import { fillers } from "./phrases/fillers.ts";
import {
  article,
  biography,
  chronicle,
  datedSentence,
  questionOf,
  sentence,
  twoHopQuestion,
  twoHops,
  unknownQuestion,
  type Voice,
} from "./render.ts";
import { bySubject, createWorld, type Fact } from "./world.ts";

const world = createWorld({ seed: 17, people: 30 });
const subjects = bySubject(world.facts);
const voice = (split: Split, label = "render"): Voice => ({ random: randomStream(17, label), split });
const splits = ["train", "test"] as const;

const shortNames: Readonly<Record<string, string>> = {
  city: "the city",
  company: "the company",
  institution: "the institution",
  team: "the team",
  work: "the work",
  event: "the event",
};
const namesOf = ({ subject: { kind, name } }: Fact): string[] => [name, shortNames[kind] ?? name.split(" ")[1]];

/** Every sentence and question about a fact in the forms of a split. */
function renderings(fact: Fact, split: Split): Set<string> {
  const { phrases } = fact.relation;
  const own = <T extends { split: Split }>(forms: readonly T[]): T[] => forms.filter((form) => form.split === split);
  return new Set(
    namesOf(fact).flatMap((name) => [
      ...own(statementForms(phrases)).map((form) => state(phrases, fact.topic, form, name, fact.object)),
      ...own(datedForms(phrases)).map((form) => stateSince(phrases, fact.from, form, name, fact.object)),
      ...own(questionForms(phrases)).map((form) => ask(phrases, form, name)),
    ]),
  );
}

const sentencesOf = (text: string): string[] => text.split(/(?<=\.)\s+/);
const stated = (readings: readonly Reading[]): string[] =>
  readings.map(({ relation, subject, object }) => `${subject}/${relation.id}/${object}`).sort();
const told = (facts: readonly Fact[]): string[] =>
  stated(facts.map(({ relation, subject, object }) => ({ relation, subject: subject.name, object })));

describe("the split", () => {
  it("holds in every text: all sentences and questions are of the split asked for", () => {
    for (const split of splits) {
      const own = voice(split, "split");
      const other = split === "train" ? "test" : "train";
      for (const [subject, facts] of [...subjects].slice(0, 100).filter((_, i) => i % 4 === 0)) {
        const right = new Set(facts.flatMap((fact) => [...renderings(fact, split)]));
        const wrong = new Set(facts.flatMap((fact) => [...renderings(fact, other)]));
        const dull = new Set(fillers[subject.topic]);
        const texts = [
          ...sentencesOf(biography(facts, own)),
          ...sentencesOf(article(facts, own)),
          ...sentencesOf(chronicle(facts, own, { words: 150 })),
          ...facts.flatMap((fact) => [sentence(fact, own), datedSentence(fact, own), questionOf(fact, own).text]),
        ];
        for (const text of texts) {
          expect(right.has(text) || dull.has(text), text).toBe(true);
          expect(wrong.has(text), text).toBe(false);
        }
      }
    }
  });

  it("every form of a split is used", () => {
    const own = voice("train", "all");
    const [fact] = world.facts;
    const seen = new Set<string>();
    for (let i = 0; i < 1500; i++) seen.add(sentence(fact, own)).add(questionOf(fact, own).text);
    for (let i = 0; i < 300; i++) seen.add(datedSentence(fact, own));
    const wanted = [...renderings(fact, "train")].filter((text) => text.includes(fact.subject.name));
    expect([...seen].sort()).toEqual(wanted.sort());
    expect(seen.size).toBe(64 + 16 + 16);
  });
});

describe("statements", () => {
  it("say one fact and no other; fillers say none", () => {
    for (const split of splits) {
      const own = voice(split, "statements");
      for (const fact of world.facts) {
        expect(stated(readSentence(sentence(fact, own)))).toEqual(told([fact]));
        expect(stated(readSentence(datedSentence(fact, own)))).toEqual(told([fact]));
      }
    }
    for (const text of Object.values(fillers).flat()) expect(readSentence(text), text).toEqual([]);
  });

  it("biographies, articles and chronicles state all their facts and nothing else", () => {
    for (const split of splits) {
      const own = voice(split, "texts");
      for (const facts of subjects.values()) expect(stated(readText(biography(facts, own)))).toEqual(told(facts));
      for (let i = 0; i < 15; i++) {
        const some = world.facts.slice(10 * i, 10 * i + 8);
        expect(stated(readText(article(some, own)))).toEqual(told(some));
        expect(stated(readText(chronicle(some, own, { words: 400 })))).toEqual(told(some));
      }
    }
  });

  it("chronicles are as long as asked for, with the facts far apart", () => {
    const some = world.facts.slice(0, 20);
    const text = chronicle(some, voice("train", "long"), { words: 5000 });
    const words = text.split(/\s+/).length;
    expect(words).toBeGreaterThan(4900);
    expect(words).toBeLessThan(5300);
    expect(text.split("\n\n").length).toBeGreaterThan(10);
    expect(stated(readText(text))).toEqual(told(some));
    // No two facts within half of the even distance
    const places = sentencesOf(text).flatMap((one) => (readSentence(one).length > 0 ? [text.indexOf(one)] : []));
    const gaps = places.slice(1).map((at, i) => at - places[i]);
    expect(Math.min(...gaps)).toBeGreaterThan(text.length / some.length / 2);
    // With no room for fillers it is the facts alone
    expect(chronicle(some, voice("train"), { words: 1 }).split("\n\n")).toHaveLength(1);
  });
});

describe("lengths", () => {
  const folder = new URL("../../../../models/mneme-base/", import.meta.url).pathname;
  let tokenizer: Tokenizer | undefined;
  beforeAll(async () => {
    if (existsSync(`${folder}tokenizer.json`)) tokenizer = await loadTokenizer(folder);
    else console.log("skipped: token counts need models/mneme-base, which is not there");
  });
  const words = (text: string): number => text.split(/\s+/).length;
  const shareWithin = (counts: readonly number[], low: number, high: number): number =>
    counts.filter((count) => count >= low && count <= high).length / counts.length;

  it("biographies of 3 to 5 facts and articles of 4 have 60 to 200 tokens, nearly all of them", () => {
    const own = voice("train", "lengths");
    const bios = [...subjects.values()].filter(({ length }) => length >= 3).map((facts) => biography(facts, own));
    const articles = Array.from({ length: 30 }, (_, i) => article(world.facts.slice(4 * i, 4 * i + 4), own));
    for (const texts of [bios, articles]) {
      expect(texts.length).toBeGreaterThanOrEqual(30);
      // A token of this vocabulary is about 0.6 words
      expect(shareWithin(texts.map(words), 36, 120)).toBeGreaterThan(0.9);
      if (tokenizer) {
        const counts = texts.map((text) => (tokenizer as Tokenizer).encode(text).length);
        expect(shareWithin(counts, 60, 200)).toBeGreaterThan(0.9);
      }
    }
  });
});

describe("questions", () => {
  it("ask for one relation of one subject, and for its object", () => {
    for (const split of splits) {
      const own = voice(split, "questions");
      for (const fact of world.facts) {
        const { text, answer, id, kind } = questionOf(fact, own);
        expect(readQuestion(text)).toEqual({ relation: fact.relation, subject: fact.subject.name });
        expect([answer, kind, id]).toEqual([fact.object, "fact", `${fact.id}?fact`]);
      }
    }
    const [fact] = world.facts;
    const other = world.facts.find((one) => one.relation === fact.relation && one.subject !== fact.subject) as Fact;
    expect(questionOf(other, voice("test"), "neighbour").kind).toBe("neighbour");
  });

  it("unknown ones can never be answered: nothing in the world states them", () => {
    const everything = new Set(world.facts.map(({ subject, relation }) => `${subject.name}/${relation.id}`));
    expect(world.gaps.length).toBeGreaterThan(10);
    for (const gap of world.gaps) {
      const { text, answer, kind } = unknownQuestion(gap, voice("test", "unknown"));
      expect([answer, kind]).toEqual(["unknown", "unknown"]);
      const asked = readQuestion(text);
      expect(asked).toEqual({ relation: gap.relation, subject: gap.subject.name });
      expect(everything.has(`${asked?.subject}/${asked?.relation.id}`)).toBe(false);
    }
  });

  it("over two facts have the answer of the join", () => {
    const pairs = twoHops(world);
    const brute: string[] = [];
    for (const first of world.facts)
      for (const second of world.facts)
        if (first.object === second.subject.name) brute.push(`${first.id} ${second.id}`);
    expect(pairs.map(([first, second]) => `${first.id} ${second.id}`).sort()).toEqual(brute.sort());
    expect(pairs.length).toBeGreaterThan(100);
    const own = voice("test", "two-hop");
    for (const [first, second] of pairs) {
      const { text, answer, kind } = twoHopQuestion(first, second, own);
      expect(kind).toBe("two-hop");
      const asked = readQuestion(text);
      const { through, relation } = asked ?? {};
      expect(through).toEqual({ relation: first.relation, subject: first.subject.name });
      const bridge = world.facts.find(
        (fact) => fact.subject.name === through?.subject && fact.relation === through.relation,
      );
      const end = world.facts.find((fact) => fact.subject.name === bridge?.object && fact.relation === relation);
      expect(answer).toBe(end?.object);
    }
  });
});
