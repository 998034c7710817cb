/**
 * What a ledger knows of a fact: its text, where it came from, what became of it, and the receipt of its write. A
 * document is a fact as well: its id stands as the prompt, its first words as the target.
 * Beside it the rules that need no database: when two prompts are the same, what a fact may weigh, what it is called.
 */
import { createHash } from "node:crypto";
import { oneLine } from "../checkpoint/files.ts";
import { UserError } from "../errors.ts";
import { subjectOf } from "../memory/subject.ts";

export type FactStatus = "live" | "forgotten" | "superseded";

/** What happened: `revert` takes a fact out of the memory again, `restore` puts one back, `evict` makes room for others. */
export type EventKind = "write" | "supersede" | "forget" | "revert" | "restore" | "evict";

/** Proof of a write: what it changed, measured without the fact in the prompt. Everything may be left out. */
export interface WriteReceipt {
  readonly answer?: { readonly before: string; readonly after: string };
  /** Probability of the target after the prompt. */
  readonly probability?: { readonly before: number; readonly after: number };
  /** On prompts that have nothing to do with the fact: how many, and how many answers are others than before. */
  readonly probes?: { readonly count: number; readonly changed: number; readonly drift?: number };
  /** Of the write itself, and of measuring. */
  readonly seconds?: { readonly write: number; readonly measure?: number };
  readonly [name: string]: unknown;
}

export interface FactText {
  readonly prompt: string;
  readonly target: string;
  readonly rephrasings?: readonly string[];
  /** Who or what said so: "cli", the name of a file. */
  readonly source?: string;
}

/** What is known of a document beside its id and its first words. */
export interface DocumentFact {
  /** Of the text, hexadecimal. */
  readonly sha256: string;
  /** Of the text in UTF-8. */
  readonly bytes: number;
  readonly tokens: number;
  /** More than one where it is longer than the encoder. */
  readonly chunks: number;
  /** When it is from, if it says so: milliseconds since 1970, or a step of a stream. */
  readonly time?: number;
}

/** A fact to write, with key and value as the memory's own bytes. */
export interface NewFact extends FactText {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly receipt?: WriteReceipt;
  readonly document?: DocumentFact;
  /** There is one live fact of a subject at most. By default the prompt without its accidents. */
  readonly subject?: string;
}

export interface Fact extends Required<FactText> {
  /** What people call it: 12 hexadecimal digits. */
  readonly id: string;
  /** What the memory calls it. */
  readonly fact: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly status: FactStatus;
  /** Id of the fact that took its place. */
  readonly supersededBy: string | null;
  /** Number of the memory that holds it, or held it last. */
  readonly placement: number;
  readonly receipt: WriteReceipt | null;
  /** Of documents alone. */
  readonly document?: DocumentFact;
}

export interface LedgerEvent {
  /** Its place in the history, from 1. */
  readonly seq: number;
  /** The first event of the same deed: a write and what it supersedes are one deed. */
  readonly act: number;
  readonly time: number;
  readonly kind: EventKind;
  readonly id: string;
  readonly fact: number;
  /** Of the fact, from here on. */
  readonly status: FactStatus;
  readonly supersededBy: string | null;
  readonly placement: number;
}

/** Bytes of a fact in all: its text, its key and its value. */
export const factBytes = 6 * 1024;

/** A text without stray spaces. */
export const tidy = (text: string): string => text.normalize("NFC").replace(/\s+/gu, " ").trim();

const textBytes = ({ prompt, target, rephrasings = [], source = "" }: FactText): number =>
  [prompt, target, source, ...rephrasings].reduce((sum, text) => sum + Buffer.byteLength(text), 0);

