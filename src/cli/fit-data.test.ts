/** What `mneme fit` practises on: texts, questions from files, worlds of single facts or of whole documents. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Document } from "../methods/method.ts";
import { type FitData, fitDocuments } from "./fit-data.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mneme-fit-data-"));
  const qas = [{ id: "1", question: "Who built it?", answers: [{ text: "Anna" }] }];
  const squad = { data: [{ title: "Mill", paragraphs: [{ context: "Anna built the mill.", qas }] }] };
  const own = { id: "d1", text: "It burned in 1874.", questions: [{ question: "When?", answer: "1874" }] };
  await writeFile(join(folder, "squad.json"), JSON.stringify(squad));
  await writeFile(join(folder, "own.jsonl"), JSON.stringify(own));
  await writeFile(join(folder, "novel.txt"), "The mill stood by the river.");
});
afterAll(() => rm(folder, { recursive: true }));

async function take(
  practises: "facts" | "documents" | undefined,
  names: readonly string[],
  given: Partial<FitData> = {},
): Promise<Document[]> {
  const data = names.map((name) => (name === "world" ? name : join(folder, name)));
  const all: Document[] = [];
  const flags = { data, worldFacts: 3, worldDocuments: 2, seed: 1, ...given };
  for await (const document of fitDocuments({ practises }, flags)) all.push(document);
  return all;
}

test("worlds by themselves: single facts, or whole documents for a method that says so", async () => {
  const facts = await take(undefined, []);
  expect(facts.map((document) => document.facts?.length)).toEqual([1, 1, 1]);
  expect(await take("facts", ["world"])).toEqual(facts);
  const documents = await take("documents", []);
  expect(documents).toHaveLength(2);
  expect(documents.every((document) => (document.facts?.length ?? 0) > 0)).toBe(true);
  expect(await take("documents", ["world"])).toEqual(documents);
});

test("texts come before worlds; files with questions stand in their place unless both are named", async () => {
  const ids = async (...names: string[]) => (await take("documents", names)).map(({ id }) => id);
  const worlds = await ids();
  expect(await ids("novel.txt")).toEqual(["novel.txt", ...worlds]);
  expect(await ids("squad.json")).toEqual(["squad.json/Mill-1"]);
  expect(await ids("own.jsonl", "novel.txt", "squad.json")).toEqual(["novel.txt", "own.jsonl/d1", "squad.json/Mill-1"]);
  expect(await ids("world", "own.jsonl")).toEqual(["own.jsonl/d1", ...worlds]);
  const [squad] = await take("documents", ["squad.json"]);
  expect(squad.facts).toEqual([{ prompt: { text: "Who built it?" }, target: "Anna" }]);
});

test("what the list names is left out", async () => {
  const exclude = join(folder, "list.json");
  await writeFile(exclude, JSON.stringify(["novel.txt"]));
  expect(await take("facts", ["novel.txt"], { exclude, worldFacts: 0 })).toEqual([]);
});
