/**
 * Sparse memory finetuning ("Continual Learning via Sparse Memory Finetuning", https://arxiv.org/abs/2510.15103): of a
 * model with a memory layer only the t slots are trained that a batch reads much and ordinary text little. All other
 * numbers stay as they are, bit for bit, and every write says which slots it changed.
 *
 * We differ. The slots are chosen from the gradient's rows, after the pass, and not by a mask in it: the same step. Every
 * write can be taken out again as long as no later one shares a slot with it; under later ones, by learning those again.
 */
import { z } from "zod";
import { sha256File } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import type { MemoryState } from "../memory/packed.ts";
import { underPrefix, withPrefix } from "../memory/packed.ts";
import { createRowWrites, type RowWrites, slotsIn } from "../memory/row-writes.ts";
import { fitsGraph } from "../models/instance.ts";
import type { LoadedModel } from "../models/load.ts";
import { rowAdam, rowAdamw, type RowOptimizer, rowSgd } from "../nn/sparse-optim.ts";
import { float32Host, int32Host } from "../tensor/dtype.ts";
import { batchOf } from "./batches.ts";
import { defineMethod } from "./definition.ts";
import { type EncodedFact, type EncodeOptions, type FactReading, identityOf } from "./fact-face.ts";
import { flopsOfBatches } from "./flops.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import { askedBare, languageFace } from "./language.ts";
import type { Document, Method, MethodEvent, ObserveOptions, Query, StatedFact } from "./method.ts";
import { saveModel } from "./save-model.ts";
import { countBackground, loadBackground, saveBackground } from "./sparse/background.ts";
import { sparseMemoryFit } from "./sparse/fit.ts";
import { createLearner, type Learned } from "./sparse/learner.ts";
import { type Lesson, lessonsOfFact, lessonsOf } from "./sparse/lessons.ts";
import { endOf, memoryOf } from "./sparse/model.ts";
import { createPasses } from "./sparse/passes.ts";
import { type Background, rankings } from "./sparse/ranking.ts";
import { promptIdsOf } from "./stated.ts";

const options = z.object({
  top: z.int().positive().default(100).describe("t: slots that a step changes, at most"),
  ranking: z.enum(rankings).default("tf-idf").describe("which slots of those read are changed"),
  background: z
    .string()
    .min(1)
    .default("model")
    .describe("what ordinary text reads: `model` (beside it), `stream` (what is learned itself), or a folder"),
  learningRate: z.number().positive().default(2).describe("of every step"),
  optimizer: z.enum(["sgd", "adam", "adamw"]).default("sgd").describe("update rule"),
  weightDecay: z.number().nonnegative().default(0.1).describe("decoupled weight decay of changed rows (adamw)"),
  clipNorm: z.number().nonnegative().default(0).describe("largest gradient norm of a step; 0 for none"),
  repeats: z.int().positive().default(1).describe("steps on each fact or chunk"),
  batchSize: z.int().positive().default(64).describe("wordings per step, at most"),
  contextLength: z.int().min(8).default(64).describe("tokens of a row; a longer wording is several"),
  loss: z.enum(["full", "answer"]).default("full").describe("learn whole wordings, or the answers in them alone"),
  keep: z.int().positive().default(64).describe("latest writes that can be forgotten"),
  replay: z.boolean().default(false).describe("forget a write under later ones by learning those again"),
});
type Options = z.output<typeof options>;

const optimizers: { readonly [K in Options["optimizer"]]: (options: Options) => RowOptimizer } = {
  sgd: () => rowSgd(),
  adam: () => rowAdam(),
  adamw: ({ weightDecay }) => rowAdamw({ weightDecay }),
};

/** Far more than any write has: the ledger's own limit is for facts of a few words. */
const MOST_BYTES = 1 << 28;

/** A write of an observation. */
interface Observed {
  readonly receipt: string;
  /** Its number. */
  readonly write: number;
  /** To learn it again. */
  readonly documents: readonly Document[];
}

