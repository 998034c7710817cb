/**
 * Learning while compressing, without a fit before (mbc-online): at each time step of a stream the documents are
 * quantised with the codebook as it stands, and then adapters θ and codebook C move by the step's gradient. What lies t
 * updates back weighs α^t: the gradient that moves them is a trace g_t + α g_(t-1) + ..., and so is the use of codes, of
 * which those that nothing chooses are put where the newest documents are. The rest of the module is the straight path of
 * the first step (start.ts). What is practised are the questions that a document brings, or the endings of its sentences.
 */
import { nearest } from "../../memory/codebook.ts";
import { replaceCodes, worstReconstructed } from "../../memory/codebook-reset.ts";
import { codebookFromData } from "../../memory/codebook-start.ts";
import { createCodebookUsage } from "../../memory/codebook-usage.ts";
import type { LoadedModel } from "../../models/load.ts";
import { clipScale, globalNorm } from "../../nn/clip.ts";
import { adamw } from "../../nn/optim.ts";
import { lazy } from "../../runtime/lazy.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor } from "../../tensor/dtype.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Document, StatedFact } from "../method.ts";
import { factsOf } from "../stated.ts";
import { chunksOf } from "./chunks.ts";
import { walk } from "./codebooks.ts";
import { createEpisodes } from "./episodes.ts";
import { adaptedModel, adaptersOf, type BankModule, codebookNames } from "./module.ts";
import { createFitObjective } from "./objective.ts";
import type { Reader } from "./reader.ts";
import { straighten } from "./start.ts";

export interface OnlineOptions {
  readonly runtime: Runtime;
  readonly base: LoadedModel;
  /** Its weights are changed in place. */
  readonly module: BankModule;
  /** Reads those weights as they are. */
  readonly reader: Reader;
  /** α: the weight of the past at each update. */
  readonly alpha: number;
  readonly learningRate: number;
  /** Updates at each time step. */
  readonly updates: number;
  /** Put unused codes elsewhere? */
  readonly reset: boolean;
  readonly seed: number;
}

export interface Online {
  /** Before a step's documents are quantised: at the first, the straight path and the codebooks come from them. */
  begin(documents: readonly Document[]): Promise<void>;
  /** One time step, after they were: the mean loss of its updates, nats per token. */
  learn(documents: readonly Document[]): Promise<{ loss: number; tokens: number }>;
  /** Time steps so far. */
  readonly steps: () => number;
  state(): { tensors: Record<string, HostTensor>; json: { steps: number; updates: number } };
  restore(tensors: Readonly<Record<string, HostTensor>>, json: { steps: number; updates: number }): void;
  dispose(): Promise<void>;
}

/** Documents of an episode, and questions to it. */
const [TOGETHER, QUESTIONS] = [4, 8];
/** Rounds of k-means at the first step. */
const ROUNDS = 6;

/** The endings of sentences, where a document brings no questions. */
function endings({ text }: Document): StatedFact[] {
  return text
    .split(/(?<=[.!?])\s+|\n+/u)
    .map((sentence) => sentence.trim().split(/\s+/))
    .filter(({ length }) => length >= 4)
    .map((words) => {
      const half = Math.floor(words.length / 2);
      return {
        prompt: { text: words.slice(0, half).join(" "), form: "completion" },
        target: words.slice(half).join(" "),
      };
    });
}

const practised = (document: Document): Document => {
  const facts = factsOf(document);
  return { ...document, facts: facts.length > 0 ? facts : endings(document) };
};

