/** Episodes: a batch follows from its number alone, and every answer stands where its question is scored. */
import { describe, expect, it } from "vitest";
import { repositoryFile } from "../../../tests/support/model-fixture.ts";
import { loadTokenizer, type Tokenizer } from "../../checkpoint/tokenizer.ts";
import type { Document } from "../method.ts";
import { promptIdsOf } from "../stated.ts";
import { createEpisodes, type EpisodeOptions, promptAfter } from "./episodes.ts";

/** A token is a character. */
const characters: Partial<Tokenizer> = {
  encode: (text) => [...text].map((character) => character.codePointAt(0) ?? 0),
  eosId: 0,
};
const tokenizer = characters as Tokenizer;
const people = ["Ada", "Bo", "Cy", "Di"];
const things = ["salt", "milk", "rope", "nets"];
const documents: Document[] = people.map((name, i) => ({
  id: name,
  text: ` ${name} counts ${things[i]}.\n`,
  facts: [{ prompt: { text: `What does ${name} count?` }, target: things[i] }],
}));
const options: EpisodeOptions = {
  tokenizer,
  documents,
  encoder: {
    context: 64,
    documentIds: (text) => tokenizer.encode(text.trim()),
    questionIds: (query) => promptIdsOf(tokenizer, query),
  },
  depth: 3,
  groups: 2,
  perGroup: 3,
  questions: 4,
  retrieved: 0.5,
  mostRetrieved: 2,
  bias: 8,
  unanswerable: 0.25,
  precisions: { full: 1, residual: 1, single: 1 },
  quantizedFrom: 10,
  seed: 3,
};
const [K, UNSEEN] = [options.perGroup, -1e9];
const text = (ids: Int32Array): string => String.fromCodePoint(...ids);
const steps = Array.from({ length: 60 }, (_, step) => step);

/** What each question of a batch asks, is told and is to answer. */
function readBatch(given: EpisodeOptions, step: number) {
  const batch = createEpisodes(given).batchAt(step);
  const { documents: N, asked: R, read: U, scored: A } = batch.lengths;
  const row = <X extends Int32Array | Float32Array>(all: X, b: number, width: number): X =>
    all.subarray(b * width, (b + 1) * width) as X;
  const told = Array.from({ length: given.groups * K }, (_, b) => {
    const { length } = row(batch.documentMask, b, N).filter((one) => one === 1);
    return text(row(batch.documentIds, b, N).subarray(0, length));
  });
  const questions = Array.from({ length: given.groups * given.questions }, (_, b) => {
    const weights = row(batch.weights, b, A);
    const scored = weights.filter((weight) => weight === 1).length;
    const places = row(batch.places, b, A);
    const ids = row(batch.ids, b, U);
    const group = Math.floor(b / given.questions);
    const asked = text(row(batch.askedIds, b, R).filter((_, i) => row(batch.askedMask, b, R)[i] === 1));
    const own = told.slice(group * K, (group + 1) * K);
    const name = people.find((one) => asked.includes(`does ${one} `)) ?? "";
    return {
      asked,
      name,
      right: own.findIndex((document) => document.startsWith(`${name} `)),
      prompt: text(ids.subarray(0, places[0] + 1)),
      answer: text(row(batch.targets, b, A).subarray(0, scored)),
      // What is read after each scored place, but for the last, is what was to be said there
      forced: text(ids.subarray(places[0] + 1, places[scored - 1] + 1)),
      rest: [...weights.subarray(scored)],
      bias: [...row(batch.bias, b, K)],
    };
  });
  return { batch, told, questions };
}

