/**
 * Text with memory on: what holding facts costs the likelihood of text that has nothing to do with them, and how
 * likely is what the model writes about a text that it holds. The second is the "perplexity" of Larimar's paper
 * (https://arxiv.org/abs/2403.11901, appendix G, 14.6 and 15.9), which is not that of a language model on text: the
 * sentence itself is written into the memory, its first 10 characters are the prompt, and the text that is then
 * generated is scored. There by GPT2-large; here by the method itself without that sentence, so by the base.
 */
import { z } from "zod";
import { readTextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import type { Document, Method, Score } from "../../methods/method.ts";
import { randomStream } from "../../tensor/random.ts";
import { f1, meanOf } from "../questions.ts";
import type { EvaluateOptions, NamedScores, Task } from "../task.ts";
import { whileWritten } from "../written.ts";
import { dataOption, defineTask } from "./definition.ts";
import { fingerprintOf, sampleInOrder } from "./records.ts";
import { knownTexts } from "./world/stream.ts";
import { writtenFacts } from "./world/written.ts";

const options = z.object({
  data: dataOption("a text file"),
  sentences: z.int().positive().default(200).describe("sentences of the file that are scored"),
  held: z.int().min(1).default(256).describe("facts of a generated world that are held"),
  lead: z.int().positive().default(10).describe("characters of a sentence that stand before what is scored"),
  maxTokens: z.int().positive().default(48).describe("most tokens that are generated from a lead"),
});

type Options = z.output<typeof options>;

/** Characters of a sentence: a fact must be short. */
const [SHORTEST, LONGEST] = [40, 200];
/** Its facts are for nothing else. */
const HELD_WORLD = 600;

/** The sentences of a text, without headings and what was cut out of it. */
export function sentencesOf(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => !/^\s*=/.test(line))
    .flatMap((line) => line.split(/(?<=[.!?]["'’”)]?)\s+/u))
    .map((sentence) => sentence.trim())
    .filter(({ length }) => length >= SHORTEST && length <= LONGEST)
    .filter((sentence) => !sentence.includes("<unk>"));
}

const perplexity = (scores: readonly Score[]): number =>
  Math.exp(scores.reduce((sum, { nats }) => sum + nats, 0) / scores.reduce((sum, { tokens }) => sum + tokens, 0));

interface Scored {
  readonly text: readonly Score[];
  readonly generated: readonly Score[];
  readonly words: readonly number[];
}

const namedScores = ({ text, generated, words }: Scored): Record<string, number> => ({
  perplexity: perplexity(text),
  // None where nothing was written from any lead
  ...(generated.length > 0 && { generatedPerplexity: perplexity(generated) }),
  generatedF1: meanOf(words),
});

async function memoryTextTask({ data, sentences: count, held, lead, maxTokens }: Options): Promise<Task> {
  const all = sentencesOf((await readTextFile(data)).text);
  if (all.length === 0)
    throw new UserError(`memory-text: expected sentences of ${SHORTEST} to ${LONGEST} characters in ${data}, got none`);
  const sentences = sampleInOrder(all, count, randomStream(0, "memory-text")).map((sentence, i) => {
    return { id: `sentence ${i + 1}`, prompt: sentence.slice(0, lead), rest: sentence.slice(lead), text: sentence };
  });
  const { facts } = writtenFacts({ world: HELD_WORLD, count: held, statements: 0, rephrasings: 0 });
  const documents = facts.map(({ document }) => document);
  const before = new WeakMap<Method, Scored>();

  /** Scores every sentence, and what is generated from its lead while `about` it is written. */
  async function scored(
    method: Method,
    about: (document: Document, run: () => Promise<string>) => Promise<string>,
    { signal }: EvaluateOptions,
  ): Promise<Scored> {
    const [text, generated, words]: [Score[], Score[], number[]] = [[], [], []];
    for (const [i, sentence] of sentences.entries()) {
      signal?.throwIfAborted();
      const { prompt, rest } = sentence;
      text.push(await method.score(prompt, rest));
      const said = await about(sentence, async () => {
        const sampling = { temperature: 0.7, topK: 50, topP: 0.95, seed: i, maxTokens, stop: ["\n"], signal };
        let written = "";
        for await (const piece of method.generate(prompt, sampling)) written += piece;
        return written;
      });
      words.push(f1(said, [rest]));
      if (said !== "") generated.push(await method.score(prompt, said));
    }
    return { text, generated, words };
  }

  const protocol =
    `${sentences.length} sentences; perplexity: of each after its first ${lead} characters, per token of this model, ` +
    `while ${held} facts that have nothing to do with it are held; generatedPerplexity, generatedF1: of what is ` +
    "generated from those characters while the sentence itself is written as well, scored without it (appendix G of " +
    "2403.11901 scores by GPT2-large), and its words in common with the sentence; ...Base: nothing written";
  return {
    name: "memory-text",
    topics: [{ name: `${held} held facts`, documents }],
    direction: "lower",
    unit: "perplexity per token",
    fingerprint: fingerprintOf("memory-text", protocol, sentences, documents, maxTokens),
    metric: "perplexity",
    protocol,
    diagnosticTexts: knownTexts(),
    async prepare(method, evaluation = {}) {
      before.set(method, await scored(method, (_, run) => run(), evaluation));
    },
    async evaluate(method, _topic, evaluation = {}): Promise<NamedScores> {
      const now = await scored(
        method,
        ({ id, text }, run) => whileWritten(method, [{ id, text }], run, evaluation),
        evaluation,
      );
      const base = before.get(method);
      const named = Object.entries(base ? namedScores(base) : {}).map(([name, value]) => [`${name}Base`, value]);
      return { ...namedScores(now), ...Object.fromEntries(named) };
    },
  };
}

export const memoryText = defineTask({
  name: "memory-text",
  summary: "text with memory on: perplexity of unrelated sentences, and of what is written about a held one",
  options,
  create: memoryTextTask,
});
