/**
 * How questions are asked of Larimar: the scope detector says which fact a question is about, that fact's memory is read
 * under its key, and the decoder is told what was read. What is about nothing written goes to the base as it is.
 */
import { type EpisodicMemory, readRepeatedly } from "../../memory/episodic.ts";
import type { Numbers } from "../../memory/matrix.ts";
import type { ExternalScope, ScopeVerdict } from "../../memory/scope.ts";
import type { Condition } from "../../models/condition.ts";
import type { LanguageFace } from "../language.ts";
import type { AnswerOptions, Method, Query } from "../method.ts";
import { askedIn, promptOf } from "../prompt.ts";
import type { Reader } from "./reader.ts";
import type { Reading } from "./reading.ts";
import type { LarimarStore } from "./store.ts";

export interface AskingOptions {
  readonly reader: Reader;
  /** The base without conditions. */
  readonly bare: LanguageFace;
  readonly store: LarimarStore;
  readonly scope: ExternalScope;
  /** C. */
  readonly width: number;
  /** Factor on what is read; 0 brings it to the length written. */
  readonly scale: number;
  readonly iterations: number;
  /** The decoder without memory is told a latent of zeros, and not the base. */
  readonly joint: boolean;
  /** Reads in place of the memory. */
  readonly beside?: Reading;
  /** Latents of whole prompts as questions, [N, C]. */
  readonly promptLatents: (prompts: readonly string[]) => Promise<Float32Array>;
}

export interface Asking extends Pick<Method, "score" | "generate" | "answer" | "rate"> {
  /** What each text would read. */
  verdicts(texts: readonly string[]): Promise<ScopeVerdict[]>;
  /** The same with nothing written. */
  readonly without: Pick<Method, "answer" | "rate">;
}

const silent: ScopeVerdict = { inScope: false, score: Number.NEGATIVE_INFINITY };

export function createAsking(options: AskingOptions): Asking {
  const { reader, bare, store, scope, width, scale, iterations, joint, beside, promptLatents } = options;
  const { keys, episodes } = store;

  const verdicts = async (texts: readonly string[]): Promise<ScopeVerdict[]> => {
    const asked = [...texts.keys()].filter((i) => texts[i].trim() !== "");
    const found = await scope.ask(asked.map((i) => texts[i]));
    const all = texts.map(() => silent);
    for (const [k, i] of asked.entries()) all[i] = found[k];
    return all;
  };

  const read = (fact: number, latent: Float32Array): Numbers => {
    if (beside) return beside.read(fact, latent);
    const memory = episodes.memories()[episodes.memoryOf(fact) as number] as EpisodicMemory;
    const reading = { scale: scale === 0 ? ("written" as const) : scale };
    if (iterations > 1 && keys.again) {
      return readRepeatedly(memory, keys.again(memory), latent, { ...reading, iterations });
    }
    return memory.read(keys.asked(fact, latent, memory), reading);
  };

  /** What the decoder is told for each text; undefined out of scope. `whole`: as the decoder reads it. */
  const conditionsFor = async (
    texts: readonly string[],
    whole: readonly string[],
  ): Promise<(Condition | undefined)[]> => {
    const found = await verdicts(texts);
    const inside = [...texts.keys()].filter((i) => found[i].inScope);
    const conditions: (Condition | undefined)[] = texts.map(() => undefined);
    if (inside.length === 0) return conditions;
    const usesLatents = beside?.usesLatents ?? keys.usesLatents;
    const prompts = usesLatents ? await promptLatents(inside.map((i) => whole[i])) : new Float32Array();
    const values = new Float32Array(inside.length * width);
    for (const [k, i] of inside.entries()) {
      values.set(read(found[i].fact as number, prompts.subarray(k * width, (k + 1) * width)), k * width);
    }
    const told = await reader.conditions(values);
    for (const [k, i] of inside.entries()) conditions[i] = told[k];
    return conditions;
  };

  /** The condition of what was never written; none where the base answers by itself. */
  const silence = async (): Promise<Condition | undefined> =>
    joint ? (await reader.conditions(new Float32Array(width)))[0] : undefined;

  const conditionOf = async (prompt: string): Promise<Condition | undefined> =>
    (await conditionsFor([askedIn(prompt).text], [prompt]))[0] ?? silence();

  /** Runs what is told something on the decoder, and the rest on the base; results in order. */
  const divided = async <R>(
    found: readonly (Condition | undefined)[],
    asking: AnswerOptions,
    run: (
      face: LanguageFace,
      members: readonly number[],
      conditions: readonly Condition[] | undefined,
      asking: AnswerOptions,
    ) => Promise<R[]>,
  ): Promise<R[]> => {
    const none = await silence();
    const conditions = found.map((condition) => condition ?? none);
    const results: R[] = [];
    let done = 0;
    for (const told of [true, false]) {
      const members = [...conditions.keys()].filter((i) => (conditions[i] !== undefined) === told);
      if (members.length === 0) continue;
      const own = told ? members.map((i) => conditions[i] as Condition) : undefined;
      const before = done;
      const onProgress = (part: number): void => asking.onProgress?.(before + part, conditions.length);
      const answers = await run(told ? reader.face : bare, members, own, { ...asking, onProgress });
      for (const [k, i] of members.entries()) results[i] = answers[k];
      done += members.length;
    }
    return results;
  };

  /** Answers and ratings under what `tell` gives for each query. */
  const asked = (
    tell: (queries: readonly Query[]) => Promise<(Condition | undefined)[]>,
  ): Pick<Method, "answer" | "rate"> => ({
    answer: async (queries, asking = {}) =>
      divided(await tell(queries), asking, (face, members, conditions, rest) =>
        face.answer(
          members.map((i) => promptOf(queries[i])),
          { ...rest, conditions },
        ),
      ),
    rate: async (pairs, asking = {}) =>
      divided(await tell(pairs.map(({ query }) => query)), asking, (face, members, conditions, rest) =>
        face.rate(
          members.map((i, k) => ({
            prompt: promptOf(pairs[i].query),
            answer: pairs[i].answer,
            condition: conditions?.[k],
          })),
          rest,
        ),
      ),
  });

  return {
    verdicts,
    ...asked((queries) =>
      conditionsFor(
        queries.map(({ text }) => text),
        // Keys were made of prompts as they are read
        queries.map((query) => promptOf(query)),
      ),
    ),
    without: asked(async (queries) => queries.map(() => undefined)),
    async score(prompt, continuation) {
      const condition = await conditionOf(prompt);
      return condition ? reader.face.score(prompt, continuation, condition) : bare.score(prompt, continuation);
    },
    async *generate(prompt, sampling = {}) {
      const condition = await conditionOf(prompt);
      if (condition) yield* reader.face.generate(prompt, { ...sampling, conditions: [condition] });
      else yield* bare.generate(prompt, sampling);
    },
  };
}
