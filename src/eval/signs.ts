/**
 * Warning signs of forgetting as numbers of one run: how far hidden states have moved and how much farther than after
 * the first topic, how much wider attention has become, how well an exponential describes the fading of old topics.
 * Signs, not scores: none has a good direction.
 */
import type { Table } from "./csv.ts";
import type { Snapshot } from "./diagnostics.ts";
import { formatCount, formatScore } from "./format.ts";
import { type Cell, meanOfKnown } from "./metrics.ts";
import { groupRuns } from "./report-groups.ts";
import type { ReportRun, RunResult } from "./result.ts";
import { type Column, columnsByMethod } from "./tables.ts";

const insidesOf = ({ diagnostics }: RunResult) => diagnostics?.insides ?? null;
const decayOf = ({ diagnostics }: RunResult) => diagnostics?.decay?.all ?? null;
const endOf = (result: RunResult): Snapshot | undefined => insidesOf(result)?.after.at(-1);
const beforeOf = (result: RunResult): Snapshot | null => insidesOf(result)?.before ?? null;

/** Relative L2 of the last hidden state: the distance in lengths of the base's own state. */
const top = (snapshot: Snapshot | null | undefined): Cell => snapshot?.drift.at(-1)?.relativeL2 ?? null;
/** Mean over layers and heads, nats. */
const entropy = (snapshot: Snapshot | null | undefined): Cell => meanOfKnown(snapshot?.attentionEntropy.flat() ?? []);
const ratio = (a: Cell, b: Cell): Cell => (a === null || b === null || b === 0 ? null : a / b);

/** The largest growth of any layer, each the mean of its heads: what a mean over layers would hide. */
function mostGrown(result: RunResult): Cell {
  const [before, end] = [beforeOf(result), endOf(result)];
  const growth = (end?.attentionEntropy ?? []).flatMap((heads, layer) => {
    const found = ratio(meanOfKnown(heads), meanOfKnown(before?.attentionEntropy[layer] ?? []));
    return found === null ? [] : [found];
  });
  return growth.length === 0 ? null : Math.max(...growth);
}

const score = (value: number): string => formatScore(value);
const times = (value: number): string => `×${formatScore(value, 2)}`;

export const signColumns: readonly Column[] = [
  {
    key: "driftFirst",
    title: "Drift after the first topic",
    value: (result) => top(insidesOf(result)?.after[0]),
    show: score,
  },
  { key: "driftEnd", title: "Drift at the end", value: (result) => top(endOf(result)), show: score },
  {
    key: "driftGrowth",
    title: "Growth of drift",
    value: (result) => ratio(top(endOf(result)), top(insidesOf(result)?.after[0])),
    show: times,
  },
  { key: "entropyBefore", title: "Entropy before (nats)", value: (result) => entropy(beforeOf(result)), show: score },
  { key: "entropyEnd", title: "Entropy at the end (nats)", value: (result) => entropy(endOf(result)), show: score },
  {
    key: "entropyGrowth",
    title: "Growth of entropy",
    value: (result) => ratio(entropy(endOf(result)), entropy(beforeOf(result))),
    show: times,
  },
  { key: "entropyGrowthMost", title: "Most in a layer", value: mostGrown, show: times },
  { key: "decayA", title: "Decay a", value: (result) => decayOf(result)?.a ?? null, show: score },
  {
    key: "decayTau",
    title: "Decay tau (topics)",
    value: (result) => decayOf(result)?.tau ?? null,
    show: (value) => (value < 99.5 ? formatScore(value, 2) : formatCount(Math.round(value))),
  },
  {
    key: "decayR2",
    title: "Decay R²",
    value: (result) => decayOf(result)?.r2 ?? null,
    show: (value) => formatScore(value, 2),
  },
  {
    key: "decayPoints",
    title: "Points of the fit",
    value: (result) => decayOf(result)?.points ?? null,
    show: (value) => formatCount(Math.round(value)),
  },
];

/** A row per method: mean and half-width of the 95% interval of every sign; empty cells where there is none. */
export const signsTable = (runs: readonly ReportRun[]): Table => columnsByMethod(groupRuns(runs), signColumns);
