/**
 * The control that learns nothing: the base model as it is. What it scores is what the base knew already, or what the
 * questions give away; a method that does no better has learned nothing (the baseline b of GEM, section 2,
 * https://arxiv.org/abs/1706.08840, which is a model before its first task).
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import { fitsGraph } from "../models/instance.ts";
import { defineMethod } from "./definition.ts";
import { contentsOf, hashOf, receiptId } from "./identity.ts";
import { askedBare, languageFace } from "./language.ts";

export const none = defineMethod({
  name: "none",
  summary: "learn nothing: the base model as a control",
  paper: "https://arxiv.org/abs/1706.08840",
  options: z.object({}),
  async create(base, _options, { runtime }) {
    const { tokenizer, eosIds } = base;
    const face = languageFace({ runtime, model: base, tokenizer, eosIds, frozen: fitsGraph(base) });
    return {
      name: "none",
      canForget: false,
      needsFit: false,
      async *observe(documents, { signal } = {}) {
        yield {
          type: "receipt",
          receipt: {
            id: receiptId("none", hashOf(contentsOf(documents))),
            documents: documents.map(({ id }) => id),
            steps: 0,
            tokens: 0,
            seconds: 0,
            finalLoss: 0,
            stopped: signal?.aborted ? "interrupted" : "done",
            flops: 0,
          },
        };
      },
      ...askedBare(face),
      bytes: () => 0,
      state: async () => ({ tensors: {}, json: {} }),
      async restore() {},
    };
  },
  async save() {
    throw new UserError("none: expected a method that learns, got the control, which has nothing to save; use another");
  },
});
