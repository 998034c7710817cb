/**
 * XLM-RoBERTa (1911.02116), the base of many multilingual sentence encoders: BERT but for the rows of its position
 * table. They count tokens other than padding from `pad_token_id` + 1 on, and padding gets row `pad_token_id`.
 */
import { add, cast, cumsum, equal, integer, logicalNot, mul } from "../tensor/functions.ts";
import { bertFamily } from "./bert.ts";

export const xlmRoberta = bertFamily("xlm-roberta", {
  defaults: { pad_token_id: 1 },
  positions({ pad_token_id }, { ids }) {
    const pad = integer(pad_token_id ?? 1);
    const real = cast(logicalNot(equal(ids, pad)), "int32");
    return add(mul(cumsum(real, { axis: 1 }), real), pad);
  },
  context: (c) => c.max_position_embeddings - (c.pad_token_id ?? 1) - 1,
  prefix: "roberta",
});
