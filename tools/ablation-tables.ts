/**
 * The tables of what each part of bank compression is worth, from what `sh results/bank-ablations.sh` left: for a variant
 * NAME, NAME.json is what its fit said last, NAME-full.json and NAME-residual.json are its evaluations.
 */
import { formatCount, formatPercent, formatScore } from "../src/eval/format.ts";
import { absent, type NamedResults, scoreOf } from "./group-tables.ts";
import { markdown } from "./markdown-tables.ts";

/** The last line of `mneme fit bank-compression --json`, as far as tables need it. */
export interface FitLine {
  readonly command: "fit";
  readonly options: Readonly<Record<string, unknown>>;
  readonly measured: Readonly<Record<string, number>>;
}

export interface Ablations {
  readonly fits: Readonly<Record<string, FitLine>>;
  readonly results: NamedResults;
}

/** In the order of the script; words, and the row. */
const variants: readonly (readonly [words: string, row: string])[] = [
  ["reference: averages, from data, with reset", "reference"],
  ["without reset", "no-reset"],
  ["from random numbers", "random"],
  ["from random numbers, without reset", "random-no-reset"],
  ["by gradient", "gradient"],
  ["by gradient, without reset", "gradient-no-reset"],
  ["by gradient, from random numbers", "gradient-random"],
  ["by gradient, from random numbers, without reset", "gradient-random-no-reset"],
  ["no adapters", "no-adapters"],
  ["128 codes", "codes-128"],
  ["1,024 codes", "codes-1024"],
  ["T = 16", "slots-16"],
];

const f1Of = (results: NamedResults, row: string): string => (results[row] ? scoreOf(results[row], "f1") : absent);

/** A row for each variant that was fitted: F1 in full precision, which no quantisation touches, and through all codes. */
function variantTable({ fits, results }: Ablations): string | null {
  const rows = variants.flatMap(([words, row]) => {
    const fit = fits[row];
    if (!fit) return [];
    const shown = (name: string, show: (value: number) => string): string =>
      fit.measured[name] === undefined ? absent : show(fit.measured[name]);
    const { codes } = fit.options;
    return [
      [
        words,
        f1Of(results, `${row}-full`),
        f1Of(results, `${row}-residual`),
        shown("quantisation loss", (value) => formatScore(value, 4)),
        shown("least codes used", (value) => formatPercent(1 - value, 1)),
        shown("least perplexity", (value) => `${formatScore(value, 1)} of ${formatCount(Number(codes))}`),
      ],
    ];
  });
  const head = ["", "f1, no quantisation", "f1, residual codes", "quantisation loss", "dead codes", "least perplexity"];
  return rows.length === 0 ? null : markdown(head, rows);
}

/** The same module read with fewer of its codes, up to none left out, and without quantisation. */
function depthTable({ results }: Ablations): string | null {
  const depths = Object.keys(results)
    .flatMap((name) => /^reference-depth-(\d+)$/.exec(name)?.[1] ?? [])
    .toSorted((a, b) => Number(a) - Number(b));
  if (depths.length === 0) return null;
  const rows = [
    ...depths.map((depth) => [depth, f1Of(results, `reference-depth-${depth}`)]),
    ["all", f1Of(results, "reference-residual")],
    ["no quantisation", f1Of(results, "reference-full")],
  ];
  return markdown(["residual codes", "f1"], rows);
}

/** By the names of their markers. */
export const ablationTables: Readonly<Record<string, (ablations: Ablations) => string | null>> = {
  "bank-ablations": variantTable,
  "bank-ablation-depths": depthTable,
};
