/**
 * From measured files to the tables of the pages: CSV tables of `mneme report` and results of `mneme eval` in, Markdown
 * out. Pure functions; results.ts reads the files and writes the pages.
 * A table stands between the lines `<!-- table NAME -->` and `<!-- /table -->`, with empty lines around it, as a comment
 * beside a row would end a table.
 */
import { equalLearningAt } from "../src/eval/comparison.ts";
import { formatCount, formatScore } from "../src/eval/format.ts";
import { interval95 } from "../src/eval/interval.ts";
import type { Cell } from "../src/eval/metrics.ts";
import { type Ablations, ablationTables } from "./ablation-tables.ts";
import { bankTables, type MeasuredBank } from "./bank-tables.ts";
import type { NamedResults } from "./group-tables.ts";
import { type LarimarBench, larimarTables, latencyTable } from "./larimar-tables.ts";
import { type EvalResult, markdown, type Show, spread } from "./markdown-tables.ts";

export type Language = "en" | "zh";
type Words = Readonly<Record<Language, string>>;
/** A row of a CSV file by the names of its columns. */
export type CsvRow = Readonly<Record<string, string>>;

/** Whatever has been measured; parts that are not there are empty. */
export interface Measured {
  /** methods.csv and signs.csv of the main stream. */
  readonly methods: readonly CsvRow[];
  /** methods.csv and runs.csv of full fine-tuning beside replay of several shares. */
  readonly shares: { readonly methods: readonly CsvRow[]; readonly runs: readonly CsvRow[] };
  readonly signs: readonly CsvRow[];
  /** equal-learning.csv of the sweep. */
  readonly equalLearning: readonly CsvRow[];
  /** Public data: task by task, in the order in which the methods shall stand. */
  readonly tasks: readonly EvalResult[];
  readonly larimar: NamedResults;
  readonly larimarBench?: LarimarBench;
  readonly bank: MeasuredBank;
  readonly ablations?: Ablations;
}

interface Column {
  readonly key: string;
  readonly title: Words;
  readonly show: Show;
}

const fixed =
  (digits: number): Show =>
  (value) =>
    formatScore(value, digits);
const score = fixed(2);
const mega = (value: number): string => formatScore(value / 1e6, 2);
const times = (value: number): string => `×${formatScore(value, 2)}`;
const percent = (share: number): string => `${formatScore(100 * share, 0)}%`;
/** A factor that may be far from 1: three digits that say something. */
const factor = (value: number): string => {
  const size = Math.abs(value);
  return size >= 100 ? formatCount(Math.round(value)) : formatScore(value, size >= 10 ? 1 : 2);
};
/** The same name in both languages. */
const name = (text: string): Words => ({ en: text, zh: text });

const method: Words = { en: "method", zh: "方法" };
const columns = {
  nar: { key: "nar", title: name("NAR"), show: score },
  rkr: { key: "rkr", title: name("RKR"), show: score },
  cer: { key: "cer", title: name("CER"), show: factor },
  baseRetention: { key: "baseRetention", title: { en: "base retention", zh: "基座保持" }, show: score },
  hypervolume: { key: "hypervolume", title: { en: "hypervolume", zh: "超体积" }, show: score },
  forgetting: { key: "forgetting", title: { en: "forgetting", zh: "遗忘" }, show: score },
  seconds: { key: "seconds", title: { en: "seconds", zh: "秒" }, show: fixed(1) },
  bytes: { key: "bytes", title: name("MB"), show: mega },
} satisfies Record<string, Column>;

const mainColumns: readonly Column[] = [
  columns.nar,
  columns.rkr,
  columns.cer,
  columns.baseRetention,
  columns.hypervolume,
  columns.forgetting,
  columns.seconds,
  columns.bytes,
];

const keptColumns: readonly Column[] = [
  { key: "probeRatios.knownWorld", title: { en: "world 0, after / before", zh: "世界 0，之后/之前" }, show: score },
  {
    key: "probeRatios.admitsUnknown",
    title: { en: "its gaps admitted, after / before", zh: "承认其空白，之后/之前" },
    show: score,
  },
  {
    key: "probeRatios.validationText",
    title: { en: "bits per byte of prose, after / before", zh: "散文每字节比特，之后/之前" },
    show: score,
  },
  { key: "longTail", title: { en: "told once", zh: "只说一次" }, show: score },
  { key: "twoHop", title: { en: "over two facts", zh: "跨两条事实" }, show: score },
];

