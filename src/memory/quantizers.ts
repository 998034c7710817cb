/** The kinds of quantiser, so that a saved codebook finds the one that reads it. */
import { type Codebook, createTokenQuantizer, type Quantizer, type QuantizerKind } from "./codebook.ts";
import { createFullQuantizer } from "./full-precision.ts";
import { createResidualQuantizer } from "./residual-quantizer.ts";
import { createSlotQuantizer } from "./slot-quantizer.ts";

const quantizers: { readonly [K in QuantizerKind]: (codebook: Codebook) => Quantizer } = {
  token: createTokenQuantizer,
  residual: createResidualQuantizer,
  slot: createSlotQuantizer,
  full: createFullQuantizer,
};

/** Checks the codebook and gives its quantiser. */
export const createQuantizer = (codebook: Codebook): Quantizer => quantizers[codebook.kind](codebook);
