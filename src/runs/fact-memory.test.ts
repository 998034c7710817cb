/** Facts through a method and its ledger, on a small random module: read, replaced, forgotten, taken back, refused. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { writeRandomModule } from "../../tests/support/larimar-module.ts";
import { textModel } from "../../tests/support/text-model.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { larimar } from "../methods/larimar.ts";
import type { Method, Query } from "../methods/method.ts";
import { none } from "../methods/none.ts";
import type { LoadedModel } from "../models/load.ts";
import { type EditOptions, type EditStage, type FactMemory, openFactMemory } from "./fact-memory.ts";
import { describeMemory, openStoredMemory } from "./stored-memory.ts";

const { runtime, root } = workbench("fact-memory");
let base: LoadedModel;
let module: string;
let bare: Method;

const create = (options: Record<string, unknown> = {}): Promise<Method> =>
  larimar.create(base, { module, threshold: 0.95, ...options }, { runtime, seed: 0 });
const named = (name: string): string => join(root, name);
const open = async (name: string, method?: Method): Promise<FactMemory> =>
  openFactMemory(named(name), method ?? (await create()), { durability: "process" });

beforeAll(async () => {
  base = await textModel(named("base"), { context: 96 });
  module = await writeRandomModule(runtime, base, named("module"));
  bare = await none.create(base, {}, { runtime, seed: 0 });
});

const boats = { prompt: "Who counts the boats?", target: "Mara" };
const ferry = { prompt: "What stays in the harbour?", target: "the ferry" };
const outside: Query[] = [{ text: "How hot is the oven?" }, { text: "The crust cracks", form: "completion" }];

test("a fact is written, read, replaced, forgotten and taken back", async () => {
  const method = await create();
  const memory = await open("story", method);
  const rated = () => method.rate([{ query: { text: boats.prompt }, answer: "Mara" }]);
  const [silent, unrated] = [await memory.ask(boats.prompt), await rated()];
  expect(silent).toMatchObject({ inScope: false, score: null, nearest: null, read: [] });
  expect(silent.answer).toBe(silent.without);

  const [mara] = await memory.edit([{ ...boats, rephrasings: ["Who is it that counts the boats?"] }]);
  const { fact, ...written } = mara;
  expect(written).toMatchObject({ outcome: "written", ...boats });
  const asked = await memory.ask(boats.prompt);
  expect(asked).toMatchObject({ inScope: true, threshold: 0.95, read: [{ id: mara.id, target: "Mara" }] });
  expect(asked.score).toBeCloseTo(1, 3); // kept in float16
  expect(asked.without).toBe(silent.answer);
  expect(asked.answer).not.toBe(asked.without);
  // Another way to ask it, and as one sentence of several
  for (const question of ["Who is it that counts the boats?", `It rains. ${boats.prompt}`]) {
    expect(await memory.ask(question)).toMatchObject({ inScope: true, read: [{ fact }] });
  }
  // Its receipt is what was measured
  const { receipt } = memory.ledger.show(mara.id);
  expect(receipt).toEqual(mara.receipt);
  expect(receipt?.answer).toEqual({ before: silent.answer, after: asked.answer });
  expect(receipt?.probability?.before).toBe(Math.exp(-unrated[0].nats));
  expect(receipt?.probability?.after).toBe(Math.exp(-(await rated())[0].nats));
  expect(receipt?.probes).toEqual({ count: 16, changed: 0, drift: 0 });

  // The same again changes nothing; a contradiction takes its place, and the old one stays in the history
  expect(await memory.edit([boats])).toMatchObject([{ outcome: "superseding" }]); // without the rephrasing
  const [bo] = await memory.edit([{ ...boats, target: "Bo" }], { receipt: false, source: "test" });
  expect(bo).toMatchObject({ outcome: "superseding", receipt: null });
  expect(await memory.edit([{ ...boats, target: "Bo" }])).toMatchObject([{ id: bo.id, outcome: "duplicate" }]);
  expect((await memory.ask(boats.prompt)).read).toMatchObject([{ id: bo.id, source: "test" }]);
  expect(memory.ledger.show(mara.id)).toMatchObject({ status: "superseded" });

  await memory.forget(bo.id);
  expect(await memory.ask(boats.prompt)).toEqual(silent);
  expect(await rated()).toEqual(unrated);
  await memory.revert(bo.id);
  expect((await memory.ask(boats.prompt)).read).toMatchObject([{ id: bo.id }]);
  await memory.revertTo({ event: 1 });
  expect(await memory.ask(boats.prompt)).toEqual(asked);
  expect(memory.memory.verify()).toMatchObject({ facts: 1, equal: true });
  await memory.close();
});

test("says whether the model gives the target now", async () => {
  const memory = await open("given");
  const [mara] = await memory.edit([boats]);
  expect(mara.given).toBe(mara.receipt?.answer?.after === "Mara");
  const { answer } = await memory.ask(boats.prompt);
  // What this random model says under the latent of an answer is hardly ever that answer
  expect(mara.given).toBe(answer === "Mara");
  const saying = { ...(await create()), answer: async (queries: readonly Query[]) => queries.map(() => " Mara ") };
  const other = await openFactMemory(named("given-2"), saying, { durability: "process" });
  const edited = await other.edit([boats, ferry]);
  expect(edited.map(({ given }) => given)).toEqual([true, false]);
  expect((await other.edit([{ ...boats, target: "Bo" }], { receipt: false }))[0].given).toBeNull();
  expect((await other.edit([ferry]))[0]).toMatchObject({ outcome: "duplicate", given: null });
  await other.close();
  await memory.close();
});

test("questions about nothing written are the base's, to the last bit", async () => {
  const method = await create();
  const memory = await open("outside", method);
  const pairs = outside.map((query) => ({ query, answer: "milk" }));
  await memory.edit([boats, ferry], { receipt: false });
  expect(await method.answer(outside)).toEqual(await bare.answer(outside));
  expect(await method.rate(pairs)).toEqual(await bare.rate(pairs));
  expect(await method.score("The oven", " is hot")).toEqual(await bare.score("The oven", " is hot"));
  const [answer] = await bare.answer([{ text: boats.prompt }]);
  expect((await memory.ask(boats.prompt)).without).toBe(answer);
  await memory.close();
});

test("any process that opens the memory reads the same; one without a model forgets from it", async () => {
  const [one, two] = [await open("shared"), await open("shared")];
  // Both write at once: none is lost
  const facts = ["salt", "milk", "rope", "chalk"].map((target, i) => ({ prompt: `What is in box ${i}?`, target }));
  const written = await Promise.all(facts.map((fact, i) => (i % 2 === 0 ? one : two).edit([fact], { receipt: false })));
  for (const [i, [{ id }]] of written.entries()) {
    expect((await one.ask(facts[i].prompt)).read).toMatchObject([{ id }]);
    expect(await two.ask(facts[i].prompt)).toEqual(await one.ask(facts[i].prompt));
  }
  const stored = await openStoredMemory(named("shared"), { durability: "process" });
  await stored.forget(written[0][0].id);
  expect(stored.verify()).toMatchObject({ facts: 3, equal: true });
  await stored.close();
  expect((await one.ask(facts[0].prompt)).read.map(({ id }) => id)).not.toContain(written[0][0].id);
  expect(one.memory.verify()).toMatchObject({ facts: 3, equal: true });
  await two.close();
  await one.close();
});

describe("is refused, and the memory is as before:", () => {
  let memory: FactMemory;
  beforeAll(async () => {
    memory = await open("refusing");
    await memory.edit([boats], { receipt: false });
  });
  const nameOf = (i: number): string => `line ${i + 3}`;

  test.each([
    ["an empty fact", [ferry, { prompt: " ", target: "x" }], /expected a prompt with text in it, got " " in line 4/],
    ["an empty target", [ferry, { prompt: "Who?", target: "" }], /expected a target with text in it, got "" in line 4/],
    [
      "a fact of too many tokens",
      [ferry, { prompt: `${"Who counts the seven blue boats ".repeat(9)}?`, target: "Mara" }],
      /expected a fact of 1 to 48 tokens, got \d+ in line 4; shorten/,
    ],
    [
      "a fact of too many bytes",
      [ferry, { ...boats, rephrasings: Array.from({ length: 40 }, (_, i) => `Who counts the boats of day ${i}?`) }],
      /expected a fact of at most 6144 bytes, got \d+ in line 4 .*shorten its texts or give fewer rephrasings/,
    ],
    [
      "an answer of several lines",
      [ferry, { prompt: "Who is there?", target: "Mara\nBo" }],
      /expected an answer that the base can say, got "Mara Bo" of several lines in line 4/,
    ],
    [
      "an answer that the tokenizer does not have",
      [ferry, { prompt: "How does it end?", target: "<end>" }],
      /expected an answer that the base can say, got "<end>", which its tokenizer reads back as "", in line 4/,
    ],
    ["a duplicate", [ferry, { ...ferry }], /got the same fact again in line 4 \(first in line 3\)/],
    [
      "a contradiction",
      [ferry, { prompt: "what stays in the harbour", target: "a gull" }],
      /expected one fact about "what stays.*got "a gull" after "the ferry" in line 4 \(first in line 3\)/,
    ],
  ])("%s", async (_, facts, message) => {
    const before = memory.memory.stats();
    await expect(memory.edit(facts, { nameOf })).rejects.toThrow(message);
    expect(memory.memory.stats()).toEqual(before);
    expect(memory.memory.verify()).toMatchObject({ facts: 1, equal: true });
  });

  test.each(["\u0001", "\u0007", "\u001b", "\u007f", "\u0085"])("control character %j", async (control) => {
    const code = control.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    const texts = {
      target: { prompt: "Who?", target: `Ma${control}ra` },
      prompt: { prompt: `Who${control} is it?`, target: "Mara" },
      rephrasing: { ...boats, rephrasings: [`Who${control} is it?`] },
    };
    for (const [name, fact] of Object.entries(texts)) {
      await expect(memory.edit([ferry, fact], { nameOf })).rejects.toThrow(
        new RegExp(
          `expected a ${name} without control characters, got ".* .*" with U\\+${code} in line 4; take it out`,
        ),
      );
    }
    expect(memory.ledger.counts().events).toBe(1);
  });

  test("an unknown id, with the nearest ones", async () => {
    const [{ id }] = memory.ledger.list();
    const wrong = `${id.slice(0, 6)}ffffff`;
    await expect(memory.forget(wrong)).rejects.toThrow(`nearest are ${id} (Who counts the boats? -> Mara)`);
    await expect(memory.forget("boats")).rejects.toThrow(`nearest are ${id}`);
  });

  test("more than fits with growth off", async () => {
    const small = await open("small", await create({ growth: false }));
    const facts = Array.from({ length: 9 }, (_, i) => ({ prompt: `What is in box ${i}?`, target: "salt" }));
    await expect(small.edit(facts, { receipt: false })).rejects.toThrow(/got 8 of 8 free and growth off/);
    expect(small.ledger.counts()).toMatchObject({ live: 0, events: 0 });
    await small.edit(facts.slice(1), { receipt: false });
    await expect(small.edit([facts[0]], { receipt: false })).rejects.toThrow(/got 0 of 8 free and growth off/);
    expect(small.memory.verify()).toMatchObject({ facts: 8, equal: true });
    await small.close();
  });

  test("an encoder that gives no numbers", async () => {
    const change = (name: string, data: Float32Array): void => {
      if (name.endsWith("pool.values.bias")) data.fill(Number.NaN);
    };
    const spoiled = await writeRandomModule(runtime, base, named("spoiled"), { change });
    const broken = await open("broken", await create({ module: spoiled }));
    await expect(broken.edit([boats], { receipt: false })).rejects.toThrow(
      /expected finite latents, got NaN for the fact/,
    );
    expect(broken.ledger.counts().events).toBe(0);
    await broken.close();
  });

  test("another module than the memory was written with, both named by their hashes", async () => {
    const other = await create({ module: await writeRandomModule(runtime, base, named("other"), { seed: 6 }) });
    const hashes = [describeMemory(named("refusing")).identity.module, other.facts?.identity.module ?? ""];
    const opened = expect(openFactMemory(named("refusing"), other)).rejects;
    await opened.toThrow(new RegExp(`module ${hashes[1].slice(0, 16)}.*of module ${hashes[0].slice(0, 16)}`));
  });

  test("a method that writes no facts, and an empty question", async () => {
    await expect(openFactMemory(named("none"), bare)).rejects.toThrow(/expected a method that writes facts/);
    expect(existsSync(named("none"))).toBe(false);
    await expect(memory.ask("  ")).rejects.toThrow(/ask: expected a question, got an empty text/);
  });
});

test("what is stopped before the write leaves nothing, after it only the receipt is missing", async () => {
  const memory = await open("stopped");
  /** Stops when this is being done. */
  const stoppedAt = (stage: EditStage): EditOptions => {
    const stop = new AbortController();
    return { signal: stop.signal, onProgress: (now) => now === stage && stop.abort() };
  };
  for (const stage of ["encoding", "measuring before"] as const) {
    await expect(memory.edit([boats], stoppedAt(stage))).rejects.toThrow();
    expect(memory.ledger.counts().events).toBe(0);
  }
  const [{ id, receipt }] = await memory.edit([boats], stoppedAt("measuring after"));
  expect(receipt).toBeNull();
  expect(memory.ledger.show(id)).toMatchObject({ status: "live", receipt: null });
  await memory.close();
});
