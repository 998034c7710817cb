/**
 * A whole edit, encoder, ledger and all but without a receipt, against training the same into weights. On the embedded
 * base: against full fine-tuning until it answers right as well. On a model of GPT-2 small's shape with random weights, where
 * nothing can be right: against 25 steps of full fine-tuning, and of LoRA. Steps of training are timed from the end of
 * the first one, so that compiling does not count; an edit is timed after one that does not count.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exactMatch } from "../eval/questions.ts";
import { answerRoom } from "../eval/tasks/world/stream.ts";
import { type WrittenFact, writtenFacts } from "../eval/tasks/world/written.ts";
import { finetune } from "../methods/finetune.ts";
import { moduleSchema, saveModule } from "../methods/larimar/module.ts";
import { latentRule, latentShapes } from "../methods/larimar/nets.ts";
import { larimar } from "../methods/larimar.ts";
import { freshAdapters, lora, targetPaths } from "../methods/lora.ts";
import type { Method } from "../methods/method.ts";
import { gpt2 } from "../models/gpt2.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { gpt2Rule, initialize } from "../nn/init.ts";
import { type FactMemory, openFactMemory } from "../runs/fact-memory.ts";
import type { FactText } from "../runs/ledger-fact.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { smallConfig } from "./gpt.ts";
import { absent, type Measure, memoryShort, ofModule, settle, timed } from "./measure.ts";
import { median, spread } from "./stats.ts";

/** A world for nothing else. */
const WORLD = 980;
/** Facts that the memory holds meanwhile: half of its slots. */
const HELD = 256;
const MOST_STEPS = 100;
const STEPS = 25;
/** Weights, gradients, two moments and the runtime's copies of 124 million numbers. */
const NEEDED = 8e9;

const facts = (count: number): WrittenFact[] =>
  writtenFacts({ world: WORLD, count, statements: 0, rephrasings: 0 }).facts;

const textOf = ({ document: { facts: [stated] = [] } }: WrittenFact): FactText => ({
  prompt: stated.prompt.text,
  target: stated.target,
});

/** Milliseconds of one edit, which is taken back. */
async function editMs(memory: FactMemory, fact: WrittenFact): Promise<number> {
  let id = "";
  const ms = await timed(async () => {
    [{ id }] = await memory.edit([textOf(fact)], { receipt: false });
  });
  await memory.forget(id);
  return ms;
}

/** Milliseconds that a receipt takes of an edit, which is taken back after `look`. */
async function receiptMs(memory: FactMemory, fact: WrittenFact, look = async () => {}): Promise<number> {
  const [{ id, receipt }] = await memory.edit([textOf(fact)]);
  await look();
  await memory.forget(id);
  return 1000 * (receipt?.seconds?.measure ?? Number.NaN);
}

interface Training {
  readonly steps: number;
  readonly ms: number;
}

/** Intervals between steps that a figure takes at least. */
const LEAST_TIMED = 4;

/** Trains on one fact, up to all steps or until `isDone`; steps are timed, `isDone` is not. Then all is as it was. */
async function trainingOf(
  method: Method,
  { document }: WrittenFact,
  isDone: () => Promise<boolean> = async () => false,
): Promise<Training> {
  const before = await method.state();
  const intervals: number[] = [];
  let [taken, needed] = [0, 0];
  let from: number | undefined;
  for await (const event of method.observe([document])) {
    if (event.type !== "step") continue;
    if (from !== undefined) intervals.push(performance.now() - from);
    taken++;
    if (needed === 0 && (await isDone())) needed = taken;
    if (needed > 0 && intervals.length >= LEAST_TIMED) break;
    from = performance.now();
  }
  await method.restore(before);
  const steps = needed || taken;
  return { steps, ms: steps * median(intervals) };
}

