/** The tables of docs/larimar.md, from the results that `sh results/larimar.sh` left in results/larimar/. */
import { formatScore } from "../src/eval/format.ts";
import { type EvalResult, markdown, spread } from "./markdown-tables.ts";

/** Results by the names of their files. */
export type NamedResults = Readonly<Record<string, EvalResult>>;

interface Group {
  /** What its files begin with; the rest is the row's name. */
  readonly prefix: string;
  /** Names of scores. */
  readonly scores: readonly string[];
  /** Digits after the point. */
  readonly digits?: number;
}

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
  "larimar-zsre": { prefix: "zsre-", scores: ["efficacy", "paraphrase", "neighbourhood", "paraphraseF1"] },
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

/** A row for each file of a group, in order of names and the numbers in them; null where there is none. */
function tableOf({ prefix, scores, digits = 3 }: Group, results: NamedResults): string | null {
  const names = Object.keys(results)
    .filter((name) => name.startsWith(prefix))
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const shown = scores.filter((score) => names.some((name) => (results[name].metrics[score] ?? null) !== null));
  if (shown.length === 0) return null;
  return markdown(
    ["", "seeds", ...shown],
    names.map((name) => {
      const { metrics, intervals, seeds } = results[name];
      return [
        name.slice(prefix.length).replaceAll("-", " "),
        String(seeds.length),
        ...shown.map((score) =>
          spread(metrics[score] ?? null, intervals[score] ?? null, (value) => formatScore(value, digits)),
        ),
      ];
    }),
  );
}

/** By the names of their markers. */
export const larimarTables: Readonly<Record<string, (results: NamedResults) => string | null>> = Object.fromEntries(
  Object.entries(groups).map(([name, group]) => [name, (results: NamedResults) => tableOf(group, results)]),
);
