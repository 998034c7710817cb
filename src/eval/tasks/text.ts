/**
 * The text stream: every file is one topic. Its first part is learned, its last part is held out and scored
 * in bits per byte (lower is better), which compares across tokenizers.
 * The cut is at the paragraph boundary nearest to the wanted share, or at a line where paragraphs are too long.
 */
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { basename, join, sep } from "node:path";
import { z } from "zod";
import { isFolder } from "../../checkpoint/files.ts";
import { byteLength, readTextFile, type TextFile } from "../../checkpoint/text.ts";
import { internal, UserError } from "../../errors.ts";
import { bitsPerByte } from "../../models/score.ts";
import type { Task, Topic } from "../task.ts";
import { dataOption, defineTask } from "./definition.ts";

export interface TextTaskOptions {
  /** Share of each file that is held out, between 0 and 0.5. */
  holdout?: number;
}

const defaultHoldout = 0.1;

/** Below these sizes a part says too little to learn from or to measure on (bytes). */
const leastLearned = 128;
const leastHeldOut = 64;

/** Byte and string positions right behind every match of `boundary`. */
function cuts(text: string, boundary: RegExp): { at: number; bytes: number }[] {
  const found: { at: number; bytes: number }[] = [];
  let previous = 0;
  let bytes = 0;
  for (const match of text.matchAll(boundary)) {
    const at = match.index + match[0].length;
    bytes += byteLength(text.slice(previous, at));
    previous = at;
    found.push({ at, bytes });
  }
  return found;
}

/**
 * Splits a text into a learned part and a held-out part of about `holdout` of its bytes.
 * `name` appears in the error for a text that is too short or has no line break to cut at.
 */
export function splitText(name: string, text: string, holdout: number): { learned: string; heldOut: string } {
  const body = text.trimEnd();
  const total = byteLength(body);
  const target = Math.min(total * (1 - holdout), total - leastHeldOut);
  // A boundary is usable when both parts keep their least size and the held-out part stays near its share.
  const lowest = Math.max(leastLearned, total * (1 - Math.max(2 * holdout, 0.25)));
  const lowestForced = Math.max(leastLearned, total / 2);
  const highest = total - leastHeldOut;
  const nearest = (boundary: RegExp, from: number) =>
    cuts(body, boundary)
      .filter(({ bytes }) => bytes >= from && bytes <= highest)
      .reduce<{ at: number; bytes: number } | undefined>(
        (best, cut) => (!best || Math.abs(cut.bytes - target) < Math.abs(best.bytes - target) ? cut : best),
        undefined,
      );
  const paragraphs = /\r?\n[ \t]*\r?\n\s*/g;
  const lines = /\r?\n\s*/g;
  const cut = nearest(paragraphs, lowest) ?? nearest(lines, lowest) ?? nearest(lines, lowestForced);
  if (!cut) {
    throw new UserError(
      `textTask: expected a text that can be split into at least ${leastLearned} bytes to learn and ${leastHeldOut} ` +
        `held out, got ${name} with ${total} bytes and ${cuts(body, lines).length} line breaks; ` +
        "give a longer text with paragraphs or lines",
    );
  }
  return { learned: body.slice(0, cut.at), heldOut: body.slice(cut.at) };
}

/** Short unique names: the file name, with as many parent folders as needed, then a number for equal paths. */
export function topicNames(paths: readonly string[]): string[] {
  const parts = paths.map((path) => path.split(/[\\/]/).filter((part) => part !== "" && part !== "."));
  const names = paths.map((path) => basename(path));
  for (let depth = 2; new Set(names).size < names.length && depth <= 32; depth++) {
    const seen = new Map<string, number>();
    for (const name of names) seen.set(name, (seen.get(name) ?? 0) + 1);
    names.forEach((name, i) => {
      if ((seen.get(name) ?? 0) > 1) names[i] = parts[i].slice(-depth).join(sep);
    });
  }
  const used = new Map<string, number>();
  return names.map((name) => {
    const count = (used.get(name) ?? 0) + 1;
    used.set(name, count);
    return count === 1 ? name : `${name} (${count})`;
  });
}

/** A stream of texts, learned in the given order, scored in bits per byte of each held-out part. */
export function textTask(files: readonly TextFile[], { holdout = defaultHoldout }: TextTaskOptions = {}): Task {
  if (files.length === 0) throw new UserError("textTask: expected at least one text file, got none; name the files");
  if (!(holdout > 0 && holdout <= 0.5)) {
    throw new UserError(
      `textTask: expected a holdout above 0 and up to 0.5, got ${holdout}; ${defaultHoldout} is the default`,
    );
  }
  const names = topicNames(files.map((file) => file.path));
  const parts = files.map((file) => splitText(file.path, file.text, holdout));
  const topics: Topic[] = names.map((name, i) => ({
    name,
    documents: [{ id: name, text: parts[i].learned, topic: name }],
  }));
  const hash = createHash("sha256");
  for (const part of parts) hash.update(JSON.stringify([part.learned, part.heldOut]));
  return {
    name: "text",
    topics,
    direction: "lower",
    unit: "bits per byte",
    fingerprint: hash.digest("hex"),
    metric: "bitsPerByte",
    protocol: `log-likelihood of the last ${holdout} of each file, which is never learned`,
    async evaluate(method, topicIndex) {
      const part = parts[topicIndex] ?? internal(`textTask: no topic ${topicIndex} among ${parts.length}`);
      const score = await method.score("", part.heldOut);
      return { bitsPerByte: bitsPerByte(score) };
    },
  };
}

export const holdoutOption = z
  .number()
  .gt(0)
  .max(0.5)
  .default(defaultHoldout)
  .describe("share of each file that is held out for scoring");

const options = z.object({
  data: dataOption("text files with commas between them, or a folder whose .txt files are learned in order of name"),
  limit: z.int().min(1).optional().describe("most files; all unless given"),
  holdout: holdoutOption,
});

/** The files that `data` means: those of a folder, or those named. */
async function textPaths(data: string): Promise<string[]> {
  if (!(await isFolder(data)))
    return data
      .split(",")
      .map((path) => path.trim())
      .filter((path) => path !== "");
  const names = (await readdir(data)).filter((name) => name.endsWith(".txt")).sort();
  if (names.length === 0) throw new UserError(`text: expected .txt files in ${data}, got none; name another folder`);
  return names.map((name) => join(data, name));
}

export const text = defineTask({
  name: "text",
  summary: "text files one after another, scored in bits per byte of their held-out ends",
  options,
  create: async ({ data, limit, holdout }) =>
    textTask(await Promise.all((await textPaths(data)).slice(0, limit).map(readTextFile)), { holdout }),
});