const documentSchema = z.object({
  id: z.string(),
  text: z.string(),
  topic: z.string().optional(),
  time: z.number().optional(),
  restated: z.array(z.string()).optional(),
  facts: z.array(z.unknown()).optional(),
});
const stateSchema = z.object({
  writes: z.int().min(0),
  next: z.int().min(1),
  batches: z.int().min(0),
  optimizerStep: z.int().min(0),
  observed: z.array(z.object({ receipt: z.string(), write: z.int(), documents: z.array(documentSchema) })),
  rows: z.record(z.string(), z.unknown()),
});

const sizesSchema = z.object({ slots: z.coerce.number(), width: z.coerce.number() });

/** The background that the options name; an empty one where there is none to look at. */
async function backgroundOf(base: LoadedModel, slots: number, { ranking, background }: Options): Promise<Background> {
  const looks = ranking === "tf-idf" || ranking === "kl";
  if (!looks || background === "stream") return { batches: 0, frequencies: new Int32Array(slots) };
  return loadBackground(background === "model" ? base.folder : background, slots, await base.hash());
}

/** The table of a base with the rows of a method's state. */
function taughtTable(base: LoadedModel, rows: MemoryState): Float32Array {
  const { table, slots, width } = memoryOf(base);
  const taught = base.weights[table].data.slice();
  createRowWrites({ slots, width, put: (slot, row) => row && taught.set(row, slot * width) }).restore(rows);
  return taught;
}

