/**
 * Data files of tasks: JSON lines or one JSON array of records, checked by a schema. Every fault is one line that names
 * file, line (or record) and field. Beside it what the tasks do with records: sampling, sharing out, fingerprints.
 */
import { createHash } from "node:crypto";
import type { z } from "zod";
import { oneLine } from "../../checkpoint/files.ts";
import type { TextFile } from "../../checkpoint/text.ts";
import { UserError } from "../../errors.ts";
import type { Random } from "../../tensor/random.ts";

/** A record and where it stands: "line 3", or "record 3" of an array. */
export interface Placed<T> {
  readonly place: string;
  readonly value: T;
}

type Path = readonly PropertyKey[];

/** Parses JSON; the error names the place within the file. */
function parsed(who: string, path: string, place: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? oneLine(error.message, 100) : "a syntax error";
    throw new UserError(`${who}: expected JSON in ${path}${place && `, ${place}`}, got ${reason}; repair the file`);
  }
}

/** Checks a value; `name` puts the path of a fault into words. */
function checked<S extends z.ZodType>(
  who: string,
  path: string,
  schema: S,
  value: unknown,
  name: (path: Path) => string,
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  throw new UserError(
    `${who}: expected valid records in ${path}, got ${name(issue.path)}: ${oneLine(issue.message)}; correct it`,
  );
}

/** Where a value may have several forms, the fault within the form that was meant: the one that got furthest. */
function deepest(issue: z.core.$ZodIssue): { path: Path; message: string } {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return issue;
  const inner = issue.errors.flatMap((issues) => (issues.length > 0 ? [deepest(issues[0])] : []));
  const furthest = inner.reduce((a, b) => (b.path.length > a.path.length ? b : a), { path: [] as Path, message: "" });
  return furthest.path.length === 0 ? issue : { ...furthest, path: [...issue.path, ...furthest.path] };
}

export const fieldName = (path: Path): string => (path.length === 0 ? "" : `field ${path.map(String).join(".")}`);

const joined = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join(", ");

/** The records of a JSONL file, or of a JSON array. Empty lines are passed over; a file without records is refused. */
export function parseRecords<S extends z.ZodType>(who: string, file: TextFile, schema: S): Placed<z.output<S>>[] {
  const { path, text } = file;
  const isArray = text.trimStart().startsWith("[");
  const raw: Placed<unknown>[] = isArray
    ? (parsed(who, path, "", text) as unknown[]).map((value, i) => ({ place: `record ${i + 1}`, value }))
    : text.split("\n").flatMap((line, i) => {
        const place = `line ${i + 1}`;
        return line.trim() === "" ? [] : [{ place, value: parsed(who, path, place, line) }];
      });
  if (raw.length === 0) throw new UserError(`${who}: expected records in ${path}, got none; name another file`);
  return raw.map(({ place, value }) => {
    return { place, value: checked(who, path, schema, value, (at) => joined(place, fieldName(at))) };
  });
}

/** A file that is one JSON value; `place` puts the path of a fault into words. */
export function parseWhole<S extends z.ZodType>(
  who: string,
  { path, text }: TextFile,
  schema: S,
  place: (path: Path, value: unknown) => string,
): z.output<S> {
  const value = parsed(who, path, "", text);
  return checked(who, path, schema, value, (at) => place(at, value) || "its top level");
}

/** Refuses the second of two equal ids. */
export function refuseRepeats(who: string, path: string, ids: readonly { place: string; id: string }[]): void {
  const seen = new Map<string, string>();
  for (const { id, place } of ids) {
    const before = seen.get(id);
    if (before !== undefined) {
      throw new UserError(
        `${who}: expected unique ids in ${path}, got ${JSON.stringify(oneLine(id, 60))} in ${before} and again in ` +
          `${place}; give each its own`,
      );
    }
    seen.set(id, place);
  }
}

/** Names with a number behind those that came before. */
export function uniqueNames(names: readonly string[]): string[] {
  const used = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let n = 2; used.has(unique); n++) unique = `${name} (${n})`;
    used.add(unique);
    return unique;
  });
}

/** `count` of the items, drawn at random, in their old order. */
export function sampleInOrder<T>(items: readonly T[], count: number, random: Random): T[] {
  if (items.length <= count) return [...items];
  const chosen = [...random.permutation(items.length)].slice(0, count).sort((a, b) => a - b);
  return chosen.map((i) => items[i]);
}

/** How many of `total` each part gets: as even as it goes, first parts more, none more than it has. */
export function shareOut(total: number, sizes: readonly number[]): number[] {
  const shares = sizes.map(() => 0);
  let left = Math.min(
    total,
    sizes.reduce((a, b) => a + b, 0),
  );
  while (left > 0) {
    for (const [i, size] of sizes.entries()) {
      if (left === 0 || shares[i] === size) continue;
      shares[i]++;
      left--;
    }
  }
  return shares;
}

/** SHA-256 of plain JSON values. */
export function fingerprintOf(...values: readonly unknown[]): string {
  const hash = createHash("sha256");
  for (const value of values) hash.update(`${JSON.stringify(value)}\n`);
  return hash.digest("hex");
}