/** Refuses a fact without a prompt or a target, or of more text than any fact may have. `where` names it: "line 3". */
export function checkText(fact: FactText, where = "", limit = factBytes): void {
  const { prompt, target, rephrasings = [] } = fact;
  const at = where === "" ? "" : ` in ${where}`;
  const checked = (text: unknown): string => (typeof text === "string" ? text : "");
  // First of all, because what is far too long takes long to look at
  const bytes = textBytes({ prompt: checked(prompt), target: checked(target), rephrasings: rephrasings.map(checked) });
  if (bytes > limit) {
    throw new UserError(
      `write: expected a fact of at most ${limit} bytes, got ${bytes} of text alone${at}; shorten the prompt, the ` +
        "target or the rephrasings",
    );
  }
  for (const [name, text] of [
    ["prompt", prompt],
    ["target", target],
    ...rephrasings.map((text) => ["rephrasing", text] as const),
  ] as const) {
    if (typeof text !== "string" || text.trim() === "" || (name === "prompt" && subjectOf(text) === "")) {
      throw new UserError(
        `write: expected a ${name} with text in it, got ${JSON.stringify(text)}${at}; say what it is`,
      );
    }
    // Whether an answer may have several lines, methods say
    const [control] = /(?![\t\n\r])\p{Cc}/u.exec(text) ?? [];
    if (control !== undefined && control !== "\0") {
      const code = control.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
      throw new UserError(
        `write: expected a ${name} without control characters, got ${quoted(text)} with U+${code}${at}; take it out`,
      );
    }
    if (/\p{Surrogate}/u.test(text) || control === "\0") {
      throw new UserError(
        `write: expected a ${name} of whole characters, got ${oneLine(JSON.stringify(text), 80)}${at}; mend the text`,
      );
    }
  }
}

/** As `checkText`, and refuses a fact that is too long. */
export function checkFact(fact: NewFact, { where = "", limit = factBytes }: { where?: string; limit?: number } = {}) {
  checkText(fact, where, limit);
  const [text, vectors] = [textBytes(fact), fact.key.length + fact.value.length];
  if (text + vectors <= limit) return;
  throw new UserError(
    `write: expected a fact of at most ${limit} bytes, got ${text + vectors}${where && ` in ${where}`} (${text} of ` +
      `text, ${vectors} of key and value); shorten its texts or give fewer rephrasings`,
  );
}

/** Refuses two facts about one subject in a list. `nameOf` says what the user calls the i-th, such as "line 3". */
export function checkList(facts: readonly FactText[], nameOf: (i: number) => string): void {
  const seen = new Map<string, number>();
  facts.forEach((fact, i) => {
    const subject = subjectOf(fact.prompt);
    const first = seen.get(subject);
    if (first === undefined) {
      seen.set(subject, i);
      return;
    }
    const same = tidy(facts[first].target) === tidy(fact.target);
    const got = same ? "the same fact again" : `${quoted(fact.target)} after ${quoted(facts[first].target)}`;
    throw new UserError(
      `write: expected one fact about ${quoted(fact.prompt)}, got ${got} in ${nameOf(i)} (first in ${nameOf(first)}); ` +
        "remove one of them",
    );
  });
}

export const quoted = (text: string): string => JSON.stringify(oneLine(text, 60));

/** For errors: what a fact is called and what it says. */
export const described = ({
  id,
  prompt,
  target,
  document,
}: Pick<Fact, "id" | "prompt" | "target" | "document">): string =>
  `${id} (${oneLine(prompt, 40)}${document ? ": " : " -> "}${oneLine(target, 30)})`;

const hashOf = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash("sha256");
  // Lengths between the parts, so that no two lists of parts read the same
  for (const part of parts) {
    const bytes = typeof part === "string" ? Buffer.from(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest();
};

/** 32 bytes over everything that never changes of a fact. */
export function digestOf(fact: number, time: number, written: NewFact): Buffer {
  const { prompt, target, rephrasings = [], source = "", document, key, value } = written;
  const text = [fact, time, prompt, target, rephrasings, source, ...(document ? [document] : [])];
  return hashOf(JSON.stringify(text), key, value);
}

/** An event's link to all before it: whoever changes the past changes every link after. */
export const linkOf = (
  before: Uint8Array,
  event: readonly (number | string | null)[],
  digest: Uint8Array,
): Uint8Array => hashOf(before, JSON.stringify(event), digest);

/** The name of a fact, the same wherever it is computed. `salt` where another fact has the name already. */
export const idOf = (digest: Uint8Array, salt: number): string =>
  hashOf(digest, `${salt}`).toString("hex").slice(0, 12);