const costColumns: readonly Column[] = [
  columns.seconds,
  { key: "tokens", title: { en: "thousand tokens learned from", zh: "学习的千词元" }, show: (n) => fixed(1)(n / 1e3) },
  { key: "flops", title: name("TFLOP"), show: (n) => fixed(2)(n / 1e12) },
  { key: "bytes", title: { en: "MB added", zh: "增加的 MB" }, show: mega },
  { key: "bytesPerDocument", title: { en: "kB per document", zh: "每篇文档 kB" }, show: (n) => fixed(1)(n / 1e3) },
  { key: "peakMB", title: { en: "peak MB", zh: "峰值 MB" }, show: (n) => formatCount(Math.round(n)) },
];

const signColumns: readonly Column[] = [
  { key: "driftFirst", title: { en: "distance, first topic", zh: "距离，第一主题后" }, show: score },
  { key: "driftEnd", title: { en: "distance, last topic", zh: "距离，最后主题后" }, show: score },
  { key: "driftGrowth", title: { en: "last / first", zh: "最后/第一" }, show: times },
  { key: "entropyGrowth", title: { en: "attention entropy, after / before", zh: "注意力熵，之后/之前" }, show: times },
  { key: "entropyGrowthMost", title: { en: "most in a layer", zh: "单层最大" }, show: times },
  { key: "decayTau", title: { en: "decay: tau in topics", zh: "衰减：tau（主题）" }, show: fixed(1) },
  { key: "decayR2", title: name("R²"), show: score },
  { key: "decayPoints", title: { en: "points", zh: "点数" }, show: fixed(0) },
];
/** What was claimed elsewhere about these signs. */
const claimed: Readonly<Record<string, Words>> = {
  driftGrowth: { en: "×4 (+300%)", zh: "×4（+300%）" },
  entropyGrowth: name("×2-3"),
  decayTau: { en: "exponential", zh: "指数" },
};

/** A number of a CSV row; null where the field is empty or the column is not there. */
function numberIn(row: CsvRow, key: string): Cell {
  const text = row[key] ?? "";
  return text === "" ? null : Number(text);
}

const cellOf = (row: CsvRow, { key, show }: Column): string =>
  spread(numberIn(row, key), numberIn(row, `${key}±95`), show);

/** "lora, rank 8": the method as code, and what tells it from its other settings. */
const nameOf = (label: string): string => label.replace(/^[^,]+/, "`$&`");

const sharePattern = /, share ([\d.]+)(?=,|$)/;
const shareOf = (label: string): number | null => {
  const [, share] = sharePattern.exec(label) ?? [];
  return share === undefined ? null : Number(share);
};

/** Rows of a CSV table by its columns; columns without any number are left out. Null without rows or columns. */
function byColumns(rows: readonly CsvRow[], wanted: readonly Column[], language: Language): string | null {
  const shown = wanted.filter(({ key }) => rows.some((row) => numberIn(row, key) !== null));
  if (shown.length === 0) return null;
  return markdown(
    [method[language], ...shown.map(({ title }) => title[language])],
    rows.map((row) => [nameOf(row.method), ...shown.map((column) => cellOf(row, column))]),
  );
}

