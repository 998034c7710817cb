/**
 * Larimar (https://arxiv.org/abs/2403.11901): facts written into an episodic memory in one shot, by least squares, and
 * read from it into the decoder. A question that is about a written fact (scope) is answered by the decoder under the
 * latent that the memory gives for it; any other by the base itself.
 *
 * We differ. The base is frozen, and out of scope neither latent nor adapters take part: those answers are the base's
 * own, bit for bit (the paper trains the decoder and answers from a latent of zeros: the variant "joint"). Facts are
 * kept beside the memory, so that one of them can be forgotten exactly (memory/episodic.ts).
 */
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "../checkpoint/files.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { unpackFloats } from "../memory/episodes-store.ts";
import type { PlacedFact } from "../memory/memory-store.ts";
import { createExternalScope } from "../memory/scope.ts";
import { subjectOf } from "../memory/subject.ts";
import { createTextEmbedder } from "../models/embed-texts.ts";
import { resolveModel } from "../models/embedded.ts";
import { NAMES_SHARE, withNames } from "../models/named-texts.ts";
import { fitsGraph } from "../models/instance.ts";
import { loadEncoder } from "../models/load.ts";
import { float32Host, sizeOf } from "../tensor/dtype.ts";
import { defineMethod } from "./definition.ts";
import { type EncodedFact, type EncodeOptions, identityOf } from "./fact-face.ts";
import { makeFolder, moduleFolder } from "./folders.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import { addressings } from "./larimar/addressing.ts";
import { createAsking } from "./larimar/asking.ts";
import { requireSayable, sentencesAsFacts } from "./larimar/facts.ts";
import { answerIds, factsOf, promptIdsOf } from "./stated.ts";
import { larimarFit } from "./larimar/fit.ts";
import { loadModule } from "./larimar/module.ts";
import { createReader, type MarkedText } from "./larimar/reader.ts";
import { readingBeside, readings } from "./larimar/reading.ts";
import { createLarimarStore } from "./larimar/store.ts";
import { languageFace } from "./language.ts";
import type { Document, Method, MethodEvent, MethodState, Query, StatedFact } from "./method.ts";
import { promptOf } from "./prompt.ts";

const options = z.object({
  module: z.string().min(1).default("mneme-larimar").describe("fitted module: a folder, or one that comes along"),
  embedder: z
    .string()
    .min(1)
    .default("mneme-embed")
    .describe("sentence encoder that finds the fact a question is about"),
  names: z
    .number()
    .min(0)
    .lt(1)
    .default(NAMES_SHARE)
    .describe("share that rare words in common have in how near a question is to a fact"),
  threshold: z
    .number()
    .min(-1)
    .max(1)
    .default(0.72)
    .describe("least cosine of a question in scope; -1 for no detector"),
  addressing: z.enum(addressings).default("gaussian").describe("how questions find their slots"),
  reading: z
    .enum(readings)
    .default("memory")
    .describe("what a question reads: the memory, or, as controls, the nearest latent or episodes recursively"),
  scale: z.number().nonnegative().default(0).describe("factor on what is read; 0 brings it to the length written"),
  iterations: z.int().positive().default(1).describe("times that a memory is read, each with what was read before"),
  ridge: z.number().positive().default(1e-4).describe("ridge of the least squares"),
  growth: z.boolean().default(true).describe("open another memory when one is full"),
  perMemory: z
    .int()
    .positive()
    .optional()
    .describe("facts to a memory (default: three quarters of its slots, all of them without growth)"),
});

/** A fact that was observed, as the memory holds it. */
type Written = StatedFact & PlacedFact & { readonly receipt: string };

const querySchema = z.object({ text: z.string(), form: z.enum(["question", "completion"]).optional() });
const stateSchema = z.object({
  writes: z.int().min(0),
  next: z.int().min(1),
  facts: z.array(
    z.object({
      fact: z.int(),
      placement: z.int(),
      receipt: z.string(),
      prompt: querySchema,
      target: z.string(),
      rephrased: z.array(querySchema).optional(),
      keyBytes: z.int().min(0),
      replaced: z.boolean().optional(),
    }),
  ),
});

