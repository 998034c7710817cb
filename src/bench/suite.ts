/** A suite of `mneme bench`: measures by name, run one after the other, and one JSON object of what they found. */
import { UserError } from "../errors.ts";
import { machineInfo, versionInfo } from "../runs/machine.ts";
import type { Measure, Measurement } from "./measure.ts";
import { rounded } from "./stats.ts";

interface BenchOptions {
  /** Measures to run, by name. Default: all. */
  readonly only?: readonly string[];
  /** Fewer repeats. */
  readonly quick?: boolean;
  /** Folder of the model for measures of a whole model. Default: the suite's own. */
  readonly model?: string;
  /** Files of data by name, for measures that need one. */
  readonly data?: Readonly<Record<string, string>>;
  /** Takes a line per stage. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
  readonly now?: () => Date;
}

export interface Suite {
  /** Names of the measures, in the order in which they run. */
  readonly measures: readonly string[];
  /** Names of the files of data that measures can use. */
  readonly data: readonly string[];
  /** Measure; the result is plain JSON: date, machine, versions, and one object per measure with its `value`. */
  run(options?: BenchOptions): Promise<Record<string, unknown>>;
}

export function defineSuite(
  suite: string,
  measures: Readonly<Record<string, Measure>>,
  { model: ownModel, data: files = [] }: { readonly model: string; readonly data?: readonly string[] },
): Suite {
  const names = Object.keys(measures);
  return {
    measures: names,
    data: files,
    async run({
      only = names,
      quick = false,
      model = ownModel,
      data = {},
      log = () => {},
      signal,
      now = () => new Date(),
    }: BenchOptions = {}) {
      const unknown = only.find((name) => !Object.hasOwn(measures, name));
      if (unknown !== undefined) {
        throw new UserError(
          `bench ${suite}: expected measures among ${names.join(", ")}, got ${unknown}; correct the name`,
        );
      }
      const stray = Object.keys(data).find((name) => !files.includes(name));
      if (stray !== undefined) {
        throw new UserError(
          `bench ${suite}: expected data ${files.length > 0 ? `among ${files.join(", ")}` : "for none of its measures"}, ` +
            `got ${stray}; correct the name`,
        );
      }
      const results: Record<string, unknown> = {
        date: now().toISOString(),
        quick,
        machine: machineInfo(),
        versions: versionInfo(),
      };
      const options = { quick, model, data, log, signal };
      for (const name of names) {
        if (!only.includes(name)) continue;
        signal?.throwIfAborted();
        const found = await measures[name](options);
        results[name] = rounded(found);
        log(`${name}: ${describe(found)}`);
      }
      return results;
    },
  };
}

function describe({ value, reason, peer }: Measurement): string {
  return value === null ? `not measured (${reason ?? `peer ${peer}`})` : String(Number(value.toPrecision(4)));
}
