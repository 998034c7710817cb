/**
 * Writes the measured numbers into the pages: `npm run results`. Reads what the scripts in results/ have left there and
 * rewrites the tables of the READMEs, docs/results.md, docs/larimar.md and docs/bank-compression.md between their marker
 * lines; prose stays. With `--check` nothing is written, and a page that says anything else than the files is an error.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeFileAtomic } from "../src/checkpoint/files.ts";
import { parseCsv } from "../src/eval/csv.ts";
import { methods } from "../src/methods/index.ts";
import type { Ablations, FitLine } from "./ablation-tables.ts";
import type { BankBench } from "./bank-tables.ts";
import type { NamedResults } from "./group-tables.ts";
import { benchSchema } from "./larimar-tables.ts";
import type { EvalResult } from "./markdown-tables.ts";
import { type CsvRow, fillPage, type Language, type Measured } from "./results-tables.ts";

const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
const root = fileURLToPath(new URL("..", import.meta.url));
const pages: readonly (readonly [path: string, language: Language])[] = [
  ["README.md", "en"],
  ["README.zh-CN.md", "zh"],
  ["docs/results.md", "en"],
  ["docs/larimar.md", "en"],
  ["docs/bank-compression.md", "en"],
];
const order = Object.keys(methods);
const placeOf = (label: string): number => order.indexOf(label.split(", ")[0]);

/** Rows of a CSV file in the order of the methods; none where the file is not there. */
function rowsOf(path: string): CsvRow[] {
  if (!existsSync(join(root, path))) return [];
  const { columns, rows } = parseCsv(readFileSync(join(root, path), "utf8"));
  return rows
    .map((row): CsvRow => Object.fromEntries(columns.map((column, i) => [column, row[i]])))
    .toSorted((a, b) => placeOf(a.method) - placeOf(b.method));
}

/** The JSON files of a folder by their names. */
const jsonIn = (folder: string): [string, unknown][] =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith(".json"))
    .map((file) => [basename(file, ".json"), JSON.parse(readFileSync(join(root, folder, file), "utf8"))]);

/** Results of `mneme eval` in a folder, by the names of their files. */
function namedResults(folder: string): NamedResults {
  if (!existsSync(join(root, folder))) return {};
  return Object.fromEntries(
    jsonIn(folder).filter(
      (entry): entry is [string, EvalResult] => (entry[1] as Partial<EvalResult>).task !== undefined,
    ),
  );
}

/** What fits of a folder said last, by the names of their files. */
function namedFits(folder: string): Ablations["fits"] {
  if (!existsSync(join(root, folder))) return {};
  return Object.fromEntries(
    jsonIn(folder).filter((entry): entry is [string, FitLine] => (entry[1] as Partial<FitLine>).command === "fit"),
  );
}

/** The same by task and method. */
function resultsIn(folder: string): EvalResult[] {
  return Object.values(namedResults(folder)).toSorted(
    (a, b) => a.task.localeCompare(b.task, "en") || placeOf(a.method) - placeOf(b.method),
  );
}

/** What a benchmark said, if it is there. */
const benchOf = (path: string): unknown =>
  existsSync(join(root, path)) ? JSON.parse(readFileSync(join(root, path), "utf8")) : undefined;

const measured: Measured = {
  methods: rowsOf("results/world-topics/methods.csv"),
  shares: { methods: rowsOf("results/replay-share/methods.csv"), runs: rowsOf("results/replay-share/runs.csv") },
  signs: rowsOf("results/world-topics/signs.csv"),
  equalLearning: rowsOf("results/sweeps/equal-learning.csv"),
  tasks: resultsIn("results/public"),
  larimar: namedResults("results/larimar"),
  larimarBench: benchSchema.optional().parse(benchOf("results/larimar/bench.json")),
  bank: { results: namedResults("results/bank"), bench: benchOf("results/bank/bench.json") as BankBench | undefined },
  ablations: { fits: namedFits("results/bank-ablations"), results: namedResults("results/bank-ablations") },
};
for (const [path, language] of pages) {
  const before = readFileSync(join(root, path), "utf8");
  const { page, missing } = fillPage(before, measured, language);
  for (const table of missing) console.log(`${path}: left out ${table}, which has not been measured`);
  if (page === before) continue;
  if (values.check) {
    console.error(`${path} does not say what results/ says; run npm run results`);
    process.exitCode = 1;
    continue;
  }
  await writeFileAtomic(join(root, path), page);
  console.log(`wrote ${path}`);
}
