/**
 * The smallest method that keeps documents: a word is an index by its letters, a document its words in entries of six,
 * and a question reads the documents with most of its words. Its bank lies on disk, in a folder of its own at first.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../../src/errors.ts";
import { openBank } from "../../src/memory/bank.ts";
import type { Codebook } from "../../src/memory/codebook.ts";
import { defineMethod } from "../../src/methods/definition.ts";
import type { EntryStore, ReadDocument } from "../../src/methods/document-face.ts";
import { identityOf } from "../../src/methods/fact-face.ts";
import type { Method, Query } from "../../src/methods/method.ts";
import { fakeMethod } from "./fake-method.ts";

const [tokens, codes, keyWidth] = [6, 1024, 4];

/** `shift` makes it another codebook. */
export const bankCodebook = (shift = 0): Codebook => ({
  kind: "token",
  tokens,
  width: 2,
  codes,
  books: 1,
  data: Float32Array.from({ length: 2 * codes }, (_, i) => Math.fround(i / 8 + shift)),
});

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
/** 0 is for no word. */
const saltedIndex =
  (salt: string) =>
  (word: string): number =>
    1 + (createHash("sha256").update(`${salt}${word}`).digest().readUInt32LE(0) % (codes - 1));

export interface BankMethodOptions {
  readonly module?: string;
  readonly base?: string;
  readonly shift?: number;
  /** Makes every index another. */
  readonly salt?: string;
  /** Documents that a question reads at most. */
  readonly most?: number;
  /** Entries that the memory keeps at most. */
  readonly mostEntries?: number;
  /** Folder of its own bank. */
  readonly own?: string;
}

/** A method over its own bank until `use` gives it another. */
export async function bankMethod({
  module = "plain",
  base = "none",
  shift = 0,
  salt = "",
  most = Number.POSITIVE_INFINITY,
  mostEntries,
  own = mkdtempSync(join(tmpdir(), "mneme-bank-method-")),
}: BankMethodOptions = {}): Promise<Method> {
  const indexOf = saltedIndex(salt);
  const settings = { module: `module ${module}`, keys: { width: keyWidth, bits: 8 } } as const;
  const first = await openBank(own, settings);
  let bank: EntryStore = first;
  let version = await bank.addCodebook(bankCodebook(shift));

  const look = async ({ text }: Query): Promise<ReadDocument[]> => {
    const asked = new Set(wordsOf(text).map(indexOf));
    const found = new Map<string, number>();
    for await (const page of bank.pages()) {
      for (const { document, indices } of page) {
        const hits = [...indices].filter((index) => asked.has(index)).length;
        found.set(document, (found.get(document) ?? 0) + hits);
      }
    }
    const total = [...found.values()].reduce((sum, hits) => sum + hits + 0.01, 0);
    return [...found]
      .map(([document, hits]) => ({ document, weight: (hits + 0.01) / total }))
      .toSorted((a, b) => b.weight - a.weight)
      .slice(0, most);
  };
  const said = async (query: Query): Promise<string> => {
    const [best] = await look(query);
    return best ? `as ${best.document} says` : "unknown";
  };
  const rated = (answer: string, right: string) => {
    const size = wordsOf(answer).length;
    const correct = answer === right ? size : 0;
    return { nats: answer === right ? 0.5 : 2, tokens: size, bytes: answer.length + 1, correct };
  };

  return {
    ...fakeMethod({ name: "stub-bank" }),
    documents: {
      identity: identityOf({
        method: "stub-bank",
        base,
        module: createHash("sha256").update(module).digest("hex"),
        salt,
      }),
      ...(mostEntries !== undefined && { mostEntries }),
      get bank() {
        return bank;
      },
      async use(other) {
        bank = other;
        version = await other.addCodebook(bankCodebook(shift));
      },
      async encode(documents, { nameOf = (i: number) => `document ${i + 1}`, signal } = {}) {
        signal?.throwIfAborted();
        return documents.map(({ id, text, time = 0 }, d) => {
          const words = wordsOf(text);
          if (words.length === 0) throw new UserError(`stub: expected words, got none in ${nameOf(d)}; give it some`);
          const entries = Array.from({ length: Math.ceil(words.length / tokens) }, (_, chunk) => {
            const indices = new Uint32Array(tokens);
            indices.set(words.slice(chunk * tokens, (chunk + 1) * tokens).map(indexOf));
            const key = Float32Array.from({ length: keyWidth }, (_, i) => Math.sin(indices[i] + chunk));
            return { document: id, time, key, version, indices };
          });
          return { document: id, entries, tokens: words.length, error: words.length / 100 };
        });
      },
      look: (queries) => Promise.all(queries.map(async (query) => ({ read: await look(query) }))),
      without: {
        answer: async (queries) => queries.map(() => "unknown"),
        rate: async (pairs) => pairs.map(({ answer }) => rated(answer, "unknown")),
      },
    },
    answer: (queries) => Promise.all(queries.map(said)),
    rate: (pairs) => Promise.all(pairs.map(async ({ query, answer }) => rated(answer, await said(query)))),
    async dispose() {
      await first.close();
      rmSync(own, { recursive: true, force: true });
    },
  };
}

/** For the catalogue. */
export const bankDefinition = defineMethod({
  name: "stub-bank",
  summary: "documents as the indices of their words",
  paper: "",
  options: z.object({
    module: z.string().default("plain").describe("any name"),
    shift: z.number().default(0).describe("makes the codebook another"),
    salt: z.string().default("").describe("makes every index another"),
    most: z.int().nonnegative().optional().describe("documents that a question reads at most"),
    mostEntries: z.int().positive().optional().describe("entries that the memory keeps at most"),
  }),
  documents: { kept: ["salt"], named: ["module"], reading: ["most"] },
  create: async (base, options) => bankMethod({ ...options, base: await base.hash() }),
  save: async () => "nothing",
});
