/** The tables of docs/larimar.md, from the results that `sh results/larimar.sh` left in results/larimar/. */
import { type Group, groupTable, type NamedResults } from "./group-tables.ts";

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

/** By the names of their markers. */
export const larimarTables: Readonly<Record<string, (results: NamedResults) => string | null>> = Object.fromEntries(
  Object.entries(groups).map(([name, group]) => [name, (results: NamedResults) => groupTable(group, results)]),
);
