/**
 * A stream of sentence classification sets, learned with label words. A sentence is learned as
 * `<text>\nLabel: <word>\n` and classified by which label word is likeliest after `<text>\nLabel:`.
 * Sets with an official test part keep it (its dev part is left out); of the others a seeded fifth is held out.
 * No sentence that is scored is ever learned, in whatever set it stands; sets that share most sentences never meet.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readTextFile, type TextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import type { Query } from "../../methods/method.ts";
import { randomStream } from "../../tensor/random.ts";
import { type AskedQuestion, type AskingTask, meanOf } from "../questions.ts";
import { askingTask } from "./asking.ts";
import { dataOption, defineTask } from "./definition.ts";
import { parseRecords, parseWhole, sampleInOrder } from "./records.ts";

/** The default stream, in the order of learning. */
const defaultSets = ["sst2", "subj", "mpqa", "trec"];
/** Two sets that share a larger part of the smaller one's sentences are one set under two names. */
const mostShared = 0.5;
/** Held out of a set without a test part. */
const heldOutShare = 0.2;

/** Words for published label names that are codes. */
const labelWords: Readonly<Record<string, string>> = {
  DESC: "description",
  ENTY: "entity",
  ABBR: "abbreviation",
  HUM: "human",
  LOC: "location",
  NUM: "number",
};

export interface Sentence {
  readonly text: string;
  /** Index into the labels of its set. */
  readonly label: number;
  readonly split: "train" | "dev" | "test" | "all";
}

export interface SentenceSet {
  readonly name: string;
  /** Label words. */
  readonly labels: readonly string[];
  readonly sentences: readonly Sentence[];
}

const options = z.object({
  data: dataOption("folder with labels.json and one <set>.jsonl of text, label, split per set"),
  sets: z.array(z.string().min(1)).default(defaultSets).describe("names of the sets, in the order of learning"),
  limit: z.int().min(1).default(1000).describe("most sentences learned per set"),
  testLimit: z.int().min(1).default(200).describe("most sentences scored per set"),
  dataSeed: z.int().min(0).default(0).describe("seed of the choice of sentences"),
});

/** What makes two sentences the same: letters and digits, as sets differ in blanks, case and quotes. */
const keyOf = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || text;

/** Reads the named sets of a folder. */
export async function readSentenceSets(folder: string, names: readonly string[]): Promise<SentenceSet[]> {
  const info = await stat(folder).catch(() => undefined);
  if (!info?.isDirectory()) {
    const got = info ? "a file" : "nothing there";
    throw new UserError(`classify: expected a folder of sentence sets at ${folder}, got ${got}; name the folder`);
  }
  const labelFile = await readTextFile(join(folder, "labels.json"));
  const labelSchema = z.record(z.string(), z.array(z.string().trim().min(1)).min(2));
  const labels = parseWhole("classify", labelFile, labelSchema, (path) => path.map(String).join("."));
  return Promise.all(
    names.map(async (name) => {
      if (!Object.hasOwn(labels, name)) {
        const known = Object.keys(labels).join(", ");
        throw new UserError(`classify: expected sets among ${known} (labels.json), got ${name}; correct its name`);
      }
      const words = labels[name].map((label) => labelWords[label] ?? label.toLowerCase());
      return {
        name,
        labels: words,
        sentences: readSentences(await readTextFile(join(folder, `${name}.jsonl`)), words),
      };
    }),
  );
}

function readSentences(file: TextFile, labels: readonly string[]): Sentence[] {
  const most = labels.length - 1;
  const schema = z.strictObject({
    text: z.string().trim().min(1),
    label: z
      .int()
      .min(0)
      .max(most, `expected 0 to ${most}, as labels.json has ${most + 1} names`),
    split: z.enum(["train", "dev", "test", "all"]),
  });
  return parseRecords("classify", file, schema).map(({ value }) => value);
}

