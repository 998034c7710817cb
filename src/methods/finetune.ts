/**
 * Full fine-tuning: every weight trains on the new text, as a language model does in ULMFiT's second stage
 * (https://arxiv.org/abs/1801.06146, section 3.2). The plain remedy, and the disease that the others treat.
 * Differs from the paper: one learning rate for all layers (no Eq. 2), and a schedule of choice instead of its Eq. 3.
 */
import { z } from "zod";
import { defineMethod } from "./definition.ts";
import { gradientMethod, trainableCopy, trainingOptions } from "./gradient-method.ts";
import { saveTrained } from "./save-model.ts";

export const finetune = defineMethod({
  name: "finetune",
  summary: "train all weights on the new text",
  paper: "https://arxiv.org/abs/1801.06146",
  options: z.object({
    learningRate: z.number().positive().default(1e-3).describe("peak learning rate"),
    ...trainingOptions,
  }),
  async create(base, { learningRate, ...training }, deps) {
    return gradientMethod({ name: "finetune", base, trainable: trainableCopy(base), learningRate, training, deps });
  },
  save: saveTrained,
});
