/** The tables of docs/larimar.md, from the results and latencies that `sh results/larimar.sh` left in results/larimar/. */
import { z } from "zod";
import { formatCount, formatScore } from "../src/eval/format.ts";
import { type Group, groupTable, type NamedResults, type Naming } from "./group-tables.ts";
import { markdown } from "./markdown-tables.ts";

/** Rows as people read them, in the order in which they stand; others are called as their files. */
const rowNames: Readonly<Record<string, string>> = {
  larimar: "Larimar",
  default: "Larimar, default threshold",
  sequence: "Larimar, in sequence",
  "no-names": "without names",
  "no-rephrasings": "no rephrasings written",
  "no-scope": "no scope detector",
  nearest: "1-nearest-neighbour store",
  reference: "random reference memory",
  recursive: "recursive reading",
  text: "the text alone",
  none: "no memory",
  "in-context": "in-context",
  rag: "retrieval",
};

/** "256-rag": a number, if it begins with one, and what else it says. */
function rowOf(name: string): { count: number | undefined; kind: string } {
  const [, count, kind] = /^(\d*)-?(.*)$/.exec(name) as RegExpExecArray;
  return { count: count === "" ? undefined : Number(count), kind };
}

const titleOf = (name: string): string => {
  const { count, kind } = rowOf(name);
  const title = rowNames[kind] ?? kind.replaceAll("-", " ").replace(/\d+/g, (digits) => formatCount(Number(digits)));
  return count === undefined ? title : [formatCount(count), title].filter((part) => part !== "").join(" ");
};

/** By number, then in the order of the names above; what has no number stands last. */
function inOrder(a: string, b: string): number {
  const [one, other] = [rowOf(a), rowOf(b)];
  const order = Object.keys(rowNames);
  const placeOf = (kind: string): number => (order.includes(kind) ? order.indexOf(kind) : -1);
  return (
    (one.count ?? Number.MAX_VALUE) - (other.count ?? Number.MAX_VALUE) ||
    placeOf(one.kind) - placeOf(other.kind) ||
    a.localeCompare(b, "en", { numeric: true })
  );
}

const naming: Naming = { titleOf, compare: inOrder };

const groups: Readonly<Record<string, Group>> = {
  "larimar-single": {
    prefix: "single-",
    scores: ["efficacy", "paraphrase", "neighbourhood", "portability", "unknown"],
  },
  "larimar-counterfact": {
    prefix: "counterfact-",
    scores: ["efficacy", "paraphrase", "neighbourhood", "efficacyScore", "paraphraseScore", "neighbourhoodScore"],
  },
  "larimar-counterfact-base": {
    prefix: "counterfact-",
    scores: ["efficacyScoreBase", "paraphraseScoreBase", "neighbourhoodScoreBase"],
    only: ["larimar", "rag"],
  },
  "larimar-counterfact-magnitude": {
    prefix: "counterfact-",
    scores: [
      "efficacyMagnitude",
      "paraphraseMagnitude",
      "neighbourhoodMagnitude",
      "efficacyTokens",
      "paraphraseTokens",
    ],
  },
  "larimar-zsre": {
    prefix: "zsre-",
    scores: ["efficacy", "efficacyF1", "paraphrase", "paraphraseF1", "neighbourhood", "efficacyTokens"],
  },
  "larimar-sequence": { prefix: "sequence-", scores: ["acc", "f1", "exactMatch", "efficacy"] },
  "larimar-batch": { prefix: "batch-", scores: ["efficacy", "exactMatch", "f1"] },
  "larimar-forgetting": {
    prefix: "forgetting-",
    scores: ["forgottenWritten", "forgotten", "forgottenNever", "sameAsNever", "retained", "retainedSame"],
  },
  "larimar-unknown": { prefix: "forgetting-", scores: ["forgottenUnknown", "retainedUnknown", "saysUnknown"] },
  "larimar-attack": {
    prefix: "forgetting-",
    scores: ["attackWritten", "attackForgotten", "attackUnknown", "attackNever"],
  },
  "larimar-context": { prefix: "context-", scores: ["exactMatch", "f1"] },
  "larimar-text": {
    prefix: "text-",
    scores: ["perplexityBase", "perplexity", "generatedPerplexityBase", "generatedPerplexity"],
    digits: 1,
  },
};

const median = z.object({ median: z.number() });
const ratio = z.object({ value: z.number() });
/** The last line of `mneme bench larimar --json`, as far as its table needs it. */
export const benchSchema = z.object({
  writeForgetMs: z.object({ writeMs: median, forgetMs: median }),
  writeGrowth: ratio,
  editSpeedup: ratio.extend({ editMs: median, receiptMs: median, finetuneMs: median, finetuneSteps: median }),
  smallEditSpeedup: ratio.extend({ lora: z.number(), editMs: median, finetuneMs: median, loraMs: median }),
});
export type LarimarBench = z.output<typeof benchSchema>;

const milliseconds = ({ median: value }: { median: number }): string =>
  `${value >= 1000 ? formatCount(Math.round(value)) : formatScore(value, 1)} ms`;
const times = (value: number): string =>
  `×${value >= 100 ? formatCount(Math.round(value)) : formatScore(value, value < 2 ? 2 : 1)}`;

/** Latencies beside their aims. */
export function latencyTable(bench: LarimarBench | undefined): string | null {
  if (!bench) return null;
  const { writeForgetMs, writeGrowth, editSpeedup, smallEditSpeedup } = bench;
  return markdown(
    ["", "measured", "aim"],
    [
      ["one write into a memory (K = 512, C = 768)", milliseconds(writeForgetMs.writeMs), "10 ms at most"],
      ["one forget", milliseconds(writeForgetMs.forgetMs), "10 ms at most"],
      ["a write with 100,000 facts held, over one with 10", times(writeGrowth.value), "×1.3 at most"],
      ["`edit` without receipt, mneme-base", milliseconds(editSpeedup.editMs), ""],
      ["its receipt", milliseconds(editSpeedup.receiptMs), ""],
      [
        `fine-tuning until the question is answered (${editSpeedup.finetuneSteps.median} steps)`,
        milliseconds(editSpeedup.finetuneMs),
        "",
      ],
      ["fine-tuning over `edit`", times(editSpeedup.value), "×10 at least"],
      ["`edit`, shape of GPT-2 small, random weights", milliseconds(smallEditSpeedup.editMs), ""],
      ["25 steps of full fine-tuning over it", times(smallEditSpeedup.value), "×50 at least"],
      ["25 steps of LoRA over it", times(smallEditSpeedup.lora), "×20 at least"],
    ],
  );
}

/** By the names of their markers. */
export const larimarTables: Readonly<Record<string, (results: NamedResults) => string | null>> = Object.fromEntries(
  Object.entries(groups).map(([name, group]) => [
    name,
    (results: NamedResults) => groupTable(group, results, { naming }),
  ]),
);
