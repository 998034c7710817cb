/** Scores of edits against hand-worked cases: free answers and teacher forcing apart, neighbours against before. */
import { describe, expect, it } from "vitest";
import { tableMethod } from "../../../tests/support/table-method.ts";
import { writingMethod } from "../../../tests/support/writing-method.ts";
import { type Edit, editingTask } from "./editing.ts";

const edit = (n: number, more: Partial<Edit> = {}): Edit => ({
  id: `e${n}`,
  prompt: `Thing ${n} is made of`,
  target: `blue glass`,
  paraphrases: [`What is thing ${n} made of?`, `Of thing ${n}, the stuff is`],
  neighbourhood: [
    { text: `Thing ${n}0 is made of`, answers: ["stone"] },
    { text: `Where is thing ${n}0?`, answers: ["Rome", "in Rome"] },
  ],
  portability: [{ text: `What breaks with thing ${n}?`, answers: ["glass"] }],
  ...more,
});

describe("editingTask", () => {
  const task = editingTask({ name: "edits", edits: [edit(1), edit(2), edit(3)], batch: 2 });

  it("learns batches of statements; questions are learned with their answers", () => {
    const learned = (i: number, topic: string) => ({
      id: `e${i}`,
      topic,
      text: `Thing ${i} is made of blue glass.\n`,
      facts: [{ prompt: { text: `Thing ${i} is made of`, form: "completion" }, target: "blue glass" }],
    });
    expect(task.topics).toEqual([
      { name: "edits 1-2", documents: [learned(1, "edits 1-2"), learned(2, "edits 1-2")] },
      { name: "edit 3", documents: [learned(3, "edit 3")] },
    ]);
    const asked = editingTask({ name: "edits", edits: [edit(1, { prompt: "Of what is it?" })] });
    expect(asked.topics[0].documents[0].text).toBe("Question: Of what is it?\nAnswer: blue glass\n");
  });

  it("asks questions as questions and statements as texts to go on from", () => {
    const forms = task.questions.slice(0, 6).map(({ query, kind }) => [kind, query.form]);
    expect(forms).toEqual([
      ["efficacy", "completion"],
      ["paraphrase", "question"],
      ["paraphrase", "completion"],
      ["portability", "question"],
      ["neighbourhood", "completion"],
      ["neighbourhood", "question"],
    ]);
  });

  it("scores free answers and tokens under names of their own", async () => {
    const method = tableMethod({
      "Thing 10 is made of": "stone. It is old",
      "Where is thing 10?": "Rome",
      "Thing 20 is made of": "wood",
    });
    await task.prepare(method);
    Object.assign(method.table, {
      // Edit 1: said and going on, one paraphrase of two exactly, nothing follows, both neighbours as before
      "Thing 1 is made of": "blue glass. It shines",
      "What is thing 1 made of?": "Blue glass",
      "Of thing 1, the stuff is": "blue stone",
      "Thing 10 is made of": "stone, and it is new",
      // Edit 2: half a token right; a question must match whole; one neighbour changed, one still without an answer
      "Thing 2 is made of": "blue",
      "What is thing 2 made of?": "blue glass of old",
      "What breaks with thing 2?": "glass",
      "Thing 20 is made of": "blue glass",
    });
    const scores = await task.evaluate(method, 0);
    expect(Object.keys(scores)).toEqual([
      "efficacy",
      "efficacyF1",
      "efficacyTokens",
      "paraphrase",
      "paraphraseF1",
      "paraphraseTokens",
      "portability",
      "portabilityTokens",
      "neighbourhood",
      "neighbourhoodTruth",
      "neighbourhoodTokens",
    ]);
    expect(scores.efficacy).toBeCloseTo((1 + 0) / 2, 12);
    // "blue glass", cut to two words, and "blue" of "blue glass"
    expect(scores.efficacyF1).toBeCloseTo((1 + 2 / 3) / 2, 12);
    // 1 and 1/2 of edit 1; "blue glass of old" has two of its four words, the other has none
    expect(scores.paraphraseF1).toBeCloseTo(((1 + 1 / 2) / 2 + (2 / 3 + 0) / 2) / 2, 12);
    // Words of the target that the table says in the same place: "blue", "glass." is not "glass"
    expect(scores.efficacyTokens).toBeCloseTo((1 / 2 + 1 / 2) / 2, 12);
    expect(scores.paraphrase).toBeCloseTo((1 / 2 + 0) / 2, 12);
    // "Blue" is not "blue" here
    expect(scores.paraphraseTokens).toBeCloseTo(((1 / 2 + 1 / 2) / 2 + (1 + 0) / 2) / 2, 12);
    expect(scores.portability).toBeCloseTo((0 + 1) / 2, 12);
    expect(scores.neighbourhood).toBeCloseTo((1 + 1 / 2) / 2, 12);
    // Of the truth: "stone," is not "stone", "Rome" is; "blue glass" and nothing are not
    expect(scores.neighbourhoodTokens).toBeCloseTo(((0 + 1) / 2 + 0) / 2, 12);
    expect(scores.neighbourhoodTruth).toBeCloseTo((1 + 0) / 2, 12);
  });

  it("an edit that says nothing new anywhere keeps its whole neighbourhood", async () => {
    const method = tableMethod();
    await task.prepare(method);
    expect(await task.evaluate(method, 1)).toMatchObject({ efficacy: 0, neighbourhood: 1, neighbourhoodTokens: 0 });
  });

  it("what was not taken before is not guessed, and each method has its own", async () => {
    const prepared = tableMethod();
    await task.prepare(prepared);
    const other = tableMethod({ "Thing 30 is made of": "stone" });
    const scores = await task.evaluate(other, 1);
    expect(scores).not.toHaveProperty("neighbourhood");
    expect(scores.neighbourhoodTruth).toBe(1 / 2);
  });

  it("a kind that some batch lacks is not scored; the same names for every topic", async () => {
    const some = editingTask({ name: "edits", edits: [edit(1), edit(2, { portability: [] })], batch: 1 });
    const method = tableMethod();
    await some.prepare(method);
    const names = await Promise.all([0, 1].map(async (i) => Object.keys(await some.evaluate(method, i))));
    expect(names[0]).toEqual(names[1]);
    expect(names[0]).not.toContain("portability");
  });

  it("compares probabilities where the old answer is known: the new one must win, and in the neighbourhood lose", async () => {
    const one = editingTask({ name: "edits", edits: [edit(1, { truth: "stone", portability: [] })] });
    const method = tableMethod({
      "Thing 1 is made of": "blue glass",
      "What is thing 1 made of?": "blue glass",
      "Of thing 1, the stuff is": "stone",
      "Thing 10 is made of": "stone",
      "Where is thing 10?": "Rome",
    });
    const scores = await one.evaluate(method, 0);
    // The table is sure of its words; a wrong word costs one nat, so an answer of wrong words has exp(-1)
    const margin = 1 - Math.exp(-1);
    expect(scores).toMatchObject({ efficacyScore: 1, paraphraseScore: 1 / 2, neighbourhoodScore: 1 });
    expect(scores.efficacyMagnitude).toBeCloseTo(margin, 12);
    expect(scores.paraphraseMagnitude).toBeCloseTo(0, 12);
    expect(scores.neighbourhoodMagnitude).toBeCloseTo(margin, 12);
    expect(scores.harmonicScore).toBeCloseTo(3 / (1 + 2 + 1), 12);
  });

  it("one at a time: written, asked about and taken back beside what is held; the base's own scores beside them", async () => {
    const single = editingTask({
      name: "edits",
      edits: [edit(1, { truth: "stone" }), edit(2, { truth: "stone" })],
      held: [edit(3), edit(4), edit(5)],
    });
    expect(single.topics.map(({ name, documents }) => [name, documents.length])).toEqual([["3 held facts", 3]]);
    expect(single.protocol).toMatch(/while 3 other facts are held/);
    const method = writingMethod({
      known: { "Thing 10 is made of": "stone", "What is thing 2 made of?": "blue glass" },
    });
    await single.prepare(method);
    for await (const _ of method.observe(single.topics[0].documents)) continue;
    const scores = await single.evaluate(method, 0);
    expect(method.facts_).toEqual({ held: 3, most: 4 });
    expect(scores).toMatchObject({ efficacy: 1, efficacyBase: 0, efficacyScore: 1, neighbourhood: 1 });
    expect(scores).toMatchObject({ paraphrase: 1 / 4, paraphraseBase: 1 / 4, neighbourhoodTruth: 1 / 4 });
    expect(scores.neighbourhoodTruthBase).toBe(1 / 4);
    expect(Object.keys(scores).filter((name) => name.endsWith("Base"))).not.toContain("neighbourhoodBase");
  });

  it("fills R with paraphrases where every edit has one, else with the learned prompt, and says which", () => {
    expect([task.metric, task.unit]).toEqual(["paraphrase", "share (paraphrase)"]);
    expect(task.protocol).toMatch(/; R is of paraphrases$/);
    const without = editingTask({ name: "edits", edits: [edit(1), edit(2, { paraphrases: [] })] });
    expect(without.metric).toBe("efficacy");
    expect(without.protocol).toMatch(/; R is of the learned prompts, as not every edit has paraphrases$/);
  });

  it("leaves out a prompt that was edited before, and says so", () => {
    const twice = editingTask({ name: "edits", edits: [edit(1), { ...edit(1), id: "again" }, edit(2)] });
    expect(twice.topics.flatMap(({ documents }) => documents.map(({ id }) => id))).toEqual(["e1", "e2"]);
    expect(twice.protocol).toMatch(/; 1 repeated prompts left out$/);
  });

  it("the fingerprint follows edits and batches", () => {
    const print = (edits: Edit[], batch = 2): string => editingTask({ name: "edits", edits, batch }).fingerprint;
    const edits = [edit(1), edit(2), edit(3)];
    expect(print(edits)).toBe(task.fingerprint);
    expect(print(edits, 3)).not.toBe(task.fingerprint);
    expect(print([edit(1), edit(2), edit(3, { target: "red glass" })])).not.toBe(task.fingerprint);
    expect(print([edit(1), edit(2), edit(3, { portability: [] })])).not.toBe(task.fingerprint);
  });
});
