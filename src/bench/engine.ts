/**
 * `mneme bench engine`: every number that the engine is held to, measured on this machine in one run. One file per
 * measure; docs/benchmarks.md says what each is and what disturbs it.
 */
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.ts";
import { machineInfo, versionInfo } from "../runs/machine.ts";
import { coldStartMs } from "./cold-start.ts";
import { decodeBandwidthFraction } from "./decode.ts";
import { gemmFraction } from "./gemm.ts";
import { loadMs } from "./load.ts";
import type { Measure, Measurement } from "./measure.ts";
import { sparseRowUpdate } from "./sparse-rows.ts";
import { rounded } from "./stats.ts";
import { trainStepRatio } from "./train-step.ts";

const measures = {
  trainStepRatio,
  gemmFraction,
  decodeBandwidthFraction,
  coldStartMs,
  loadMs,
  sparseRowUpdate,
} satisfies Record<string, Measure>;

/** Names of the measures, in the order in which they run. */
export const engineMeasures = Object.keys(measures) as readonly (keyof typeof measures)[];

interface EngineBenchOptions {
  /** Measures to run, by name. Default: all. */
  readonly only?: readonly string[];
  /** Fewer repeats. */
  readonly quick?: boolean;
  /** Folder of the model that is started cold. Default: the embedded mneme-tiny. */
  readonly model?: string;
  /** Takes a line per stage. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
  readonly now?: () => Date;
}

/** Measure; the result is plain JSON: date, machine, versions, and one object per measure with its `value`. */
export async function runEngineBench({
  only = engineMeasures,
  quick = false,
  model = fileURLToPath(new URL("../../models/mneme-tiny", import.meta.url)),
  log = () => {},
  signal,
  now = () => new Date(),
}: EngineBenchOptions = {}): Promise<Record<string, unknown>> {
  const unknown = only.find((name) => !Object.hasOwn(measures, name));
  if (unknown !== undefined) {
    throw new UserError(
      `bench engine: expected measures among ${engineMeasures.join(", ")}, got ${unknown}; correct the name`,
    );
  }
  const results: Record<string, unknown> = {
    date: now().toISOString(),
    quick,
    machine: machineInfo(),
    versions: versionInfo(),
  };
  for (const name of engineMeasures) {
    if (!only.includes(name)) continue;
    signal?.throwIfAborted();
    const found = await measures[name]({ quick, model, log, signal });
    results[name] = rounded(found);
    log(`${name}: ${describe(found)}`);
  }
  return results;
}

function describe({ value, reason, peer }: Measurement): string {
  return value === null ? `not measured (${reason ?? `peer ${peer}`})` : String(Number(value.toPrecision(4)));
}