export async function createOnline(options: OnlineOptions): Promise<Online> {
  const { runtime, base, module, reader, alpha, learningRate, reset, seed } = options;
  const { config, weights } = module;
  const { shape, codes, depth } = config;
  const trained = Object.keys(weights).filter(
    (name) => /\.lora_[AB]\./.test(name) || Object.values<string>(codebookNames).includes(name),
  );
  const arrays = Object.fromEntries(trained.map((name) => [name, weights[name].data as Float32Array]));
  const optimizer = adamw({ b1: alpha, weightDecay: 0 });
  const moments = optimizer.init(arrays);
  /** The r-th codebook of a tensor, and where its numbers begin there. */
  const bookOf = (name: string, width: number, r = 0) => {
    const at = r * codes * width;
    const usage = createCodebookUsage({ codes, decay: alpha });
    return { name, width, at, codes: arrays[name].subarray(at, at + codes * width), usage };
  };
  const single = bookOf(codebookNames.single, shape.width);
  const residual = Array.from({ length: depth }, (_, r) =>
    bookOf(codebookNames.residual, shape.width / shape.places, r),
  );
  const books = { single, residual, nearest };
  const usages = [single, ...residual].map(({ usage }) => usage);
  let steps = 0;
  let updates = 0;
  const objective = lazy(() =>
    createFitObjective({
      runtime,
      definition: base.definition,
      config: base.config,
      geometry: base.geometry,
      shape,
      encoder: module.encoder,
      weights: adaptedModel(base, module).weights,
      trainable: trained,
      modification: adaptersOf(config),
      groups: 1,
      perGroup: TOGETHER,
      questions: QUESTIONS,
      quantizationLoss: 1,
      commitment: 0,
      seed,
    }),
  );

  /** What is practised of a document: of one read in chunks, which its questions do not name, the sentences of each. */
  const readable = (document: Document): Document[] => {
    const chunks = chunksOf(module.encoder, document.text);
    if (chunks.length < 2) return [practised(document)];
    return chunks.map(({ text, told }) => ({ ...document, text: told, facts: endings({ ...document, text }) }));
  };

  const episodesOf = (documents: readonly Document[]) => {
    const own = documents.flatMap(readable).filter(({ facts }) => (facts ?? []).length > 0);
    if (own.length === 0) return undefined;
    // A step of few documents practises them several times
    const filled = Array.from({ length: Math.max(own.length, TOGETHER) }, (_, i) => own[i % own.length]);
    return createEpisodes({
      tokenizer: base.tokenizer,
      encoder: module.encoder,
      documents: filled,
      depth,
      groups: 1,
      perGroup: TOGETHER,
      questions: QUESTIONS,
      retrieved: 1,
      mostRetrieved: TOGETHER,
      bias: 8,
      unanswerable: 0,
      precisions: { full: 0, residual: 1, single: 0 },
      quantizedFrom: 0,
      seed: seed + steps,
    });
  };

  /** The beginnings of documents, as far as the encoder reads them at once. */
  const textsOf = (documents: readonly Document[]): number[][] =>
    documents
      .map(({ text }) => module.encoder.documentIds(text).slice(0, module.encoder.context))
      .filter(({ length }) => length > 0);
  const slotsOf = (documents: readonly Document[]): Promise<Float32Array> => reader.slots(textsOf(documents));

  return {
    steps: () => steps,
    async begin(documents) {
      if (steps > 0) return;
      await straighten(runtime, base, weights, shape, textsOf(documents), seed);
      const random = randomStream(seed, "online codebooks");
      await walk(books, await slotsOf(documents), ({ codes: book, width }, vectors) => {
        book.set(codebookFromData(vectors, { codes, width, random, rounds: ROUNDS }));
      });
    },
    async learn(documents) {
      const episodes = episodesOf(documents);
      let [loss, tokens] = [0, 0];
      const program = await objective.get();
      for (let update = 0; episodes && update < options.updates; update++) {
        const batch = episodes.batchAt(update);
        program.clear();
        loss += (await program.accumulate(batch, batch.targetCount, updates)) / options.updates;
        const scale = clipScale(globalNorm(program.gradients), 1);
        optimizer.step(arrays, program.gradients, moments, learningRate, scale);
        tokens += batch.targetCount;
        updates++;
      }
      const random = randomStream(seed, "online reset", steps);
      await walk(books, await slotsOf(documents), ({ name, width, at, codes: book, usage }, vectors) => {
        usage.update(nearest(vectors, book, width).indices);
        const dead = reset ? usage.dead() : [];
        if (dead.length === 0) return;
        const rows = worstReconstructed(vectors, book, dead.length, { width, random });
        const placed = replaceCodes(book, dead, rows, width);
        usage.revive(placed);
        for (const code of placed) {
          for (const moment of ["exp_avg", "exp_avg_sq"])
            moments.tensors[`${name}.${moment}`].fill(0, at + code * width, at + (code + 1) * width);
        }
      });
      steps++;
      return { loss, tokens };
    },
    state() {
      const tensors: Record<string, HostTensor> = {};
      for (const [name, { shape: own, data }] of Object.entries(weights))
        tensors[`module/${name}`] = float32Host(own, Float32Array.from(data));
      for (const [name, data] of Object.entries(moments.tensors))
        tensors[`moment/${name}`] = float32Host([data.length], Float32Array.from(data));
      for (const [i, usage] of usages.entries()) tensors[`usage/${i}`] = usage.state().tensors.shares;
      return { tensors, json: { steps, updates } };
    },
    restore(tensors, json) {
      for (const [name, { data }] of Object.entries(weights))
        (data as Float32Array).set(tensors[`module/${name}`].data as Float32Array);
      for (const [name, data] of Object.entries(moments.tensors))
        data.set(tensors[`moment/${name}`].data as Float32Array);
      for (const [i, usage] of usages.entries())
        usage.restore({ tensors: { shares: tensors[`usage/${i}`] }, json: { codes } });
      ({ steps, updates } = json);
      moments.step = updates;
    },
    async dispose() {
      await objective.made()?.then((made) => made.dispose());
    },
  };
}
