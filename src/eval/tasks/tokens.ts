/**
 * The trivial stream: topics of random pairs of made-up words, for fast tests of forgetting. A pair is learned as a
 * question with its answer and asked in the same words, so that nothing but memory is measured.
 * Each topic has its own range of words: words are numbers written in syllables, and a topic is a range of numbers.
 */
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { answeredQuestion } from "../../methods/prompt.ts";
import { randomStream } from "../../tensor/random.ts";
import { askAll, type AskingTask, tokenAccuracy } from "../questions.ts";
import { type AskedTopic, askingTask } from "./asking.ts";
import { defineTask, developmentSeeds } from "./definition.ts";

const syllables = [..."bdfgjklmnprstvwz"].flatMap((consonant) => [..."aeiou"].map((vowel) => consonant + vowel));
/** A word is two syllables and an ending; words of a range begin with the same few syllables, which no other has. */
const endings = ["", "n", "s", "r", "l"];

const mostTopics = 20;
const firsts = Math.floor(syllables.length / mostTopics);
const rangeSize = firsts * syllables.length * endings.length;
const mostPairs = rangeSize / 2;

/** Word number `index` of a topic's range. */
function word(topic: number, index: number): string {
  const first = topic * firsts + (index % firsts);
  const second = Math.floor(index / firsts) % syllables.length;
  return syllables[first] + syllables[second] + endings[Math.floor(index / firsts / syllables.length)];
}

const options = z.object({
  topics: z.int().min(1).max(mostTopics).default(5).describe("topics, each with a range of words of its own"),
  pairs: z.int().min(1).max(mostPairs).default(100).describe("pairs of words per topic"),
  dataSeed: z.int().min(0).default(0).describe("seed of the words"),
});

/** Topics of pairs of words. */
export function tokensTask({ topics, pairs, dataSeed }: z.output<typeof options>): AskingTask {
  if (topics > mostTopics || pairs > mostPairs)
    throw new UserError(
      `tokens: expected at most ${mostTopics} topics of ${mostPairs} pairs, got ${topics} of ${pairs}; ask for less`,
    );
  const all = Array.from({ length: topics }, (_, t): AskedTopic => {
    const name = `range ${t + 1}`;
    // One draw without repeats: no word is a question and an answer, or two answers.
    const words = [...randomStream(dataSeed, "tokens", t).permutation(rangeSize)].map((index) => word(t, index));
    const drawn = Array.from({ length: pairs }, (_, i) => ({ question: words[2 * i], answer: words[2 * i + 1] }));
    return {
      name,
      documents: drawn.map(({ question, answer }, i) => {
        return { id: `tokens-${t + 1}-${i + 1}`, text: answeredQuestion(question, answer), topic: name };
      }),
      questions: drawn.map(({ question, answer }, i) => {
        return { id: `tokens-${t + 1}-${i + 1}`, query: { text: question, topic: name }, answers: [answer] };
      }),
    };
  });
  return askingTask({
    name: "tokens",
    topics: all,
    protocol:
      "exactMatch: free greedy answer equal to the learned word, asked as it was learned; " +
      "tokenAccuracy: tokens of the word that are the first choice under teacher forcing",
    async evaluate(method, questions, { signal, maxTokens }) {
      const { exactMatch } = await askAll(method, questions, { signal, maxTokens });
      return { exactMatch, tokenAccuracy: await tokenAccuracy(method, questions, { signal }) };
    },
  });
}

export const tokens = defineTask({
  name: "tokens",
  summary: "pairs of made-up words, a range of words per topic: the fast test of forgetting",
  options,
  stream: { option: "dataSeed", development: developmentSeeds },
  create: async (given) => tokensTask(given),
});