/** Sizes in the identity of a memory, as it has them: in words. */
const sizesSchema = z.object({
  slots: z.coerce.number(),
  width: z.coerce.number(),
  textWidth: z.coerce.number(),
  addressing: options.shape.addressing.unwrap(),
  ridge: z.coerce.number(),
  growth: z.enum(["true", "false"]).transform((text) => text === "true"),
  perMemory: z.coerce.number().optional(),
});

const isAbout = ({ prompt }: StatedFact, { text }: Query): boolean => subjectOf(prompt.text) === subjectOf(text);

/** The texts by which a question may find a fact. */
const textsOf = ({ prompt, rephrased = [] }: StatedFact): string[] => [prompt, ...rephrased].map(({ text }) => text);

export const larimar = defineMethod({
  name: "larimar",
  summary: "write facts into an episodic memory in one shot, read them into the decoder",
  paper: "https://arxiv.org/abs/2403.11901",
  options,
  fit: larimarFit,
  facts: {
    kept: ["names", "addressing", "ridge", "growth", "perMemory"],
    named: ["module", "embedder"],
    store(identity) {
      const sizes = sizesSchema.safeParse(identity);
      if (sizes.success) return createLarimarStore(sizes.data);
      const name = sizes.error.issues[0].path.join(".");
      throw new UserError(`larimar: expected a memory that says its ${name}, got another; name a memory of larimar`);
    },
  },
  async create(base, given, { runtime }) {
    const { threshold, addressing, reading, scale, iterations, ridge, growth, perMemory } = given;
    const module = await loadModule(base, await moduleFolder("larimar", given.module));
    const { slots, variant, latent } = module.config;
    const { width, encoderContext } = latent;
    const { tokenizer, eosIds } = base;
    const encoder = await loadEncoder((await resolveModel(given.embedder)).folder);
    // A fact or a question at a time: threads that stayed awake would be in the way of writing it
    const texts = await createTextEmbedder(runtime, encoder, { spin: false });
    const embedder = withNames(texts, encoder.tokenizer, { share: given.names });
    const { width: textWidth, embed } = embedder;
    const reader = createReader({ runtime, base, module });
    const bare = languageFace({ runtime, model: base, tokenizer, eosIds, frozen: fitsGraph(base) });
    const store = createLarimarStore({ slots, width, textWidth, addressing, ridge, growth, perMemory });
    const scope = createExternalScope({ width: textWidth, embed, threshold, store: store.vectors });
    const identity = identityOf({
      method: "larimar",
      base: await base.hash(),
      module: module.sha256,
      embedder: await encoder.hash(),
      names: given.names,
      slots,
      width,
      textWidth,
      addressing,
      ridge,
      growth,
      ...(perMemory !== undefined && { perMemory }),
    });
    let facts = new Map<number, Written>();
    /** Facts that a later write took the place of, the latest last: they hold again where it is forgotten. */
    let replaced: Written[] = [];
    let next = 1;
    let writes = 0;

    const promptLatents = (prompts: readonly string[]): Promise<Float32Array> =>
      reader.latents(
        prompts.map((prompt) => {
          const ids = promptIdsOf(tokenizer, { text: prompt, form: "completion" }).slice(-encoderContext);
          return { ids, before: ids.length };
        }),
      );
    const joint = variant === "joint";
    const latentOf = ({ value }: Written): Float32Array => unpackFloats(value);
    const latents = {
      of(fact: number) {
        const written = facts.get(fact);
        return written && latentOf(written);
      },
      all: () => [...facts.values()].toSorted((a, b) => a.fact - b.fact).map(latentOf),
    };
    const beside = readingBeside(reading, { width, latents });
    const reads = { width, scale, iterations, joint, beside };
    const asking = createAsking({ reader, bare, store, scope, ...reads, promptLatents });

    const encode = async (stated: readonly StatedFact[], encoding?: EncodeOptions): Promise<EncodedFact[]> => {
      if (stated.length === 0) return [];
      const texts = stated.map(({ prompt, target }): MarkedText => {
        const before = promptIdsOf(tokenizer, prompt);
        // A sentence as it is, its answer unknown
        if (target === "") return { ids: before.slice(0, encoderContext), before: before.length };
        return { ids: [...before, ...answerIds(tokenizer, target)], before: before.length };
      });
      const values = await reader.latents(texts, encoding);
      const prompts = store.keys.usesLatents
        ? await promptLatents(stated.map(({ prompt }) => promptOf(prompt)))
        : new Float32Array();
      const vectors = await scope.encode(stated.flatMap(textsOf));
      let at = 0;
      return stated.map((fact, i) => {
        const row = (all: Float32Array): Float32Array => all.subarray(i * width, (i + 1) * width);
        const own = vectors.subarray(at, (at += textsOf(fact).length * textWidth));
        return store.pack({ prompt: row(prompts), value: row(values), texts: own });
      });
    };

    /** Puts facts in, all or none. */
    const put = (fresh: readonly Omit<Written, "placement">[]): void => {
      const places = store.apply(fresh);
      for (const [i, fact] of fresh.entries()) facts.set(fact.fact, { ...fact, placement: places[i] });
    };
    const take = (gone: readonly Written[]): void => {
      store.remove(gone);
      for (const { fact } of gone) facts.delete(fact);
    };

    async function* observe(
      documents: readonly Document[],
      { signal }: { signal?: AbortSignal } = {},
    ): AsyncGenerator<MethodEvent> {
      const started = performance.now();
      const receipt = receiptId("larimar", hashOf([writes, contentsOf(documents)]));
      // The last word on a subject is what holds
      const bySubject = new Map<string, StatedFact>();
      for (const document of documents) {
        const own = factsOf(document);
        for (const fact of own.length > 0 ? own : sentencesAsFacts(document)) {
          bySubject.set(subjectOf(fact.prompt.text), fact);
        }
      }
      const stated = [...bySubject.values()];
      const made = await encode(stated);
      const stopped = signal?.aborted ? "interrupted" : "done";
      if (stopped === "done") {
        const old = [...facts.values()].filter(({ prompt }) => bySubject.has(subjectOf(prompt.text)));
        take(old);
        try {
          put(stated.map((fact, i) => ({ ...fact, ...made[i], receipt, fact: next + i })));
        } catch (error) {
          store.replay(old);
          for (const fact of old) facts.set(fact.fact, fact);
          throw error;
        }
        replaced.push(...old);
        next += stated.length;
        writes++;
      }
      const tokens = stated.reduce(
        (sum, { prompt, target }) => sum + promptIdsOf(tokenizer, prompt).length + answerIds(tokenizer, target).length,
        0,
      );
      const encoderSize = Object.entries(module.weights).reduce(
        (sum, [name, { data }]) => sum + (/^larimar\.(encoder\.layers|pool)/.test(name) ? data.length : 0),
        0,
      );
      yield {
        type: "receipt",
        receipt: {
          id: receipt,
          documents: documents.map(({ id }) => id),
          steps: 0,
          tokens,
          seconds: (performance.now() - started) / 1000,
          finalLoss: 0,
          stopped,
          flops: 2 * encoderSize * tokens,
        },
      };
    }

    const method: Method = {
      name: "larimar",
      canForget: true,
      needsFit: true,
      observe,
      facts: {
        identity,
        store,
        without: asking.without,
        async encode(stated, encoding) {
          const { nameOf = (i: number) => `fact ${i + 1}` } = encoding ?? {};
          for (const [i, { target }] of stated.entries()) requireSayable(tokenizer, target, nameOf(i));
          return encode(stated, encoding);
        },
        look: async (queries) =>
          (await asking.verdicts(queries.map(({ text }) => text))).map(({ inScope, score, fact }) => ({
            inScope,
            score,
            threshold,
            ...(fact !== undefined && { fact }),
          })),
      },
      async forget(id) {
        const isOf = ({ receipt }: Written): boolean => receipt === id;
        const gone = [...facts.values()].filter(isOf);
        if (gone.length === 0 && !replaced.some(isOf)) {
          const last = [...facts.values()].at(-1)?.receipt;
          throw new UserError(
            `larimar: expected the id of a receipt to forget, got ${JSON.stringify(id)}; ${last === undefined ? "nothing is kept" : `the last one is ${last}`}`,
          );
        }
        take(gone);
        const rest = replaced.filter((fact) => !isOf(fact));
        const back = gone.flatMap(({ prompt }) => rest.findLast((old) => isAbout(old, prompt)) ?? []);
        put(back);
        replaced = rest.filter((fact) => !back.includes(fact));
      },
      score: asking.score,
      generate: asking.generate,
      answer: asking.answer,
      rate: asking.rate,
      inspect: bare.inspect,
      bytes: () =>
        Object.values(module.weights).reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0) +
        store.bytes() +
        [...facts.values(), ...replaced].reduce((sum, { key, value }) => sum + key.byteLength + value.byteLength, 0),
      async state(): Promise<MethodState> {
        const all = [...facts.values(), ...replaced];
        const bytes = (part: "key" | "value"): Uint8Array => Buffer.concat(all.map((fact) => fact[part]));
        const [keys, values] = [bytes("key"), Uint8Array.from(bytes("value"))];
        return {
          tensors:
            all.length === 0
              ? {}
              : {
                  keys: { dtype: "uint8", shape: [keys.length], data: Uint8Array.from(keys) },
                  values: float32Host([all.length, width], new Float32Array(values.buffer)),
                },
          json: {
            writes,
            next,
            facts: all.map(({ fact, placement, receipt, prompt, target, rephrased, key }, i) => ({
              fact,
              placement,
              receipt,
              prompt,
              target,
              rephrased,
              keyBytes: key.length,
              ...(i >= facts.size && { replaced: true }),
            })),
          },
        };
      },
      async restore({ tensors, json }) {
        const parsed = stateSchema.safeParse(json);
        const saved = parsed.data?.facts ?? [];
        const { keys, values } = tensors;
        const length = saved.reduce((sum, { keyBytes }) => sum + keyBytes, 0);
        const fits =
          saved.length === 0 ||
          (keys?.data instanceof Uint8Array &&
            keys.data.length === length &&
            values?.data instanceof Float32Array &&
            values.data.length === saved.length * width);
        if (!parsed.success || !fits) {
          throw new UserError(
            "larimar: expected a state with facts, their keys and values, got none or another method's; restore it " +
              "with the options it was made with",
          );
        }
        let at = 0;
        const restored: Written[] = [];
        const behind: Written[] = [];
        for (const [i, { keyBytes, replaced: isReplaced, ...fact }] of saved.entries()) {
          const key = (keys.data as Uint8Array).slice(at, (at += keyBytes));
          const value = (values.data as Float32Array).slice(i * width, (i + 1) * width);
          (isReplaced ? behind : restored).push({ ...fact, key, value: new Uint8Array(value.buffer) });
        }
        const before = [...facts.values()];
        store.remove(before);
        try {
          store.replay(restored);
        } catch (error) {
          store.replay(before);
          throw error;
        }
        facts = new Map(restored.map((fact) => [fact.fact, fact]));
        replaced = behind;
        ({ writes, next } = parsed.data);
      },
      async dispose() {
        await reader.dispose();
        await bare.dispose();
        await embedder.dispose();
      },
    };
    return method;
  },
  async save(method, _base, folder) {
    const { tensors, json } = await method.state();
    await makeFolder(folder);
    await writeSafetensors(join(folder, "memory.safetensors"), tensors);
    await writeFileAtomic(join(folder, "memory.json"), `${JSON.stringify(json)}\n`);
    return `facts with their keys and values (larimar changes no weights): ${folder}`;
  },
});
