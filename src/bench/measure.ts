/** What every measure takes and gives, and how it times: the same clock and the same pauses for all of them. */
import { freemem } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isFolder } from "../checkpoint/files.ts";
import { embeddedFolder } from "../models/embedded.ts";

export interface MeasureOptions {
  /** Fewer repeats: shows that it runs, not what is true. */
  readonly quick: boolean;
  /** A checkpoint folder for measures of a whole model. */
  readonly model: string;
  /** Files of data by name, as far as the user has given them. */
  readonly data: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface Measurement {
  /** The figure itself; null when it could not be measured, and then `reason` says why. */
  readonly value: number | null;
  readonly [detail: string]: unknown;
}

export type Measure = (options: MeasureOptions) => Promise<Measurement>;

export const absent = (reason: string): Measurement => ({ value: null, reason });

/** A measure of a fitted module: the folder named by --data module=FOLDER, or the embedded one of this name. */
export const ofModule =
  (name: string, measure: (folder: string, options: MeasureOptions) => Promise<Measurement>): Measure =>
  async (options) => {
    const folder = options.data.module ?? join(embeddedFolder, name);
    if (await isFolder(folder)) return measure(folder, options);
    return absent(`no module at ${folder}: name one with --data module=FOLDER`);
  };

/** Milliseconds of one call. */
export async function timed(run: () => unknown): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

/** Milliseconds of each of `count` calls. */
export async function timings(count: number, run: () => unknown): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) times.push(await timed(run));
  return times;
}

/** Let the threads of whatever ran before go to sleep: the runtime's spin for up to 130 ms and hold a core. */
export const settle = (): Promise<void> => setTimeout(250);

/** A reason not to measure when this machine has too little free memory: swapping would be timed, not the engine. */
export function memoryShort(bytes: number): string | undefined {
  const free = freemem();
  if (free >= bytes) return undefined;
  return `expected ${(bytes / 1e9).toFixed(1)} GB of free memory, got ${(free / 1e9).toFixed(1)}; close other programs`;
}
