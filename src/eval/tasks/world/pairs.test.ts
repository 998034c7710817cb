/** Pairs: training forms only, no fact twice in a batch, near misses in it. */
import { expect, test } from "vitest";
import { randomStream } from "../../../tensor/random.ts";
import { ask, questionForms, state, statementForms } from "./forms.ts";
import { worldPairSources } from "./pairs.ts";
import { relations } from "./relations.ts";

const sources = worldPairSources();

test.each(Object.keys(sources))("%s: as many as asked for, different, the same for the same draws", (name) => {
  for (const count of [2, 16, 64]) {
    const pairs = sources[name].pairs(randomStream(3, name, count), count);
    expect(pairs).toHaveLength(count);
    expect(sources[name].pairs(randomStream(3, name, count), count)).toEqual(pairs);
    // A text may not stand for two pairs, or each would be a wrong negative of the other
    const texts = pairs.flatMap(([left, right]) => [...new Set([left, right])]);
    expect(new Set(texts).size).toBe(texts.length);
  }
});

test("no text is in a held-out form", () => {
  // Texts with the names left out: a capital letter begins a name, or a frame
  const skeleton = (text: string): string => text.replace(/\b(?:[Tt]he )?[A-Z]\w+(?: (?:of )?[A-Z]\w+)*|\d+/g, "_");
  const all = (split: "train" | "test"): string[] =>
    relations.flatMap(({ phrases, topics }) => [
      ...topics.flatMap((topic) =>
        statementForms(phrases).flatMap((form) =>
          form.split === split ? [state(phrases, topic, form, "Abc", "Def")] : [],
        ),
      ),
      ...questionForms(phrases).flatMap((form) => (form.split === split ? [ask(phrases, form, "Abc")] : [])),
    ]);
  const trained = new Set(all("train").map(skeleton));
  const heldOut = new Set(
    all("test")
      .map(skeleton)
      .filter((text) => !trained.has(text)),
  );
  expect(heldOut.size).toBeGreaterThan(1000);
  let known = 0;
  for (const name of Object.keys(sources))
    for (let batch = 0; batch < 20; batch++)
      for (const text of sources[name].pairs(randomStream(batch, name), 48).flat().map(skeleton)) {
        expect(heldOut).not.toContain(text);
        if (trained.has(text)) known++;
      }
  expect(known).toBeGreaterThan(2000);
});

test("a batch has neighbours of both sorts in plenty", () => {
  const pairs = sources["world-pairs"].pairs(randomStream(5, "near"), 64);
  const names = pairs.map(([left]) => left.match(/[A-Z]\w+ [A-Z]\w+/g) ?? []).flat();
  expect(new Set(names).size).toBeLessThan(0.7 * names.length);
});