/** `value`: how many times faster an edit is than fine-tuning until the answer is as right. */
export const editSpeedup: Measure = ofModule("mneme-larimar", async (folder, { quick, model, log, signal }) => {
  const base = await loadModel(model);
  const runtime = createRuntime();
  const count = quick ? 2 : 9;
  const all = facts(HELD + count);
  const [held, edited] = [all.slice(0, HELD), all.slice(HELD)];
  const trained = await finetune.create(
    base,
    { epochs: MOST_STEPS, batchSize: 1, schedule: "constant" },
    { runtime, seed: 0 },
  );
  const method = await larimar.create(base, { module: folder }, { runtime, seed: 0 });
  const place = await mkdtemp(join(tmpdir(), "mneme-bench-"));
  const isRight = async (method: Method, { given }: WrittenFact): Promise<boolean> => {
    const [said] = await method.answer([given.query], { maxTokens: answerRoom });
    return exactMatch(said, given.answers) === 1;
  };
  try {
    const memory = await openFactMemory(join(place, "memory"), method);
    await memory.edit(held.map(textOf), { receipt: false });
    // Compiles what either takes
    await receiptMs(memory, edited[0]);
    await editMs(memory, edited[0]);
    const [edits, receipts, trainings, stepCounts]: number[][] = [[], [], [], []];
    let right = 0;
    for (const fact of edited) {
      signal?.throwIfAborted();
      await settle();
      edits.push(await editMs(memory, fact));
      const look = async () => void (right += (await isRight(method, fact)) ? 1 : 0);
      receipts.push(await receiptMs(memory, fact, look));
      await settle();
      const { steps, ms } = await trainingOf(trained, fact, () => isRight(trained, fact));
      trainings.push(ms);
      stepCounts.push(steps);
      log(`editSpeedup: ${edits.length} of ${edited.length} facts, ${steps} steps`);
    }
    await memory.close();
    return {
      value: median(trainings) / median(edits),
      facts: edited.length,
      right,
      held: HELD,
      editMs: spread(edits),
      receiptMs: spread(receipts),
      finetuneMs: spread(trainings),
      finetuneSteps: spread(stepCounts),
    };
  } finally {
    await method.dispose();
    await trained.dispose();
    await runtime.dispose();
    await rm(place, { recursive: true, force: true });
  }
});

/** GPT-2 small's shape with random weights; it reads with the embedded base's tokenizer. */
async function randomSmall(model: string): Promise<LoadedModel> {
  const { tokenizer, eosIds } = await loadModel(model);
  return {
    definition: gpt2,
    config: smallConfig,
    geometry: gpt2.geometry(smallConfig),
    weights: initialize(gpt2.shapes(smallConfig), gpt2Rule({ layers: smallConfig.n_layer }), 0),
    folder: "gpt2-small-random",
    eosIds,
    tokenizer,
    hash: async () => "random",
  };
}

/** A module of the usual sizes, of random numbers. */
async function randomModule(base: LoadedModel, folder: string): Promise<void> {
  const config = moduleSchema.parse({
    model_type: "mneme-larimar",
    base: { name: base.folder, sha256: await base.hash() },
    variant: "frozen",
    slots: 512,
    rank: 16,
    alpha: 32,
    latent: {
      width: 768,
      blocks: 16,
      encoderWidth: 256,
      encoderLayers: 2,
      encoderHeads: 4,
      encoderInner: 512,
      encoderContext: 96,
    },
  });
  const networks = initialize(latentShapes(config.latent, base.geometry), latentRule(config.latent, 0.02), 0);
  const adapters = freshAdapters(base, targetPaths(base, []), config.rank, 0);
  await saveModule({ config, weights: { ...networks, ...adapters } }, folder);
}

/** `value`: 25 steps of full fine-tuning over an edit; `lora`: the same with LoRA. */
export const smallEditSpeedup: Measure = async ({ quick, model, log, signal }) => {
  const short = memoryShort(NEEDED);
  if (short) return absent(short);
  const rounds = quick ? 1 : 5;
  const runtime = createRuntime();
  const base = await randomSmall(model);
  const folder = await mkdtemp(join(tmpdir(), "mneme-bench-"));
  const [first, ...others] = facts(rounds + 1);
  const made: Method[] = [];
  try {
    await randomModule(base, folder);
    const options = { epochs: quick ? 5 : STEPS, batchSize: 1 };
    const method = await larimar.create(base, { module: folder }, { runtime, seed: 0 });
    made.push(method);
    const memory = await openFactMemory(join(folder, "memory"), method);
    await editMs(memory, first);
    const edits: number[] = [];
    const times: Record<"finetune" | "lora", number[]> = { finetune: [], lora: [] };
    for (const definition of [lora, finetune]) {
      const trained = await definition.create(base, options, { runtime, seed: 0 });
      made.push(trained);
      for (const fact of others) {
        signal?.throwIfAborted();
        await settle();
        edits.push(await editMs(memory, fact));
        await settle();
        const { steps, ms } = await trainingOf(trained, fact);
        times[definition.name as keyof typeof times].push((STEPS * ms) / steps);
        log(`smallEditSpeedup: ${definition.name}, ${ms.toFixed(0)} ms for ${steps} steps`);
      }
    }
    await memory.close();
    const edit = spread(edits);
    const [full, low] = [spread(times.finetune), spread(times.lora)];
    return {
      value: full.median / edit.median,
      lora: low.median / edit.median,
      steps: STEPS,
      editMs: edit,
      finetuneMs: full,
      loraMs: low,
    };
  } finally {
    for (const method of made) await method.dispose();
    await runtime.dispose();
    await rm(folder, { recursive: true, force: true });
  }
};
