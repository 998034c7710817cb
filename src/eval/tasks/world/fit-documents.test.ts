/** Documents for fits: what they state and ask, from which worlds, the same for every count. */
import { describe, expect, it, test } from "vitest";
import { readQuestion, readText } from "../../../../tests/support/world-method.ts";
import { divided } from "../../../methods/larimar/held-out.ts";
import type { Document } from "../../../methods/method.ts";
import { firstFreshSeed } from "./curriculum.ts";
import { worldFitDocuments, worldFitSubjects } from "./fit-documents.ts";
import { ask, questionForms } from "./forms.ts";

async function take(count: number, seed = 3): Promise<Document[]> {
  const all: Document[] = [];
  for await (const document of worldFitSubjects({ count, seed })) all.push(document);
  return all;
}

describe("worldFitSubjects", () => {
  it("states every fact that it gives, and asks each in four ways", async () => {
    const documents = await take(60);
    expect(documents).toHaveLength(60);
    expect(new Set(documents.map(({ id }) => id)).size).toBe(60);
    expect(Math.max(...documents.map(({ facts = [] }) => facts.length))).toBeGreaterThan(3);
    for (const { text, facts = [] } of documents) {
      const stated = readText(text);
      expect(facts.length).toBeGreaterThan(0);
      for (const { prompt, target, rephrased = [] } of facts) {
        const texts = [prompt, ...rephrased].map((one) => one.text);
        expect(new Set(texts).size).toBe(4);
        for (const asked of texts) {
          const { relation, subject } = readQuestion(asked) ?? {};
          expect(stated).toContainEqual({ relation, subject, object: target });
        }
      }
    }
  });

  it("is a function of its seed; more documents begin with the same, of worlds that nothing is tested on", async () => {
    const documents = await take(900);
    expect(await take(40)).toEqual(documents.slice(0, 40));
    expect((await take(40, 4))[0]).not.toEqual(documents[0]);
    expect(await take(0)).toEqual([]);
    const worlds = [...new Set(documents.map(({ id }) => Number(id.split("/")[1])))];
    expect(worlds.length).toBe(2);
    for (const seed of worlds) expect(seed).toBeGreaterThanOrEqual(firstFreshSeed);
  });

  it("asks in training forms only", async () => {
    const facts = (await take(300)).flatMap((document) => document.facts ?? []);
    const splits = facts
      .flatMap(({ prompt, rephrased = [] }) => [prompt, ...rephrased])
      .flatMap(({ text }) => {
        const { relation, subject = "" } = readQuestion(text) ?? {};
        if (!relation) return ["unread"];
        const forms = questionForms(relation.phrases);
        return forms.filter((form) => ask(relation.phrases, form, subject) === text).map(({ split }) => split);
      });
    expect(splits.length).toBe(4 * facts.length);
    expect(new Set(splits)).toEqual(new Set(["train"]));
  });
});

test("of generated worlds nothing held out was practised, and what is practised is as ever", async () => {
  const documents: Document[] = [];
  for await (const document of worldFitDocuments({ count: 1500, seed: 0 })) documents.push(document);
  const { learned, kept } = divided(documents);
  const factOf = ({ id }: Document): string => id.slice(0, id.lastIndexOf("/"));
  const practised = new Set(learned.map(factOf));
  expect(learned).toEqual(documents.slice(0, -128));
  // The last documents begin within a world
  const shared = documents.slice(-128).filter((document) => practised.has(factOf(document)));
  expect(shared.length).toBeGreaterThan(0);
  expect(kept.length).toBe(128 - shared.length);
  expect(kept.filter((document) => practised.has(factOf(document)))).toEqual([]);
});
