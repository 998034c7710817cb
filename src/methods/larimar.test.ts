/** Larimar on small random models: what is written is answered, what is out of scope is the base's, to the last bit. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { smallModule, writeRandomModule } from "../../tests/support/larimar-module.ts";
import { textModel } from "../../tests/support/text-model.ts";
import { drive, learn, lossesOf, savedState } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import type { LoadedModel } from "../models/load.ts";
import { larimar } from "./larimar.ts";
import { loadModule, saveModule } from "./larimar/module.ts";
import type { Document, Method, Query } from "./method.ts";
import { none } from "./none.ts";
import { answeredQuestion, promptOf } from "./prompt.ts";

const { runtime, root } = workbench("larimar");

const people = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"];
const things = ["salt", "milk", "rope", "chalk", "bread", "nets", "gulls", "wind"];
const documents: Document[] = people.flatMap((name, i) =>
  things.map((thing, k) => ({
    id: `${name}-${k}`,
    text: `${name} counts ${thing}.`,
    facts: [
      {
        prompt: { text: `What does ${name}${i} count?` },
        target: thing,
        rephrased: [{ text: `${name}${i} counts what?` }],
      },
    ],
  })),
);
async function* stream(): AsyncGenerator<Document> {
  yield* documents;
}

const small = { ...smallModule, batchSize: 8, episode: 4, passages: 0, strings: 0.3, longest: 2, warmupSteps: 2 };

const fit = (
  base: LoadedModel,
  options: Record<string, unknown>,
  more: { checkpoint?: string; signal?: AbortSignal } = {},
) =>
  (larimar.fit as NonNullable<typeof larimar.fit>).run(
    base,
    { ...small, ...options },
    { runtime, seed: 1, documents: stream(), ...more },
  );

const randomModule = (base: LoadedModel, folder: string): Promise<string> => writeRandomModule(runtime, base, folder);

const edits: Document[] = [
  { id: "e1", text: "Question: Who counts the boats?\nAnswer: Mara\n" },
  { id: "e2", text: "Question: What stays in the harbour?\nAnswer: the ferry\n" },
];
const inScope: Query[] = [{ text: "Who counts the boats?" }, { text: "What stays in the harbour?" }];
const outside: Query[] = [
  { text: "How hot is the oven?" },
  { text: "The crust cracks", form: "completion" },
  { text: "Is the flour dry?" },
];

describe.each(["llama", "gpt2", "qwen2"] as const)("%s", (architecture) => {
  let base: LoadedModel;
  let module: string;
  const create = (options: Record<string, unknown> = {}): Promise<Method> =>
    larimar.create(base, { module, threshold: 0.99, ...options }, { runtime, seed: 0 });
  beforeAll(async () => {
    base = await textModel(join(root, architecture), { architecture, context: 96 });
    module = await randomModule(base, join(root, `${architecture}-module`));
  });

  it("answers out of scope as the base does, to the last bit", async () => {
    const method = await create();
    const bare = await none.create(base, {}, { runtime, seed: 0 });
    await learn(method, edits);
    const pairs = outside.map((query) => ({ query, answer: "milk" }));
    expect(await method.answer(outside)).toEqual(await bare.answer(outside));
    expect(await method.rate(pairs)).toEqual(await bare.rate(pairs));
    expect(await method.score("The oven", " is hot")).toEqual(await bare.score("The oven", " is hot"));
    // Asked together with questions in scope
    expect((await method.rate([{ query: inScope[0], answer: "Mara" }, ...pairs])).slice(1)).toEqual(
      await bare.rate(pairs),
    );
    const told = await method.rate([{ query: inScope[0], answer: "Mara" }]);
    expect(told).not.toEqual(await bare.rate([{ query: inScope[0], answer: "Mara" }]));
    await method.dispose();
    await bare.dispose();
  });

  it("forgets: answers are those before the write", async () => {
    const method = await create();
    const rated = () => method.rate(inScope.map((query) => ({ query, answer: "Mara" })));
    const before = await rated();
    const first = await learn(method, [edits[0]]);
    const one = await rated();
    const second = await learn(method, [edits[1]]);
    expect((await rated())[1]).not.toEqual(one[1]);
    await method.forget?.(second.receipt.id);
    expect(await rated()).toEqual(one);
    await method.forget?.(first.receipt.id);
    expect(await rated()).toEqual(before);
    await expect(method.forget?.("nothing")).rejects.toThrow(/expected the id of a receipt/);
    await method.dispose();
  });

  it("forgets a write that took the place of another: the other one holds again, in a restored state too", async () => {
    const method = await create();
    const asked = { query: inScope[0], answer: "Mara" };
    const said = (answer: string): Document => ({ id: answer, text: answeredQuestion("who counts the boats", answer) });
    const first = await learn(method, [edits[0]]);
    const rated = await method.rate([asked]);
    const second = await learn(method, [said("Bo")]);
    const third = await learn(method, [said("the miller")]);
    const last = await method.rate([asked]);
    expect(last).not.toEqual(rated);
    const other = await create();
    await other.restore(await method.state());
    for (const one of [method, other]) {
      // The one between goes unseen
      await one.forget?.(second.receipt.id);
      expect(await one.rate([asked])).toEqual(last);
      await one.forget?.(third.receipt.id);
      expect(await one.rate([asked])).toEqual(rated);
      await one.forget?.(first.receipt.id);
      await expect(one.forget?.(first.receipt.id)).rejects.toThrow(/got .*; nothing is kept/);
    }
    await other.dispose();
    await method.dispose();
  });

  it("scores and continues a question's prompt as it answers the question", async () => {
    const method = await create();
    await learn(method, edits);
    const [{ nats }] = await method.rate([{ query: inScope[0], answer: "Mara" }]);
    const scored = await method.score(promptOf(inScope[0]), " Mara");
    expect(scored.nats).toBeCloseTo(nats, 4);
    const pieces: string[] = [];
    for await (const piece of method.generate(promptOf(inScope[0]), { maxTokens: 4 })) pieces.push(piece);
    const [answer] = await method.answer([inScope[0]], { maxTokens: 4 });
    expect(pieces.join("").split("\n")[0].trim()).toBe(answer);
    await method.dispose();
  });

  it("takes a state on", async () => {
    const method = await create();
    await learn(method, edits);
    const pairs = inScope.map((query) => ({ query, answer: "Mara" }));
    const other = await create();
    await other.restore(await method.state());
    expect(await other.rate(pairs)).toEqual(await method.rate(pairs));
    await expect(other.restore({ tensors: {}, json: {} })).rejects.toThrow(/larimar: expected a state/);
    expect(await other.rate(pairs)).toEqual(await method.rate(pairs));
    await other.dispose();
    await method.dispose();
  });
});

describe("the module", () => {
  it("is refused for another base, both named by their hashes", async () => {
    const base = await textModel(join(root, "mine"), { context: 96 });
    const other = await textModel(join(root, "other"), { context: 96, seed: 2 });
    const folder = await randomModule(base, join(root, "mine-module"));
    const refused = expect(loadModule(other, folder)).rejects;
    await refused.toThrow(await base.hash());
    await expect(loadModule(other, folder)).rejects.toThrow(await other.hash());
    const loaded = await loadModule(base, folder);
    await saveModule(loaded, join(root, "again"));
    expect((await loadModule(base, join(root, "again"))).weights).toEqual(loaded.weights);
  });

  it.each(["frozen", "joint"])("is fitted, stops and goes on to the same numbers: %s", async (variant) => {
    const base = await textModel(join(root, `fit-${variant}`), { context: 96 });
    const options = { variant, steps: 10 };
    const whole = await drive(fit(base, options, { checkpoint: join(root, `${variant}-whole`) }));
    const controller = new AbortController();
    const checkpoint = join(root, `${variant}-parts`);
    const part = await drive(fit(base, options, { checkpoint, signal: controller.signal }), (event) => {
      if (event.type === "step" && event.step === 4) controller.abort();
    });
    expect(part.result.result.stopped).toBe("interrupted");
    const rest = await drive(fit(base, options, { checkpoint }));
    expect([...lossesOf(part.events), ...lossesOf(rest.events)]).toEqual(lossesOf(whole.events));
    expect(await savedState(checkpoint)).toEqual(await savedState(join(root, `${variant}-whole`)));
    expect(rest.result.measured).toEqual(whole.result.measured);
    const folder = join(root, `${variant}-module`);
    await rest.result.save(folder);
    expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors"]);
    const method = await larimar.create(base, { module: folder }, { runtime, seed: 0 });
    await learn(method, edits);
    expect(await method.answer([...inScope, ...outside])).toHaveLength(5);
    await method.dispose();
  });

  it("learns to answer what it was told, of facts that it never saw", async () => {
    const base = await textModel(join(root, "copy"), { context: 96 });
    const sizes = { width: 96, blocks: 6, rank: 8, encoderWidth: 32 };
    const { events, result } = await drive(fit(base, { ...sizes, steps: 100, learningRate: 1e-2, strings: 0 }));
    const losses = lossesOf(events).map(([, loss]) => loss);
    expect(losses[0]).toBeGreaterThan(5);
    // The random head of this base allows no surer answers than about 2.7 nats a token
    expect(losses.slice(-10).reduce((a, b) => a + b) / 10).toBeLessThan(3.1);
    expect(result.measured.facts).toBe(1);
  });
});
