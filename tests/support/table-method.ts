/** A method that knows answers by heart: the oracle of tests of tasks. What it says can be changed as if it had learned. */
import type { Method, Query } from "../../src/methods/method.ts";
import { fakeMethod } from "./fake-method.ts";

export interface TableMethod extends Method {
  /** Answers by the text that is asked. */
  readonly table: Record<string, string>;
  readonly asked: { queries: Query[]; rated: { query: Query; answer: string }[]; maxTokens: number[] };
}

/** Tokens are words. The first choice at every place is what the table says there, so `correct` counts equal words. */
export function tableMethod(table: Record<string, string> = {}): TableMethod {
  const asked: TableMethod["asked"] = { queries: [], rated: [], maxTokens: [] };
  return {
    ...fakeMethod({ name: "table" }),
    table,
    asked,
    async answer(queries, { maxTokens = 24 } = {}) {
      asked.queries.push(...queries);
      asked.maxTokens.push(maxTokens);
      return queries.map(({ text }) => table[text] ?? "");
    },
    async rate(pairs) {
      asked.rated.push(...pairs);
      return pairs.map(({ query, answer }) => {
        const known = (table[query.text] ?? "").split(" ");
        const words = answer.split(" ");
        const correct = words.filter((word, i) => word === known[i]).length;
        return { nats: words.length - correct, tokens: words.length, bytes: answer.length + 1, correct };
      });
    },
  };
}

/** A file as the tasks read it. */
export const textFile = (path: string, text: string) => ({ path, text, bytes: Buffer.byteLength(text), sha256: "" });

/** Lines of JSON. */
export const jsonLines = (...records: readonly unknown[]) =>
  textFile("data.jsonl", records.map((record) => `${JSON.stringify(record)}\n`).join(""));

export const sharedData = new URL("../../../shared/data/", import.meta.url);
