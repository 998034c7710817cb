/**
 * The means of an evaluation over its seeds, with 95% intervals: what `mneme eval --json` prints and what tables show.
 * Pure functions of results. A number that one seed does not have is averaged over those that have it.
 */
import { internal } from "../errors.ts";
import { interval95, meanOf } from "../eval/interval.ts";
import type { Cell, ScoreMatrix } from "../eval/metrics.ts";
import { flattened, groupRuns } from "../eval/report-groups.ts";
import type { RunResult } from "../eval/result.ts";

type Numbers = Readonly<Record<string, number | null>>;

export interface Summary {
  readonly run: string;
  readonly task: string;
  /** How the scores were taken; numbers of different protocols never share a table. */
  readonly protocol: string;
  readonly method: string;
  readonly model: string;
  readonly seeds: readonly number[];
  readonly metrics: Numbers;
  /** Half the width of the 95% interval of each metric; null for a single seed. */
  readonly intervals: Numbers;
  readonly cost: Numbers;
  readonly matrix: ScoreMatrix;
}

/** The plain numbers of an object, such as a result's metrics; nested ones have dotted names. */
function numbersOf(value: object): Numbers {
  return Object.fromEntries(
    flattened(value).filter(
      (entry): entry is [string, number | null] => typeof entry[1] === "number" || entry[1] === null,
    ),
  );
}

function columns(objects: readonly Numbers[]): [string, Cell[]][] {
  const names = [...new Set(objects.flatMap((object) => Object.keys(object)))];
  return names.map((name) => [name, objects.map((object) => object[name] ?? null)]);
}

const costOf = ({ cost, outsideRuntimeShare }: RunResult): Numbers => numbersOf({ ...cost, outsideRuntimeShare });

/** Means over the results of one evaluation, in the order of their seeds. */
export function summaryOf(run: string, results: readonly RunResult[]): Summary {
  const [first] = results;
  if (first === undefined) return internal("summaryOf: no result");
  const metrics = columns(results.map((result) => numbersOf(result.metrics)));
  return {
    run,
    task: first.task,
    protocol: first.protocol,
    method: first.method,
    model: first.model,
    seeds: results.flatMap(({ seeds }) => seeds),
    metrics: Object.fromEntries(metrics.map(([name, values]) => [name, meanOf(values)])),
    intervals: Object.fromEntries(metrics.map(([name, values]) => [name, interval95(values)?.half ?? null])),
    cost: Object.fromEntries(columns(results.map(costOf)).map(([name, values]) => [name, meanOf(values)])),
    // One setting with several seeds is one group
    matrix: groupRuns(results.map((result) => ({ result, losses: [] })))[0].matrix,
  };
}
