/**
 * The loss of a fit against the way that a bank is asked: slots, codes, aggregation, conditions, scores of the answers'
 * texts, one question after another. Its gradients against finite differences.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stirred, tinyBank, tinyModule } from "../../../tests/support/bank-module.ts";
import { textModel, type TextModelOptions } from "../../../tests/support/text-model.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { createQuantizer } from "../../memory/quantizers.ts";
import type { LoadedModel } from "../../models/load.ts";
import type { Document } from "../method.ts";
import { askedIn, promptOf } from "../prompt.ts";
import { promptIdsOf } from "../stated.ts";
import { ownEncoder } from "./encoder.ts";
import { createEpisodes, type Precision } from "./episodes.ts";
import { modes } from "./modes.ts";
import { adaptedModel, adaptersOf, type BankModule } from "./module.ts";
import { createFitObjective, type EpisodeBatch, type FitObjectiveOptions } from "./objective.ts";
import { createReader, type Reader } from "./reader.ts";

const { runtime, root } = workbench("bank-objective");

const documents: Document[] = [
  ["Ada", "gulls"],
  ["Bo", "boats of tin"],
  ["Cy", "red nets"],
  ["Dinah", "loaves"],
  ["Edmund", "keys"],
].map(([name, what]) => ({
  id: name,
  text: `${name} counts ${what}.`,
  facts: [{ prompt: { text: `What does ${name} count?` }, target: what }],
}));

/** G, K, Q. */
const [GROUPS, PER_GROUP, QUESTIONS] = [2, 3, 2];
const [LAMBDA, BETA] = [0.5, 0.25];

async function workshop(architecture: TextModelOptions["architecture"]) {
  const options = { architecture, context: 96, width: 16, layers: 2 };
  const base = await textModel(join(root, architecture ?? "llama"), options);
  const module = await tinyModule(base);
  stirred(module.weights, 5);
  return { base, module };
}

const fitOf = (
  { base, module }: { base: LoadedModel; module: BankModule },
  options: Partial<FitObjectiveOptions> = {},
) =>
  createFitObjective({
    runtime,
    definition: base.definition,
    config: base.config,
    geometry: base.geometry,
    shape: tinyBank,
    encoder: module.encoder,
    weights: adaptedModel(base, module).weights,
    trainable: Object.keys(module.weights),
    modification: adaptersOf(module.config),
    groups: GROUPS,
    perGroup: PER_GROUP,
    questions: QUESTIONS,
    quantizationLoss: LAMBDA,
    commitment: BETA,
    seed: 1,
    ...options,
  });

const episodesOf = (base: LoadedModel, precision: Precision, quantizedFrom: number) =>
  createEpisodes({
    tokenizer: base.tokenizer,
    encoder: ownEncoder(base, tinyBank),
    documents,
    depth: 3,
    groups: GROUPS,
    perGroup: PER_GROUP,
    questions: QUESTIONS,
    retrieved: 0.5,
    mostRetrieved: 2,
    bias: 2,
    unanswerable: 0.2,
    precisions: { full: 0, residual: 0, single: 0, [precision]: 1 },
    quantizedFrom,
    seed: 3,
  });

/** Weights whose gradients are looked at: some of every network. */
const SLOPES =
  /patch\.weight|bank\.read\.|layers\.0\.attention\.query|cross\.value|\.prompts|question\.output|bank\.slots\.up|asking|asked|blocks\.1\.mlp\.down|expand\.weight|layers\.0\..*lora_/;

const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
const rowOf = <A extends Float32Array | Int32Array>(x: A, at: number, size: number): A =>
  x.slice(at * size, (at + 1) * size) as A;

/** The same loss as questions would meet it. */
async function asked(
  { tokenizer }: LoadedModel,
  module: BankModule,
  reader: Reader,
  batch: EpisodeBatch,
  precision: Precision,
  learnsCodes: boolean,
): Promise<number> {
  const { documents: N, read: U, scored: A } = batch.lengths;
  const texts = Array.from({ length: GROUPS * PER_GROUP }, (_, n) => [
    ...rowOf(batch.documentIds, n, N).subarray(0, sum(rowOf(batch.documentMask, n, N))),
  ]);
  const slots = await reader.slots(texts);
  const depth = sum(batch.depths);
  const residual = (books: number) => createQuantizer(modes["mbc-residual"].codebook(module, books));
  const single = createQuantizer(modes.mbc.codebook(module, 1));
  const quantizer = { full: undefined, residual: residual(depth), single }[precision];
  const stored = quantizer ? quantizer.decode(quantizer.encode(slots).indices) : slots;
  let nats = 0;
  let tokens = 0;
  for (let b = 0; b < GROUPS * QUESTIONS; b++) {
    const prompt = rowOf(batch.ids, b, U).subarray(0, batch.places[b * A] + 1);
    const answer = rowOf(batch.targets, b, A).subarray(0, sum(rowOf(batch.weights, b, A)));
    const query = askedIn(tokenizer.decode([...prompt], { skipSpecialTokens: true }));
    const { latents } = await reader.aggregate(
      await reader.questions([promptIdsOf(tokenizer, query)]),
      rowOf(stored, Math.floor(b / QUESTIONS), stored.length / GROUPS),
      rowOf(batch.bias, b, PER_GROUP),
    );
    const [condition] = await reader.conditions(latents);
    const score = await reader.face.score(promptOf(query, [""]), tokenizer.decode([...answer]), condition);
    nats += score.nats;
    tokens += score.tokens;
  }
  expect(tokens).toBe(batch.targetCount);
  const [once, ...depths] = [single, ...[1, 2, 3].map(residual)].map(
    (each) => sum(each.encode(slots).errors) / slots.length,
  );
  const drawn = BETA * depths[2];
  const learned = learnsCodes ? sum(depths) / 3 + once : 0;
  return nats / tokens + batch.quantizes * LAMBDA * (drawn + learned);
}

