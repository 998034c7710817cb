/** The stream of single facts in many wordings: what is told, what is asked, and that neither is in the other. */
import { expect, it } from "vitest";
import { taskNamed } from "./index.ts";

const made = await taskNamed("world-facts").create({ world: 7, facts: 12, batch: 5, known: 3 });

it("has a fact a document, in different wordings of which a quarter asks", () => {
  expect(made.topics.map(({ documents }) => documents.length)).toEqual([5, 5, 2]);
  for (const { text, restated = [], facts = [] } of made.topics.flatMap(({ documents }) => documents)) {
    expect(restated.length).toBeGreaterThanOrEqual(48);
    expect(restated.length).toBeLessThanOrEqual(64);
    expect(new Set(restated).size).toBe(restated.length);
    expect(restated.filter((one) => one.startsWith("Question: ")).length).toBe(16);
    expect(restated.every((one) => one.includes(facts[0].target))).toBe(true);
    expect(text).toBe(`${restated.join("\n")}\n`);
  }
});

it("asks once for each fact, in words that were not told", () => {
  const told = made.topics.flatMap(({ documents }) => documents.map(({ text }) => text)).join("\n");
  expect(made.questions?.length).toBe(12);
  for (const { query } of made.questions ?? []) expect(told).not.toContain(query.text);
});

it("is the same of the same seed, and measures what the base knew", async () => {
  const again = await taskNamed("world-facts").create({ world: 7, facts: 12, batch: 5, known: 3 });
  expect(again.fingerprint).toBe(made.fingerprint);
  const other = await taskNamed("world-facts").create({ world: 7, facts: 12, batch: 5, known: 3, wordings: 8 });
  expect(other.fingerprint).not.toBe(made.fingerprint);
  expect(made.probes?.map(({ name }) => name)).toEqual(["knownWorld", "admitsUnknown", "validationText"]);
});

it("tells documents of a world in other words beside them, where asked to", async () => {
  const options = { world: 7, documents: 4, known: 3 };
  const [plain, restated] = await Promise.all(
    [options, { ...options, restatements: 3 }].map((given) => taskNamed("world-documents").create(given)),
  );
  const documents = restated.topics[0].documents;
  expect(documents.every(({ restated: words = [] }) => new Set(words).size === 4)).toBe(true);
  expect(documents.map(({ restated: [first] = [] }) => first)).toEqual(
    plain.topics[0].documents.map(({ text }) => text),
  );
  expect(restated.questions).toEqual(plain.questions);
});
