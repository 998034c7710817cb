/**
 * The control with an oracle: before each question stands the one document that says the answer, where the task names
 * it. What the base can read at best: memories that answer from documents are measured against it, as reading
 * comprehension is in SQuAD (https://arxiv.org/abs/1606.05250, section 5). Without a named document, nothing stands there.
 */
import { z } from "zod";
import { contextFace, cutToFit } from "./context-face.ts";
import { defineMethod } from "./definition.ts";
import { documentStore, saveDocuments } from "./documents.ts";

export const goldContext = defineMethod({
  name: "gold-context",
  summary: "put before each question the document that answers it, where the task names it: a control",
  paper: "https://arxiv.org/abs/1606.05250",
  options: z.object({}),
  async create(base, _options, { runtime }) {
    const { tokenizer } = base;
    const tokensOf = (text: string): number => tokenizer.encode(text, { addSpecialTokens: false }).length;
    const store = documentStore({ name: "gold-context", tokensOf });
    const face = contextFace({
      base,
      runtime,
      async find(queries, room) {
        // Of two with the same id, what was learned last
        const texts = new Map(store.documents().map(({ id, text }) => [id, text]));
        return queries.map(({ document }) => {
          const text = document === undefined ? undefined : texts.get(document);
          return text === undefined ? [] : [cutToFit(base, text, room, "first")];
        });
      },
    });
    return {
      name: "gold-context",
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