describe("the loss", () => {
  it.each([
    ["llama", 1, true],
    ["llama", 2, false],
    ["gpt2", 1, true],
  ] as const)(
    "is what the questions meet when a bank is asked: %s, %i workers, codes by gradient: %s",
    async (...row) => {
      const [architecture, workers, learnsCodes] = row;
      const { base, module } = await workshop(architecture);
      const objective = await fitOf({ base, module }, { workers, trainable: ["bank.patch.weight"], learnsCodes });
      const reader = createReader({ runtime, base, module });
      for (const [precision, from, depth] of [
        ["full", 99, 0],
        ["full", 0, 0],
        ["residual", 0, 2],
        ["single", 0, 0],
      ] as const) {
        const episodes = episodesOf(base, precision, from);
        let step = 0;
        while (depth > 0 && sum(episodes.batchAt(step).depths) !== depth) step++;
        const batch = episodes.batchAt(step);
        objective.clear();
        const got = await objective.accumulate(batch, batch.targetCount, step);
        const want = await asked(base, module, reader, batch, precision, learnsCodes);
        expect(Math.abs(got - want), `${precision} ${depth}: ${got} for ${want}`).toBeLessThan(1e-4);
      }
      await objective.dispose();
      await reader.dispose();
    },
  );

  it("has the gradients of finite differences", async () => {
    const { base, module } = await workshop("llama");
    const objective = await fitOf({ base, module });
    // Without codes, through which gradients pass as if nothing had happened
    const batch = episodesOf(base, "full", 99).batchAt(0);
    const loss = async (): Promise<number> => {
      objective.clear();
      return objective.accumulate(batch, batch.targetCount, 0);
    };
    await loss();
    const felt: string[] = [];
    const trainable = Object.keys(module.weights).filter((name) => !name.includes("codebook"));
    const gradients = Object.fromEntries(trainable.map((name) => [name, objective.gradients[name].slice()]));
    for (const name of trainable) {
      const data = module.weights[name].data as Float32Array;
      const own = gradients[name];
      // Along the gradient itself the loss changes most, so that float32 can tell
      const length = Math.hypot(...own);
      if (length > 0) felt.push(name);
      if (!SLOPES.test(name)) continue;
      const kept = data.slice();
      const step = 0.01 / Math.max(1, length);
      const at = async (sign: number): Promise<number> => {
        for (let i = 0; i < data.length; i++) data[i] = kept[i] + (sign * step * own[i]) / length;
        return loss();
      };
      const slope = ((await at(1)) - (await at(-1))) / (2 * step);
      data.set(kept);
      expect(Math.abs(slope - length), `${name}: ${slope} for ${length}`).toBeLessThan(0.02 * length + 4e-4);
    }
    expect(trainable.filter((name) => !felt.includes(name))).toEqual([]);
    await objective.dispose();
  });

  it("passes no gradients through documents that are not kept, and is no other for it", async () => {
    const { base, module } = await workshop("llama");
    const trainable = Object.keys(module.weights).filter((name) => /\.(patch|document)\./.test(name));
    expect(trainable.length).toBeGreaterThan(3);
    const all = await fitOf({ base, module }, { trainable });
    const first = await fitOf({ base, module }, { trainable, kept: 1 });
    const drawn = episodesOf(base, "full", 99).batchAt(0);
    const only = (document: number): EpisodeBatch => ({
      ...drawn,
      bias: drawn.bias.map((_, at) => (at % PER_GROUP === document ? 0 : -1e9)),
    });
    for (const document of [0, 1, 2]) {
      const batch = only(document);
      const losses: number[] = [];
      for (const objective of [all, first]) {
        objective.clear();
        losses.push(await objective.accumulate(batch, batch.targetCount, 0));
      }
      expect(losses[1]).toBeCloseTo(losses[0], 5);
      for (const name of trainable) {
        const [whole, kept] = [all.gradients[name], first.gradients[name]];
        expect(
          whole.some((value) => value !== 0),
          name,
        ).toBe(true);
        if (document === 0) for (const [i, value] of kept.entries()) expect(value).toBeCloseTo(whole[i], 5);
        else
          expect(
            kept.some((value) => value !== 0),
            name,
          ).toBe(false);
      }
    }
    await all.dispose();
    await first.dispose();
  });
});