/** Plain fine-tuning and replay of growing shares; the cut is taken in each seed's own world, then averaged. */
function replayShare({ shares: { methods, runs } }: Measured, language: Language): string | null {
  const plain = methods.find((row) => row.method === "finetune");
  const curve = methods
    .filter((row) => shareOf(row.method) !== null)
    .toSorted((a, b) => Number(shareOf(a.method)) - Number(shareOf(b.method)));
  if (!plain || curve.length === 0) return null;
  const forgotten = (label: string): Map<string, Cell> =>
    new Map(
      runs.flatMap((run) => (run.method === label ? [[run.seed, numberIn(run, columns.forgetting.key)] as const] : [])),
    );
  const before = forgotten(plain.method);
  const cut = (label: string): string => {
    const cuts = [...forgotten(label)].map(([seed, now]) => {
      const was = before.get(seed) ?? null;
      return was === null || now === null || was <= 0 ? null : 1 - now / was;
    });
    const interval = interval95(cuts);
    return spread(interval?.mean ?? null, interval?.half ?? null, percent);
  };
  const shown = [columns.forgetting, columns.rkr, columns.nar];
  const heads: Words[] = [
    { en: "replayed share of a batch", zh: "批次中重放的份额" },
    { en: "forgetting", zh: "遗忘" },
    { en: "cut", zh: "减少" },
    columns.rkr.title,
    columns.nar.title,
  ];
  return markdown(
    heads.map((title) => title[language]),
    [plain, ...curve].map((row) => {
      const [first, ...rest] = shown.map((column) => cellOf(row, column));
      const share = shareOf(row.method);
      const otherOptions = row.method.replace(/^[^,]*/, "").replace(sharePattern, "");
      return [`${percent(share ?? 0)}${otherOptions}`, first, share === null ? "–" : cut(row.method), ...rest];
    }),
  );
}

/** Methods whose hidden states moved, under a row of what was claimed. */
function signs({ signs: all }: Measured, language: Language): string | null {
  const rows = all.filter((row) => numberIn(row, "driftGrowth") !== null);
  if (rows.length === 0) return null;
  const published = { en: "*published claim*", zh: "*已发表的说法*" }[language];
  return markdown(
    [method[language], ...signColumns.map(({ title }) => title[language])],
    [
      [published, ...signColumns.map(({ key }) => claimed[key]?.[language] ?? "")],
      ...rows.map((row) => [nameOf(row.method), ...signColumns.map((column) => cellOf(row, column))]),
    ],
  );
}

const at = `@${equalLearningAt}`;

/** What is left where each method has learned equally much; the range of what its settings learned says why a row is empty. */
function equalLearning({ equalLearning: rows }: Measured, language: Language): string | null {
  if (rows.length === 0) return null;
  const shown = [columns.rkr, columns.baseRetention, columns.seconds];
  const learned = { en: "NAR of its settings", zh: "各设置的 NAR" }[language];
  const point = percent(equalLearningAt);
  return markdown(
    [
      method[language],
      { en: "settings", zh: "设置数" }[language],
      learned,
      ...shown.map(({ title }) => ({ en: `${title.en} at ${point}`, zh: `${point} 时${title.zh}` })[language]),
    ],
    rows.map((row) => [
      nameOf(row.method),
      row.settings,
      `${spread(numberIn(row, "leastNar"), null, score)}-${spread(numberIn(row, "mostNar"), null, score)}`,
      ...shown.map(({ key, show }) => cellOf({ ...row }, { key: `${key}${at}`, title: name(key), show })),
    ]),
  );
}

/** Each method at the setting with the largest NAR times RKR. */
function ownBest({ equalLearning: all }: Measured, language: Language): string | null {
  const rows = all.filter(({ best }) => (best ?? "") !== "");
  if (rows.length === 0) return null;
  const shown = [columns.nar, columns.rkr, columns.baseRetention];
  return markdown(
    [method[language], { en: "best setting", zh: "最佳设置" }[language], ...shown.map(({ title }) => title[language])],
    rows.map((row) => [
      nameOf(row.method),
      row.settings === "1" ? "–" : row.best,
      ...shown.map(({ key, show }) => cellOf(row, { key: `best.${key}`, title: name(key), show })),
    ]),
  );
}

/** Numbers of every run; what is left of a result's metrics are the task's own scores. */
const general = new Set(["acc", "bwt", "fwt", "forgetting", "rkr", "nar", "cer", "baseRetention"]);
const ownScores = ({ metrics }: EvalResult): string[] =>
  Object.keys(metrics).filter((key) => !general.has(key) && !key.startsWith("probeRatios."));
/** Scores for which the right answer is given token by token: never beside free answers. */
const isForced = (key: string): boolean => /tokens$|^tokenAccuracy$/i.test(key);

