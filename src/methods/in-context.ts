/**
 * In-context learning (https://arxiv.org/abs/2005.14165, section 2): the documents themselves stand before the
 * question, as many as the context holds; no weight changes. The control that everybody must face: a memory that does
 * not beat reading the documents again is worth its cost only where they no longer fit.
 * Differs from the paper: what stands before the question is knowledge to be used, not examples of the task.
 */
import { z } from "zod";
import { contextFace, cutToFit } from "./context-face.ts";
import { defineMethod } from "./definition.ts";
import { documentStore, saveDocuments } from "./documents.ts";
import type { Document } from "./method.ts";
import { documentBreak } from "./prompt.ts";

export const inContext = defineMethod({
  name: "in-context",
  summary: "keep the documents and put them before every question, as many as fit",
  paper: "https://arxiv.org/abs/2005.14165",
  options: z.object({
    selection: z
      .enum(["recent", "earliest"])
      .default("recent")
      .describe("which documents are put before a question when not all fit: the last or the first learned"),
  }),
  async create(base, { selection }, { runtime }) {
    const { tokenizer } = base;
    const part = selection === "recent" ? "last" : "first";
    const idsOf = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
    const counts = new WeakMap<Document, number>();
    const tokensOf = (document: Document): number => {
      let count = counts.get(document);
      if (count === undefined) counts.set(document, (count = idsOf(document.text + documentBreak).length));
      return count;
    };
    const store = documentStore({ name: "in-context", tokensOf: (text) => idsOf(text).length });

    /** Whole documents in the order learned; of one that is too long by itself, the end (or the beginning). */
    const selected = (room: number): string[] => {
      const all = store.documents();
      const wanted = selection === "recent" ? all.reverse() : all;
      const taken: string[] = [];
      let left = room;
      for (const document of wanted) {
        const tokens = tokensOf(document);
        if (tokens > left) {
          if (taken.length === 0) taken.push(cutToFit(base, document.text, left, part));
          break;
        }
        taken.push(document.text);
        left -= tokens;
      }
      return selection === "recent" ? taken.reverse() : taken;
    };

    const face = contextFace({
      base,
      runtime,
      async find(queries, room) {
        const documents = selected(room).filter((text) => text !== "");
        return queries.map(() => documents);
      },
    });
    return {
      name: "in-context",
      canForget: true,
      needsFit: false,
      observe: store.observe,
      forget: store.forget,
      ...face,
      bytes: store.bytes,
      state: async () => ({ tensors: {}, json: store.json() }),
      restore: async ({ json }) => store.restore(json),
    };
  },
  save: (method, _base, folder) => saveDocuments(method, folder),
});
