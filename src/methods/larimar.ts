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
import { isFolder, writeFileAtomic } from "../checkpoint/files.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { createEpisodes, type Episodes } from "../memory/episodes.ts";
import { readRepeatedly } from "../memory/episodic.ts";
import type { Condition } from "../models/condition.ts";
import { createEmbedder } from "../models/embed.ts";
import { embeddedFolder, resolveModel } from "../models/embedded.ts";
import { fitsGraph } from "../models/instance.ts";
import { loadEncoder } from "../models/load.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor, sizeOf } from "../tensor/dtype.ts";
import { defineMethod } from "./definition.ts";
import { makeFolder } from "./folders.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import { addressings, keysFor } from "./larimar/addressing.ts";
import { answerIds, factsOf, promptIdsOf, sentencesAsFacts } from "./larimar/facts.ts";
import { createFactFinder, type EmbedTexts, type FactFinder } from "./larimar/finder.ts";
import { larimarFit } from "./larimar/fit.ts";
import { loadModule } from "./larimar/module.ts";
import { createReader, type MarkedText } from "./larimar/reader.ts";
import { languageFace } from "./language.ts";
import type { AnswerOptions, Document, Method, MethodEvent, MethodState, Query, StatedFact } from "./method.ts";
import { promptOf } from "./prompt.ts";

const options = z.object({
  module: z.string().min(1).default("mneme-larimar").describe("fitted module: a folder, or one that comes along"),
  embedder: z
    .string()
    .min(1)
    .default("mneme-embed")
    .describe("sentence encoder that finds the fact a question is about"),
  threshold: z.number().min(-1).max(1).default(0.7).describe("least cosine of a question in scope; -1 for no detector"),
  addressing: z.enum(addressings).default("gaussian").describe("how questions find their slots"),
  scale: z.number().nonnegative().default(0).describe("factor on what is read; 0 brings it to the length written"),
  iterations: z.int().positive().default(1).describe("times that a memory is read, each with what was read before"),
  ridge: z.number().positive().default(1e-4).describe("ridge of the least squares"),
  growth: z.boolean().default(true).describe("open another memory when one is full"),
});