function refuseShared(sets: readonly SentenceSet[]): void {
  const keys = sets.map(({ sentences }) => new Set(sentences.map(({ text }) => keyOf(text))));
  for (const [i, set] of sets.entries()) {
    for (const [j, other] of sets.slice(0, i).entries()) {
      const shared = [...keys[i]].filter((key) => keys[j].has(key)).length;
      const least = Math.min(keys[i].size, keys[j].size);
      if (set.name !== other.name && shared <= mostShared * least) continue;
      throw new UserError(
        `classify: expected sets of different sentences, got ${other.name} and ${set.name}, which share ${shared} of ` +
          `${least} sentences; leave one out`,
      );
    }
  }
}

/** The stream of these sets. */
export function classifyTask(
  sets: readonly SentenceSet[],
  { limit, testLimit, dataSeed }: Pick<z.output<typeof options>, "limit" | "testLimit" | "dataSeed">,
): AskingTask {
  if (sets.length === 0) throw new UserError("classify: expected at least one set, got none; name the sets");
  refuseShared(sets);
  const parts = sets.map(({ name, sentences }) => {
    const random = randomStream(dataSeed, "classify", name);
    const seen = new Set<string>();
    const distinct = sentences.filter(({ text, split }) => {
      const key = keyOf(text);
      return split !== "dev" && !seen.has(key) && seen.add(key) !== undefined;
    });
    const official = distinct.some(({ split }) => split === "test");
    const fifth = new Set(sampleInOrder(distinct, Math.ceil(distinct.length * heldOutShare), random));
    const isHeldOut = (one: Sentence): boolean => (official ? one.split === "test" : fifth.has(one));
    const scored = sampleInOrder(distinct.filter(isHeldOut), testLimit, random);
    return { pool: distinct.filter((one) => !isHeldOut(one)), scored, random };
  });
  const kept = new Set(parts.flatMap(({ scored }) => scored.map(({ text }) => keyOf(text))));
  const topics = sets.map(({ name, labels }, s) => {
    const { pool, scored, random } = parts[s];
    const free = pool.filter(({ text }) => !kept.has(keyOf(text)));
    if (free.length === 0 || scored.length === 0) {
      throw new UserError(
        `classify: expected sentences to learn and to score in ${name}, got ${free.length} and ${scored.length}; ` +
          "give it more, or another split",
      );
    }
    return {
      name,
      documents: sampleInOrder(free, limit, random).map(({ text, label }, i) => {
        return { id: `${name}-${i + 1}`, text: `${text}\nLabel: ${labels[label]}\n`, topic: name };
      }),
      questions: scored.map(({ text, label }, i): AskedQuestion => {
        const query: Query = { text: `${text}\nLabel:`, form: "completion", topic: name };
        return { id: `${name}-test-${i + 1}`, query, answers: [labels[label]] };
      }),
    };
  });
  const labelsOf = new Map(sets.map(({ name, labels }) => [name, labels]));
  return askingTask({
    name: "classify",
    topics,
    metric: "accuracy",
    protocol:
      `accuracy: likeliest of the set's label words (${sets.map(({ labels }) => labels.join("/")).join("; ")}) after ` +
      "the sentence and 'Label:', on sentences never learned",
    async evaluate(method, questions, { signal }) {
      const labels = labelsOf.get(questions[0].query.topic as string) as readonly string[];
      const pairs = questions.flatMap(({ query }) => labels.map((answer) => ({ query, answer })));
      const rated = await method.rate(pairs, { signal });
      const right = questions.map(({ answers }, i): number => {
        const nats = labels.map((_, k) => rated[i * labels.length + k].nats);
        return labels[nats.indexOf(Math.min(...nats))] === answers[0] ? 1 : 0;
      });
      return { accuracy: meanOf(right) };
    },
  });
}

export const classify = defineTask({
  name: "classify",
  summary: "sentence classification sets one after another, answered with label words",
  options,
  stream: { option: "dataSeed" },
  create: async ({ data, sets, ...rest }) => classifyTask(await readSentenceSets(data, sets), rest),
});
