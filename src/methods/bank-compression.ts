import { z } from "zod";
import { internal } from "../errors.ts";
import { bankFit } from "./bank/fit.ts";
import { defineMethod } from "./definition.ts";

export const bankCompression = defineMethod({
  name: "bank-compression",
  summary: "documents as a few codes each in a bank, read back as a prefix",
  paper: "https://arxiv.org/abs/2601.00756",
  options: z.object({}),
  fit: bankFit,
  create: async () => internal("bank-compression: not here yet"),
  save: async () => internal("bank-compression: not here yet"),
});