/** A written fact with what the memory holds of it. */
interface Written extends StatedFact {
  readonly fact: number;
  readonly receipt: string;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

const querySchema = z.object({ text: z.string(), form: z.enum(["question", "completion"]).optional() });
const stateSchema = z.object({
  writes: z.int().min(0),
  next: z.int().min(1),
  facts: z.array(
    z.object({
      fact: z.int(),
      receipt: z.string(),
      prompt: querySchema,
      target: z.string(),
      rephrased: z.array(querySchema).optional(),
    }),
  ),
});

/** A module by its folder or by the name of one that comes along. */
async function moduleFolder(name: string): Promise<string> {
  const embedded = join(embeddedFolder, name);
  if (await isFolder(name)) return name;
  if (/^[\w.-]+$/.test(name) && (await isFolder(embedded))) return embedded;
  throw new UserError(`larimar: expected the folder of a module, got ${name}; fit one with \`mneme fit larimar\``);
}

async function openEmbedding(runtime: Runtime, name: string) {
  const encoder = await loadEncoder((await resolveModel(name)).folder);
  const embedder = await createEmbedder(runtime, encoder, { truncate: true });
  const embed: EmbedTexts = (texts) => embedder.embed(texts.map((text) => encoder.tokenizer.encode(text)));
  return { embed, width: embedder.width, dispose: embedder.dispose };
}

/** The same prompt but for case and blanks. */
const subjectOf = ({ text }: Query): string => text.toLowerCase().replace(/\s+/g, " ").trim();

export const larimar = defineMethod({
  name: "larimar",
  summary: "write facts into an episodic memory in one shot, read them into the decoder",
  paper: "https://arxiv.org/abs/2403.11901",
  options,
  fit: larimarFit,
  async create(base, given, { runtime }) {
    const { threshold, addressing, scale, iterations, ridge, growth } = given;
    const module = await loadModule(base, await moduleFolder(given.module));
    const { slots, variant, latent } = module.config;
    const { width, encoderContext } = latent;
    const { tokenizer, eosIds } = base;
    const embedding = await openEmbedding(runtime, given.embedder);
    const reader = createReader({ runtime, base, module });
    const bare = languageFace({ runtime, model: base, tokenizer, eosIds, frozen: fitsGraph(base) });
    const keys = keysFor(addressing, slots, width);

    const emptied = (): { episodes: Episodes; finder: FactFinder; facts: Map<number, Written> } => ({
      episodes: createEpisodes({ slots, width, ridge, growth }),
      finder: createFactFinder(embedding.width, embedding.embed),
      facts: new Map(),
    });
    let memory = emptied();
    let next = 1;
    let writes = 0;

    const promptLatents = (prompts: readonly string[]): Promise<Float32Array> =>
      reader.latents(
        prompts.map((prompt) => {
          const ids = promptIdsOf(tokenizer, { text: prompt, form: "completion" }).slice(-encoderContext);
          return { ids, before: ids.length };
        }),
      );

    const latentOf = (all: Float32Array | undefined, i: number): Float32Array =>
      all?.subarray(i * width, (i + 1) * width) ?? new Float32Array();

    /** Keys and values of facts. */
    const encoded = async (facts: readonly StatedFact[]): Promise<Pick<Written, "key" | "value">[]> => {
      const texts = facts.map(({ prompt, target }): MarkedText => {
        const before = promptIdsOf(tokenizer, prompt);
        // A sentence as it is, its answer unknown
        if (target === "") return { ids: before.slice(0, encoderContext), before: before.length };
        return { ids: [...before, ...answerIds(tokenizer, target)], before: before.length };
      });
      const values = await reader.latents(texts);
      const prompts = keys.usesLatents ? await promptLatents(facts.map(({ prompt }) => promptOf(prompt))) : undefined;
      return facts.map(({ prompt }, i) => {
        const value = latentOf(values, i).slice();
        return { value, key: keys.written({ prompt: subjectOf(prompt), latent: latentOf(prompts, i), value }) };
      });
    };

    /** Puts facts in, all or none. */
    const put = async (into: typeof memory, facts: readonly Written[]): Promise<void> => {
      if (facts.length === 0) return;
      const flat = (part: (fact: Written) => Float32Array): number[] => facts.flatMap((fact) => [...part(fact)]);
      await into.finder.write(
        facts.map(({ fact, prompt, rephrased = [] }) => ({
          fact,
          texts: [prompt, ...rephrased].map(({ text }) => text),
        })),
      );
      try {
        into.episodes.write(
          flat(({ key }) => key),
          flat(({ value }) => value),
          { facts: facts.map(({ fact }) => fact) },
        );
      } catch (error) {
        for (const { fact } of facts) into.finder.forget(fact);
        throw error;
      }
      for (const fact of facts) into.facts.set(fact.fact, fact);
    };

    const take = ({ fact, key, value }: Written): void => {
      memory.episodes.forget(fact, key, value);
      memory.finder.forget(fact);
      memory.facts.delete(fact);
    };

    async function* observe(
      documents: readonly Document[],
      { signal }: { signal?: AbortSignal } = {},
    ): AsyncGenerator<MethodEvent> {
      const started = performance.now();
      const receipt = receiptId("larimar", hashOf([writes, contentsOf(documents)]));
      // The last word on a subject is what holds
      const stated = new Map<string, StatedFact>();
      for (const document of documents) {
        const own = factsOf(document);
        for (const fact of own.length > 0 ? own : sentencesAsFacts(document)) stated.set(subjectOf(fact.prompt), fact);
      }
      const facts = [...stated.values()];
      const made = facts.length === 0 ? [] : await encoded(facts);
      const stopped = signal?.aborted ? "interrupted" : "done";
      if (stopped === "done") {
        const old = [...memory.facts.values()].filter(({ prompt }) => stated.has(subjectOf(prompt)));
        for (const fact of old) take(fact);
        try {
          await put(
            memory,
            facts.map((fact, i) => ({ ...fact, ...made[i], receipt, fact: next + i })),
          );
        } catch (error) {
          await put(memory, old);
          throw error;
        }
        next += facts.length;
        writes++;
      }
      const tokens = facts.reduce(
        (sum, { prompt, target }) => sum + promptIdsOf(tokenizer, prompt).length + answerIds(tokenizer, target).length,
        0,
      );
      const encoder = Object.entries(module.weights).reduce(
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
          flops: 2 * encoder * tokens,
        },
      };
    }

    /** What the decoder is told for each text; undefined out of scope. */
    const conditionsFor = async (texts: readonly string[]): Promise<(Condition | undefined)[]> => {
      const found = await memory.finder.find(texts);
      const inside = [...texts.keys()].filter((i) => (found[i]?.similarity ?? -2) >= threshold);
      if (inside.length === 0) return texts.map(() => undefined);
      const prompts = keys.usesLatents ? await promptLatents(inside.map((i) => texts[i])) : undefined;
      const read = new Float32Array(inside.length * width);
      for (const [k, i] of inside.entries()) {
        const { fact } = found[i] as { fact: number };
        const { prompt } = memory.facts.get(fact) as Written;
        const own = memory.episodes.memories()[memory.episodes.memoryOf(fact) as number];
        const latent = latentOf(prompts, k);
        const key = keys.asked({ prompt: subjectOf(prompt), latent }, own);
        const reading = { scale: scale === 0 ? ("written" as const) : scale };
        const value =
          iterations > 1 && keys.again
            ? readRepeatedly(own, keys.again(own), latent, { ...reading, iterations })
            : own.read(key, reading);
        read.set(value, k * width);
      }
      const told = await reader.conditions(read);
      const conditions: (Condition | undefined)[] = texts.map(() => undefined);
      for (const [k, i] of inside.entries()) conditions[i] = told[k];
      return conditions;
    };

    /** The condition of what was never written; none where the base answers by itself. */
    const silence = async (): Promise<Condition | undefined> =>
      variant === "joint" ? (await reader.conditions(new Float32Array(width)))[0] : undefined;

    /** Runs what is told something on the decoder, and the rest on the base; results in order. */
    const divided = async <R>(
      texts: readonly string[],
      options: AnswerOptions,
      run: (
        face: typeof bare,
        members: readonly number[],
        conditions: readonly Condition[] | undefined,
        options: AnswerOptions,
      ) => Promise<R[]>,
    ): Promise<R[]> => {
      const none = await silence();
      const conditions = (await conditionsFor(texts)).map((condition) => condition ?? none);
      const results: R[] = [];
      let done = 0;
      for (const told of [true, false]) {
        const members = [...texts.keys()].filter((i) => (conditions[i] !== undefined) === told);
        if (members.length === 0) continue;
        const own = told ? members.map((i) => conditions[i] as Condition) : undefined;
        const before = done;
        const onProgress = (part: number): void => options.onProgress?.(before + part, texts.length);
        const found = await run(told ? reader.face : bare, members, own, { ...options, onProgress });
        for (const [k, i] of members.entries()) results[i] = found[k];
        done += members.length;
      }
      return results;
    };

    const conditionOf = async (text: string): Promise<Condition | undefined> =>
      (text.trim() === "" ? undefined : (await conditionsFor([text]))[0]) ?? silence();

    const method: Method = {
      name: "larimar",
      canForget: true,
      needsFit: true,
      observe,
      async forget(id) {
        const gone = [...memory.facts.values()].filter(({ receipt }) => receipt === id);
        if (gone.length === 0) {
          const last = [...memory.facts.values()].at(-1)?.receipt;
          throw new UserError(
            `larimar: expected the id of a receipt to forget, got ${JSON.stringify(id)}; ${last === undefined ? "nothing is kept" : `the last one is ${last}`}`,
          );
        }
        for (const fact of gone) take(fact);
      },
      async score(prompt, continuation) {
        const condition = await conditionOf(prompt);
        return condition ? reader.face.score(prompt, continuation, condition) : bare.score(prompt, continuation);
      },
      async *generate(prompt, sampling = {}) {
        const condition = await conditionOf(prompt);
        if (condition) yield* reader.face.generate(prompt, { ...sampling, conditions: [condition] });
        else yield* bare.generate(prompt, sampling);
      },
      answer: (queries, asking = {}) =>
        divided(
          queries.map(({ text }) => text),
          asking,
          (face, members, conditions, rest) =>
            face.answer(
              members.map((i) => promptOf(queries[i])),
              { ...rest, conditions },
            ),
        ),
      rate: (pairs, asking = {}) =>
        divided(
          pairs.map(({ query }) => query.text),
          asking,
          (face, members, conditions, rest) =>
            face.rate(
              members.map((i, k) => ({
                prompt: promptOf(pairs[i].query),
                answer: pairs[i].answer,
                condition: conditions?.[k],
              })),
              rest,
            ),
        ),
      inspect: bare.inspect,
      bytes: () =>
        Object.values(module.weights).reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0) +
        memory.episodes.bytes() +
        memory.finder.bytes() +
        [...memory.facts.values()].reduce((sum, { key, value }) => sum + key.byteLength + value.byteLength, 0),
      async state(): Promise<MethodState> {
        const facts = [...memory.facts.values()];
        const all = (part: "key" | "value", size: number): HostTensor =>
          float32Host([facts.length, size], Float32Array.from(facts.flatMap((fact) => [...fact[part]])));
        return {
          tensors: facts.length === 0 ? {} : { keys: all("key", slots), values: all("value", width) },
          json: {
            writes,
            next,
            facts: facts.map(({ fact, receipt, prompt, target, rephrased }) => ({
              fact,
              receipt,
              prompt,
              target,
              rephrased,
            })),
          },
        };
      },
      async restore({ tensors, json }) {
        const parsed = stateSchema.safeParse(json);
        const count = parsed.data?.facts.length ?? 0;
        const part = (name: string, size: number): Float32Array | undefined => {
          const tensor = tensors[name];
          const fits = tensor?.dtype === "float32" && tensor.shape[0] === count && tensor.shape[1] === size;
          return fits ? (tensor.data as Float32Array) : undefined;
        };
        const [savedKeys, savedValues] = [part("keys", slots), part("values", width)];
        if (!parsed.success || (count > 0 && (!savedKeys || !savedValues))) {
          throw new UserError(
            "larimar: expected a state with facts, their keys and values, got none or another method's; restore it " +
              "with the options it was made with",
          );
        }
        const restored = emptied();
        await put(
          restored,
          parsed.data.facts.map((fact, i) => ({
            ...fact,
            key: (savedKeys as Float32Array).slice(i * slots, (i + 1) * slots),
            value: (savedValues as Float32Array).slice(i * width, (i + 1) * width),
          })),
        );
        memory = restored;
        ({ writes, next } = parsed.data);
      },
      async dispose() {
        await reader.dispose();
        await bare.dispose();
        await embedding.dispose();
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
