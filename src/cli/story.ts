/**
 * What a run on a stream means, told in a sentence or two with its numbers; and which of several runs did best at
 * what.
 */
import { formatPercent } from "../eval/format.ts";
import type { Cell } from "../eval/metrics.ts";
import { mean } from "../eval/metrics.ts";
import type { RunResult } from "../eval/result.ts";

const percent = (share: Cell): string => (share === null ? "–" : formatPercent(share));

/** `probe` names what the base knew before, such as knownWorld; `what` is what it is called. */
export interface Known {
  readonly probe: string;
  readonly what: string;
}

/** What a run learned, and what of it and of the base's own knowledge was lost. The scores must be shares. */
export function story({ matrix, metrics, probes }: RunResult, { probe, what }: Known): string {
  const { R, baseline } = matrix;
  const learned = mean(R.map((row, j) => row[j]));
  const before = baseline ? ` (${percent(mean(baseline))} before)` : "";
  const parts = [
    `Right after a topic, ${percent(learned)} of the questions on its facts are answered rightly${before}`,
  ];
  if (R.length > 1) {
    const without = metrics.rkrLeftOut.length > 0 ? ` (without ${metrics.rkrLeftOut.join(", ")}, hardly learned)` : "";
    parts.push(
      metrics.rkr === null
        ? "too little of the earlier topics was learned to be forgotten"
        : `at the end ${percent(metrics.rkr)} of what was learned of the earlier topics is left${without}`,
    );
  }
  const known = probes[probe];
  const last = known?.after.at(-1) ?? null;
  const lost =
    known === undefined || known.before === null || last === null
      ? ""
      : ` Of ${what}, ${percent(known.before)} was answered rightly before and ${percent(last)} is now.`;
  return `${parts.join("; ")}.${lost}`;
}

/** Which run kept most and which learned most; nothing where fewer than two can be told apart. */
export function comparison(results: readonly RunResult[]): string {
  const told = results.flatMap(({ method, metrics: { rkr, nar } }) =>
    rkr === null || nar === null ? [] : [{ method, rkr, nar }],
  );
  if (told.length < 2) return "";
  const most = (of: "rkr" | "nar"): string => {
    const best = Math.max(...told.map((one) => one[of]));
    const names = told.filter((one) => one[of] === best).map(({ method }) => method);
    return `${names.join(" and ")} (${percent(best)})`;
  };
  return `Most of what could be learned: ${most("nar")}. Most of the old left: ${most("rkr")}.`;
}