export const sparseMemory = defineMethod({
  name: "sparse-memory",
  summary: "train only the memory slots that the new text reads and ordinary text does not",
  paper: "https://arxiv.org/abs/2510.15103",
  options,
  fit: sparseMemoryFit,
  facts: {
    kept: [],
    named: ["background"],
    reading: [
      "top",
      "ranking",
      "learningRate",
      "optimizer",
      "weightDecay",
      "clipNorm",
      "repeats",
      "batchSize",
      "contextLength",
      "loss",
    ],
    texts: true,
    store(identity) {
      const sizes = sizesSchema.safeParse(identity);
      if (sizes.success) return createRowWrites(sizes.data);
      throw new UserError(
        "sparse-memory: expected a memory that says its slots, got another; name one of sparse-memory",
      );
    },
    slots: (key) => [...slotsIn(key)],
  },
  async create(base, given, { runtime, seed }) {
    const { tokenizer, eosIds, geometry } = base;
    const { table, slots, width } = memoryOf(base);
    const own = base.weights[table].data;
    const data = own.slice();
    const weights = { ...base.weights, [table]: float32Host([slots, width], data) };
    const model = { ...base, weights };
    const passes = createPasses(runtime, model, table);
    const face = languageFace({ runtime, model, tokenizer, eosIds });
    const bare = languageFace({ runtime, model: base, tokenizer, eosIds, frozen: fitsGraph(base) });
    const store: RowWrites = createRowWrites({
      slots,
      width,
      put: (slot, row) => data.set(row ?? own.subarray(slot * width, (slot + 1) * width), slot * width),
    });
    const optimizer = optimizers[given.optimizer](given);
    const learner = createLearner({ ...given, passes, table: data, width, optimizer });
    const background = countBackground(slots, await backgroundOf(base, slots, given));
    const isStream = given.background === "stream";
    const eosId = endOf(base);
    const contextLength = Math.min(given.contextLength, geometry.context);
    const lessonOptions = { ...given, contextLength, tokenizer, eosId };
    const flopsAt = flopsOfBatches({ ...base, trainable: {} });
    let observed: Observed[] = [];
    let next = 1;
    let writes = 0;

    /** Lets a background that is counted from what is learned see it, before it is learned. */
    const countOwn = async (lessons: readonly Lesson[]): Promise<void> => {
      for (const { batchAt } of isStream ? lessons : []) {
        const { ids, present, rows } = batchAt(0);
        background.add(await passes.read(ids, present, rows));
      }
    };

    const lessonsOfAll = (documents: readonly Document[]): Lesson[] =>
      documents.flatMap((document) => lessonsOf(document, lessonOptions));

    /** Learns documents as one write, which is then in. */
    async function* learn(
      documents: readonly Document[],
      receipt: string,
      { signal, again = false }: { signal?: AbortSignal; again?: boolean } = {},
    ): AsyncGenerator<MethodEvent, Learned & { flops: number }> {
      const lessons = lessonsOfAll(documents);
      for (const { document, repeated } of lessons) {
        if (repeated)
          yield { type: "note", message: `${document}: all its wordings are the same; give different ones, or one` };
      }
      if (!again) await countOwn(lessons);
      let flops = 0;
      const onBatch = (batch: { ids: Int32Array; rows: number }): unknown => (flops += flopsAt(batch, batch.rows));
      const learned = yield* learner.learn(lessons, { background, seed: seed + next, signal, onBatch });
      if (learned.done) {
        store.apply([{ fact: next, ...store.pack(learned.write) }]);
        observed.push({ receipt, write: next, documents: given.replay ? documents : [] });
        next++;
      }
      return { ...learned, flops };
    }

    async function* observe(
      documents: readonly Document[],
      { signal }: ObserveOptions = {},
    ): AsyncGenerator<MethodEvent> {
      const started = performance.now();
      const id = receiptId("sparse-memory", hashOf([writes, seed, given, contentsOf(documents)]));
      const learned = yield* learn(documents, id, { signal });
      if (learned.done) {
        writes++;
        observed = observed.slice(-given.keep);
        store.settle(given.keep);
      }
      yield {
        type: "receipt",
        receipt: {
          id,
          documents: documents.map((document) => document.id),
          steps: learned.steps,
          tokens: learned.tokens,
          seconds: (performance.now() - started) / 1000,
          finalLoss: learned.loss,
          stopped: learned.done ? "done" : "interrupted",
          flops: learned.flops,
          slots: learned.done ? [...learned.write.slots] : [],
        },
      };
    }

    /** Takes the write out; where later ones share a slot with it, learns those again. */
    const forget = async (id: string): Promise<void> => {
      const found = observed.find(({ receipt }) => receipt === id);
      if (!found) {
        const last = observed.at(-1)?.receipt;
        throw new UserError(
          `sparse-memory: expected the id of one of the last ${given.keep} receipts to forget, got ${JSON.stringify(id)}; ` +
            (last === undefined ? "nothing is kept" : `the last one is ${last}`),
        );
      }
      const above = store.standOn([store.placed(found.write)]);
      if (above.length > 0 && !given.replay) {
        const later = observed.flatMap(({ receipt, write }) => (above.includes(write) ? [receipt] : []));
        throw new UserError(
          `sparse-memory: expected a write whose slots no later one changed, got ${id} under ${later.join(", ")}; forget ` +
            "those first, or set replay to learn them again without it",
        );
      }
      const later = above.length === 0 ? [] : observed.filter(({ write }) => write > found.write);
      const before = observed;
      const gone = [found, ...later].map(({ write }) => store.placed(write));
      store.remove(gone);
      observed = observed.filter((one) => one !== found && !later.includes(one));
      try {
        for (const { documents, receipt } of later) {
          // Its events are of no interest here
          const events = learn(documents, receipt, { again: true });
          while (!(await events.next()).done);
        }
      } catch (error) {
        store.remove(observed.filter((one) => !before.includes(one)).map(({ write }) => store.placed(write)));
        store.replay(gone);
        observed = before;
        throw error;
      }
    };

    /** Facts as writes, each learned on top of those before it; the table is then as it was. */
    const encode = async (
      stated: readonly StatedFact[],
      { nameOf = (i) => `fact ${i + 1}`, signal, onProgress, onNote, without = [] }: EncodeOptions = {},
    ): Promise<EncodedFact[]> => {
      const gone = without.map(store.placed);
      store.remove(gone);
      const done: Learned[] = [];
      try {
        const all = stated.map((fact, i) => lessonsOfFact(fact, nameOf(i), lessonOptions));
        await countOwn(all.flat());
        for (const [i, lessons] of all.entries()) {
          signal?.throwIfAborted();
          if (lessons.some(({ repeated }) => repeated))
            onNote?.(`${nameOf(i)}: a wording is given more than once; give different ones`);
          const learning = learner.learn(lessons, { background, seed: seed + i, signal });
          let step = await learning.next();
          while (!step.done) step = await learning.next();
          signal?.throwIfAborted();
          done.push(step.value);
          onProgress?.(i + 1, all.length);
        }
        return done.map(({ write }) => store.pack(write));
      } finally {
        for (const { undo } of done.reverse()) undo();
        store.replay(gone);
      }
    };

    /** What of a question's own tokens reads changed slots, and whose most of them are. */
    const look = async (query: Query): Promise<FactReading> => {
      if (store.writes().length === 0) return { inScope: false, score: -Infinity, threshold: 0 };
      const ids = promptIdsOf(tokenizer, query).slice(-geometry.context);
      const batch = batchOf([Int32Array.from([...ids, eosId])], { contextLength: geometry.context, eosId });
      const counts = await passes.read(batch.ids, batch.mask, 1);
      const byWrite = new Map<number, number>();
      for (const [slot, count] of counts) {
        const write = store.writerOf(slot);
        if (write !== undefined) byWrite.set(write, (byWrite.get(write) ?? 0) + count);
      }
      const most = [...byWrite].sort(([a, m], [b, n]) => n - m || b - a).at(0);
      const score = [...byWrite.values()].reduce((sum, count) => sum + count, 0);
      // No detector stands before the memory: all that is written takes part in every answer
      return { inScope: true, score, threshold: 0, ...(most && { fact: most[0] }) };
    };

    const method: Method = {
      name: "sparse-memory",
      canForget: true,
      needsFit: false,
      observe,
      forget,
      ...askedBare(face),
      facts: {
        identity: identityOf({ method: "sparse-memory", base: await base.hash(), slots, width }),
        store,
        mostBytes: MOST_BYTES,
        encode,
        look: async (queries) => {
          const found: FactReading[] = [];
          for (const query of queries) found.push(await look(query));
          return found;
        },
        without: askedBare(bare),
      },
      bytes: () => store.bytes() + (learner.state.tensors.moments?.byteLength ?? 0),
      async state() {
        const rows = store.snapshot();
        const { moments } = learner.state.tensors;
        return {
          tensors: {
            ...withPrefix("rows.", rows.tensors),
            ...(moments && { moments: float32Host([slots, 2, width], moments.slice()) }),
            ...(isStream && { frequencies: int32Host([slots], background.frequencies.slice()) }),
          },
          json: {
            writes,
            next,
            batches: background.batches,
            optimizerStep: learner.state.step,
            observed: structuredClone(observed),
            rows: rows.json,
          },
        };
      },
      async restore({ tensors, json }) {
        const parsed = stateSchema.safeParse(json);
        const { moments } = learner.state.tensors;
        const [kept, counted] = [tensors.moments?.data, tensors.frequencies?.data];
        const fits =
          (moments === undefined || (kept instanceof Float32Array && kept.length === moments.length)) &&
          (!isStream || (counted instanceof Int32Array && counted.length === slots));
        if (!parsed.success || !fits) {
          throw new UserError(
            "sparse-memory: expected a state of this method and these options, got another; restore it with its own",
          );
        }
        store.restore({ tensors: underPrefix("rows.", tensors), json: parsed.data.rows });
        if (moments) moments.set(kept as Float32Array);
        if (isStream) background.frequencies.set(counted as Int32Array);
        background.batches = parsed.data.batches;
        learner.state.step = parsed.data.optimizerStep;
        observed = parsed.data.observed as unknown as Observed[];
        ({ next, writes } = parsed.data);
      },
      async dispose() {
        await passes.dispose();
        await face.dispose();
        await bare.dispose();
      },
    };
    return method;
  },
  async save(method, base, folder, given) {
    const { tensors, json } = await method.state();
    const { table, slots } = memoryOf(base);
    const rows = { tensors: underPrefix("rows.", tensors), json: stateSchema.parse(json).rows };
    const { shape } = base.weights[table];
    await saveModel(base, { ...base.weights, [table]: float32Host(shape, taughtTable(base, rows)) }, folder);
    // What ordinary text reads is decided by what did not change
    const background = await backgroundOf(base, slots, given);
    if (background.batches > 0)
      await saveBackground(folder, background, await sha256File(`${folder}/model.safetensors`));
    return `model in Hugging Face layout: ${folder}`;
  },
});