/** A task of public data: its own scores at the end of the stream, those under teacher forcing apart. */
function taskTables(results: readonly EvalResult[], language: Language): string {
  const [{ task, protocol }] = results;
  const names = [...new Set(results.flatMap(ownScores))];
  const table = (keys: readonly string[], more: readonly Column[]): string =>
    markdown(
      [method[language], ...keys, ...more.map(({ title }) => title[language])],
      results.map((result) => [
        nameOf(result.method),
        ...keys.map((key) => spread(result.metrics[key] ?? null, result.intervals[key] ?? null, score)),
        ...more.map(({ key, show }) => {
          const found = key in result.metrics ? result.metrics : result.cost;
          return spread(found[key] ?? null, result.intervals[key] ?? null, show);
        }),
      ]),
    );
  const forced = names.filter(isForced);
  const free = names.filter((key) => !isForced(key));
  const under = { en: "Under teacher forcing, shares of right tokens:", zh: "在教师强制下，正确词元的份额：" }[
    language
  ];
  const protocols = new Set(results.map((result) => result.protocol));
  if (protocols.size > 1) throw new Error(`results: ${task} was scored by ${protocols.size} protocols; run it again`);
  return [
    `**\`${task}\`.** ${protocol[0].toUpperCase()}${protocol.slice(1)}.`,
    table(free, [columns.forgetting, columns.nar, columns.rkr, columns.seconds, columns.bytes]),
    ...(forced.length > 0 ? [under, table(forced, [])] : []),
  ].join("\n\n");
}

function tasks({ tasks: all }: Measured, language: Language): string | null {
  const found = [...new Set(all.map(({ task }) => task))];
  if (found.length === 0) return null;
  return found
    .map((task) =>
      taskTables(
        all.filter((one) => one.task === task),
        language,
      ),
    )
    .join("\n\n");
}

/** Every table by the name that its marker has; null where its numbers are not there. */
export const tables: Readonly<Record<string, (measured: Measured, language: Language) => string | null>> = {
  methods: ({ methods }, language) => byColumns(methods, mainColumns, language),
  kept: ({ methods }, language) => byColumns(methods, keptColumns, language),
  costs: ({ methods }, language) => byColumns(methods, costColumns, language),
  "replay-share": replayShare,
  signs,
  "equal-learning": equalLearning,
  "own-best": ownBest,
  tasks,
  ...Object.fromEntries(
    Object.entries(larimarTables).map(([name, table]) => [name, ({ larimar }: Measured) => table(larimar)]),
  ),
  "larimar-latency": ({ larimarBench }) => latencyTable(larimarBench),
  ...Object.fromEntries(Object.entries(bankTables).map(([name, table]) => [name, ({ bank }: Measured) => table(bank)])),
  ...Object.fromEntries(
    Object.entries(ablationTables).map(([name, table]) => [
      name,
      ({ ablations = { fits: {}, results: {} } }: Measured) => table(ablations),
    ]),
  ),
};

const empty: Words = { en: "*Not measured yet.*", zh: "*尚未测量。*" };

/** A page with all its tables written anew, and the names of those whose numbers are not there. Prose stays as it is. */
export function fillPage(page: string, measured: Measured, language: Language): { page: string; missing: string[] } {
  const missing: string[] = [];
  const opened = page.match(/^<!-- table .*-->$/gm)?.length ?? 0;
  let filled = 0;
  const text = page.replaceAll(
    /^(<!-- table (\S+) -->)\n(?:(?!<!-- table )[\s\S])*?^(<!-- \/table -->)$/gm,
    (_, open: string, table: string, close: string) => {
      if (!Object.hasOwn(tables, table)) {
        throw new Error(`results: there is no table ${table}; there are ${Object.keys(tables).join(", ")}`);
      }
      filled++;
      const made = tables[table](measured, language);
      if (made === null) missing.push(table);
      return `${open}\n\n${made ?? empty[language]}\n\n${close}`;
    },
  );
  if (filled !== opened) throw new Error("results: a line <!-- table NAME --> is not followed by <!-- /table -->");
  return { page: text, missing };
}
