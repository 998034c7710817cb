/** How a task presents itself: a name, one schema of options from which flags and forms are derived, and its making. */
import { z } from "zod";
import { parseMethodOptions } from "../../methods/definition.ts";
import type { Task } from "../task.ts";

interface TaskDeps {
  /** Ends the making of a task that takes long. */
  readonly signal?: AbortSignal;
}

export interface StreamChoice {
  readonly option: string;
  /**
   * First and last value that are for development: nothing is reported on them, and nothing of them is in another
   * stream. Absent where all streams draw from one file: then no stream is unlike the reported ones.
   */
  readonly development?: readonly [number, number];
}

/** Streams of a new world: worlds 1 to 99 are for development. */
export const drawnByWorld: StreamChoice = { option: "world", development: [1, 99] };

/** Seeds for development of tasks that make their data from a seed. */
export const developmentSeeds = [1_000_000, 1_999_999] as const;

export interface TaskDefinition<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** Every option with its default and one line of help. */
  readonly options: S;
  /**
   * The option that says which of many streams this is. Unless the user gives it, every seed of a run has a stream of
   * its own: this option's default plus the seed, or, where options of methods are chosen and there are streams for
   * that, `development[0]` plus the seed.
   */
  readonly stream?: StreamChoice;
  /** Reads or makes the data. Equal options and equal files give equal tasks. */
  create(options: z.output<S>, deps?: TaskDeps): Promise<Task>;
}

/**
 * A definition for the catalogue: its file sees options with their types, callers give any record of them. They are
 * checked, and those left out get their defaults.
 */
export function defineTask<S extends z.ZodObject>(definition: TaskDefinition<S>): TaskDefinition {
  return {
    ...definition,
    create: async (given, deps) => definition.create(parseTaskOptions(definition, given) as z.output<S>, deps),
  };
}

/** Resolve options with defaults; the error names the option, its rule and the ones there are. */
export const parseTaskOptions = (
  { name, options }: { readonly name: string; readonly options: z.ZodObject },
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> => parseMethodOptions({ name, options }, given);

/** The option of tasks that read a file or folder. */
export const dataOption = (what: string) => z.string(`expected ${what}, which --data names`).min(1).describe(what);