describe("episodes", () => {
  it("are the same for the same number, whatever came before", () => {
    const episodes = createEpisodes(options);
    const first = steps.map((step) => episodes.batchAt(step));
    for (const step of steps.toReversed()) expect(createEpisodes(options).batchAt(step)).toEqual(first[step]);
    expect(first[1]).not.toEqual(first[0]);
    expect(createEpisodes({ ...options, seed: 4 }).batchAt(0)).not.toEqual(first[0]);
    expect(createEpisodes(options).texts(5, -1)).toEqual(episodes.texts(5, -1));
    expect(() => episodes.batchAt(-1)).toThrow(/expected a step from 0, got -1/);
  });

  it("hold different documents, and questions whose answers are scored after their prompts", () => {
    for (const step of steps) {
      const { batch, told, questions } = readBatch(options, step);
      let targets = 0;
      for (const start of [0, K]) expect(new Set(told.slice(start, start + K)).size).toBe(K);
      for (const document of told) expect(document).toMatch(/^\w+ counts \w+\.$/);
      for (const { asked, prompt, answer, forced, rest, name, right, bias } of questions) {
        expect(asked).toBe(`Question: What does ${name} count?\nAnswer:`);
        expect(prompt).toBe(`\n\n${asked}`);
        expect(answer).toBe(forced + answer.slice(-1));
        expect(rest).toEqual(rest.map(() => 0));
        targets += answer.length;
        // Who may not see the document says so, and nobody else
        expect(answer).toBe(bias[right] === UNSEEN ? " unknown\n" : ` ${things[people.indexOf(name)]}\n`);
        expect(bias.some((one) => one > UNSEEN)).toBe(true);
      }
      expect(batch.targetCount).toBe(targets);
    }
  });

  it("show all documents alike, or a few set back as retrieval might", () => {
    const asked = (more: Partial<EpisodeOptions>) =>
      steps.flatMap((step) => readBatch({ ...options, ...more }, step).questions);
    for (const { bias } of asked({ retrieved: 0, unanswerable: 0 })) expect(bias).toEqual([0, 0, 0]);
    for (const { bias, right } of asked({ retrieved: 0, unanswerable: 0.5 })) {
      expect([0, UNSEEN]).toContain(bias[right]);
      expect(bias.filter((one, k) => k !== right && one !== 0)).toEqual([]);
    }
    const few = asked({ retrieved: 1, unanswerable: 0.25 });
    const answerable = few.filter(({ bias, right }) => bias[right] > UNSEEN);
    expect(answerable.length / few.length).toBeCloseTo(0.75, 1);
    for (const { bias } of few) {
      const seen = bias.filter((one) => one > UNSEEN);
      expect(seen.length).toBeLessThanOrEqual(2);
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(-8);
    }
    for (const { bias } of answerable) expect(Math.max(...bias)).toBe(0);
    // Retrieval takes another document for the likeliest one in about a tenth of the cases where there is one
    const two = answerable.filter(({ bias }) => bias.filter((one) => one > UNSEEN).length === 2);
    const mistaken = two.filter(({ bias, right }) => bias[right] < 0);
    expect(mistaken.length / two.length).toBeGreaterThan(0.03);
    expect(mistaken.length / two.length).toBeLessThan(0.2);
  });

  it("are in full precision before there are codebooks, and then in all precisions and depths", () => {
    const batches = steps.map((step) => createEpisodes(options).batchAt(step));
    for (const { gates, quantizes } of batches.slice(0, 10)) {
      expect([...gates]).toEqual([0, 0, 0, 0]);
      expect(quantizes).toBe(0);
    }
    const later = batches.slice(10);
    const kinds = later.flatMap(({ gates }) => [`${gates[0]}${gates[1]}`, `${gates[2]}${gates[3]}`]);
    for (const kind of ["00", "10", "01"]) expect(kinds.filter((one) => one === kind).length).toBeGreaterThan(15);
    expect(new Set(kinds).size).toBe(3);
    expect(later.every(({ quantizes }) => quantizes === 1)).toBe(true);
    expect(new Set(later.map(({ depths }) => depths.join(""))).size).toBe(3);
    for (const { depths } of later) expect(depths.join("")).toMatch(/^10*$|^110$|^111$/);
  });

  it("are made of documents with questions that fit, of which there must be enough", () => {
    const long = { id: "long", text: "x".repeat(65), facts: documents[0].facts };
    const silent = { id: "silent", text: "Nobody asks." };
    expect(createEpisodes({ ...options, documents: [...documents, long, silent] }).count).toBe(4);
    expect(() => createEpisodes({ ...options, documents: [...documents.slice(2), long, silent] })).toThrow(
      "fit: expected 3 or more documents with questions of at most 64 tokens, got 2 of 4; give more, or shorter ones",
    );
  });
});

describe("a prompt behind documents", () => {
  it("is the tokens of the whole text, where a break between documents alone would be another one", async () => {
    const real = await loadTokenizer(repositoryFile("models/mneme-base"));
    const encode = (text: string): number[] => real.encode(text, { addSpecialTokens: false });
    const prompt = "\n\nQuestion: Where does Ada live?\nAnswer:";
    expect(encode("\n\n")).not.toEqual(encode(prompt).slice(0, encode("\n\n").length));
    expect(promptAfter(real, { text: "Where does Ada live?", form: "question" })).toEqual(encode(prompt));
  });
});
