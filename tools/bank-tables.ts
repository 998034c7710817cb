/**
 * The tables of docs/bank-compression.md, from what `sh results/bank.sh` left in results/bank/: results by the names of
 * their files, and what `mneme bench bank` said.
 */
import { formatCount, formatPercent, formatScore } from "../src/eval/format.ts";
import { absent, type Extra, groupTable, type NamedResults, rowsOf, scoreOf } from "./group-tables.ts";
import { type EvalResult, markdown } from "./markdown-tables.ts";

interface Timed {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

interface BankKind {
  readonly kind: string;
  readonly depth?: number;
  readonly perDocument: number;
  readonly share: number;
  readonly bytes: Readonly<Record<string, number>>;
}

/** The last line of `mneme bench bank --json`, as far as tables need it; measures may be absent. */
export interface BankBench {
  readonly readGrowth?: {
    readonly value: number | null;
    readonly points?: readonly { readonly documents: number; readonly readMs: Timed }[];
    readonly naive?: { readonly documents: number; readonly ms: number; readonly difference: number };
  };
  readonly encodeMs?: { readonly value: number | null; readonly encodeMs?: Timed; readonly slotsMs?: Timed };
  readonly askMs?: {
    readonly value: number | null;
    readonly askMs?: Readonly<Record<string, Timed>>;
    readonly bareMs?: Timed;
  };
  readonly bytes?: {
    readonly value: number | null;
    readonly documents?: number;
    readonly moduleBytes?: number;
    readonly kinds?: readonly BankKind[];
    readonly papers?: readonly {
      readonly width: number;
      readonly slots: number;
      readonly kinds: readonly BankKind[];
    }[];
  };
}

export interface MeasuredBank {
  readonly results: NamedResults;
  readonly bench?: BankBench;
}

const count = (value: number): string => formatCount(Math.round(value));
const ms = ({ median, min, max }: Timed): string =>
  `${formatScore(median, 2)} (${formatScore(min, 2)}-${formatScore(max, 2)})`;
const nameOf = ({ kind, depth }: BankKind): string => (depth === undefined ? kind : `${kind}, depth ${depth}`);

const answered = ["f1", "exactMatch", "truncatedMatch"] as const;

/** Bits that the bank alone takes for a document: without the module, which the method's bytes have in them. */
function bitsOf({ bench }: MeasuredBank): Extra {
  const module = bench?.bytes?.moduleBytes;
  return {
    "bits per document": ({ method, cost: { bytes, bytesPerDocument } }) => {
      if (method !== "bank-compression" || module === undefined || !bytes || !bytesPerDocument) return absent;
      return count((8 * (bytes - module)) / (bytes / bytesPerDocument));
    },
  };
}

/** Bytes of the whole bank at the end, without the module. */
function bankBytes({ bench }: MeasuredBank): Extra {
  const module = bench?.bytes?.moduleBytes;
  return { "bytes of the bank": ({ cost: { bytes } }) => (module && bytes ? count(bytes - module) : absent) };
}

/** F1 in parts of that of another row. */
const shareOf = (title: string, of: EvalResult | undefined): Extra => {
  const whole = of?.metrics.f1;
  return {
    [title]: ({ metrics: { f1 } }) => (whole && typeof f1 === "number" ? formatPercent(f1 / whole, 1) : absent),
  };
};

/** The first column of R after each step, and what is left of its gain over nothing learned. */
function retention({ results }: MeasuredBank): string | null {
  const rows = rowsOf("retention-", results).filter(({ result }) => result.matrix !== undefined);
  if (rows.length === 0) return null;
  const steps = Math.max(...rows.map(({ result }) => result.matrix?.R.length ?? 0));
  const show = (value: number | null | undefined): string =>
    value === null || value === undefined ? absent : formatScore(value, 3);
  return markdown(
    ["", "nothing learned", ...Array.from({ length: steps }, (_, i) => `after ${count(200 * (i + 1))}`), "kept"],
    rows.map(({ row, result: { matrix } }) => {
      const first = (matrix?.R ?? []).map(([cell]) => cell);
      const before = matrix?.baseline?.[0] ?? null;
      const [start, end] = [first[0] ?? null, first[first.length - 1] ?? null];
      const kept =
        before === null || start === null || end === null || start <= before
          ? absent
          : formatPercent((end - before) / (start - before), 1);
      return [row.replaceAll("-", " "), show(before), ...Array.from({ length: steps }, (_, i) => show(first[i])), kept];
    }),
  );
}

/** Which part of the gain over the bare base comes with what; in words, and the row that has it. */
const verdictRows: readonly (readonly [words: string, row: string])[] = [
  ["the base alone", "control-none"],
  ["with the adapters, no memory", "control-adapters"],
  ["with the adapters and other documents' entries", "control-wrong-bank"],
  ["with permuted codes and keys", "control-permuted"],
  ["the memory, `mbc-residual`", "mode-residual"],
  ["the memory in full precision, `mac`, 4 entries", "mode-mac"],
  ["the memory as published, `mbc`", "mode-mbc"],
  ["the base with the one text that BM25 finds", "control-rag"],
  ["the base with the right text", "control-gold-context"],
  ["fine-tuned on the stream", "control-finetune"],
];

function verdict({ results }: MeasuredBank): string | null {
  const nothing = results["control-none"]?.metrics.f1 ?? null;
  const memory = results["mode-residual"]?.metrics.f1 ?? null;
  if (nothing === null || memory === null || memory <= nothing) return null;
  return markdown(
    ["", "seeds", "f1", "of the memory's gain"],
    verdictRows.flatMap(([words, row]) => {
      const result = results[row];
      const f1 = result?.metrics.f1 ?? null;
      if (f1 === null) return [];
      const gained = formatPercent((f1 - nothing) / (memory - nothing));
      return [[words, String(result.seeds.length), scoreOf(result, "f1"), row === "control-none" ? absent : gained]];
    }),
  );
}

/** Bytes of a document by part. */
function bytes({ bench }: MeasuredBank): string | null {
  const { kinds, documents } = bench?.bytes ?? {};
  if (kinds === undefined || documents === undefined) return null;
  const parts = ["indices", "keys", "ids", "times", "frames", "codebooks"];
  return markdown(
    ["", ...parts, "bytes per document", "of mac"],
    kinds.map((one) => [
      nameOf(one),
      ...parts.map((part) => formatScore((one.bytes[part] ?? 0) / documents, 1)),
      count(one.perDocument),
      formatPercent(one.share, 2),
    ]),
  );
}

/** Bytes per document at the widths of the papers; `mac` first, and what part of it the others are. */
function papers({ bench }: MeasuredBank): string | null {
  const widths = bench?.bytes?.papers ?? [];
  if (widths.length === 0) return null;
  return markdown(
    ["", ...widths.map(({ width, slots }) => `D ${count(width)}, T ${slots}`)],
    widths[0].kinds.map((first, i) => [
      nameOf(first),
      ...widths.map(({ kinds }) => `${count(kinds[i].perDocument)} (${formatPercent(kinds[i].share, 2)})`),
    ]),
  );
}

function costs({ bench }: MeasuredBank): string | null {
  const { readGrowth, encodeMs, askMs } = bench ?? {};
  const rows: string[][] = [];
  for (const { documents, readMs } of readGrowth?.points ?? [])
    rows.push([`read of \`mbc\` over ${count(documents)} documents`, ms(readMs)]);
  if (readGrowth?.naive) {
    const { documents, ms: took, difference } = readGrowth.naive;
    const apart = difference.toExponential(1);
    rows.push([`the same attention over the slots of ${count(documents)}`, `${formatScore(took, 1)}; ${apart} apart`]);
  }
  if (encodeMs?.encodeMs) rows.push(["a document of 128 tokens, with its key", ms(encodeMs.encodeMs)]);
  if (encodeMs?.slotsMs) rows.push(["of that its slots", ms(encodeMs.slotsMs)]);
  for (const [kind, took] of Object.entries(askMs?.askMs ?? {})) rows.push([`a question, \`${kind}\``, ms(took)]);
  if (askMs?.bareMs) rows.push(["a question, nothing in the bank", ms(askMs.bareMs)]);
  return rows.length === 0 ? null : markdown(["", "ms"], rows);
}

/** By the names of their markers. */
export const bankTables: Readonly<Record<string, (measured: MeasuredBank) => string | null>> = {
  "bank-modes": (all) =>
    groupTable({ prefix: "mode-", scores: [...answered, "baseRetention"] }, all.results, {
      extra: {
        ...bitsOf(all),
        ...shareOf("of gold context", all.results["control-gold-context"]),
      },
    }),
  "bank-online": ({ results }) => groupTable({ prefix: "online-", scores: answered }, results),
  "bank-depths": (all) => {
    const { "mode-residual": whole } = all.results;
    // All depths that the module has are what mbc-residual is
    const results = { ...all.results, ...(whole && { "depth-all": whole }) };
    return groupTable({ prefix: "depth-", scores: answered }, results, {
      extra: {
        ...bitsOf(all),
        ...shareOf("of mac's f1", all.results["mode-mac"]),
      },
    });
  },
  "bank-controls": ({ results }) =>
    groupTable({ prefix: "control-", scores: answered }, results, {
      extra: {
        "seconds of learning": ({ cost: { seconds } }) => (seconds === null ? absent : formatScore(seconds, 1)),
      },
    }),
  "bank-reduced": (all) => groupTable({ prefix: "reduced-", scores: answered }, all.results, { extra: bitsOf(all) }),
  "bank-many": (all) =>
    groupTable({ prefix: "many-", scores: answered }, all.results, {
      extra: {
        ...bitsOf(all),
        ...shareOf("of mac's f1", all.results["many-mac"]),
      },
    }),
  "bank-policies": (all) =>
    groupTable({ prefix: "policy-", scores: ["reward", "f1", "exactMatch", "forgetting", "value"] }, all.results, {
      extra: bankBytes(all),
    }),
  "bank-long": ({ results }) => groupTable({ prefix: "long-", scores: answered }, results),
  "bank-squad": ({ results }) => groupTable({ prefix: "squad-", scores: answered }, results),
  "bank-retention": retention,
  "bank-verdict": verdict,
  "bank-bytes": bytes,
  "bank-papers": papers,
  "bank-costs": costs,
};
