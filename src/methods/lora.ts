/**
 * LoRA: low-rank adaptation (https://arxiv.org/abs/2106.09685). Weights stay frozen; beside chosen linear layers train
 * A [r, in] (random) and B [out, r] (zero), so that h = W x + (alpha / r) B A x (Eq. 3) starts as the base model.
 * Differs from the paper: any linear layer of the blocks may be adapted, by default all; the paper adapts W_q and W_v.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { LoadedModel, Weights } from "../models/load.ts";
import { kaimingUniform } from "../nn/init.ts";
import { type LowRank, lowRankAdapters } from "../nn/lora.ts";
import { zerosHost } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import { defineMethod } from "./definition.ts";
import { gradientMethod, trainingOptions } from "./gradient-method.ts";
import type { MethodState } from "./method.ts";
import { type Adapter, mergeAdapter, saveAdapter } from "./peft.ts";
import { saveModel } from "./save-model.ts";

const options = z.object({
  learningRate: z.number().positive().default(5e-3).describe("peak learning rate"),
  rank: z.int().positive().default(8).describe("r, the width of the adapters"),
  alpha: z.number().positive().default(16).describe("adapters are scaled by alpha / rank"),
  dropout: z.number().min(0).max(0.9).default(0).describe("share of adapter inputs zeroed while training"),
  targets: z
    .array(z.string().min(1))
    .default([])
    .describe(
      "last parts of the names of adapted layers (q_proj, v_proj, ...); all linear layers of the blocks when empty",
    ),
  merge: z.boolean().default(false).describe("save one merged model instead of an adapter"),
  ...trainingOptions,
});

/** Paths of the layers to adapt. */
export function targetPaths({ definition, config }: LoadedModel, targets: readonly string[]): string[] {
  const all = definition.linearPaths(config);
  if (targets.length === 0) return all;
  const kinds = [...new Set(all.map((path) => path.split(".").at(-1) as string))];
  for (const target of targets) {
    if (!all.some((path) => path === target || path.endsWith(`.${target}`))) {
      throw new UserError(`lora: expected targets among ${kinds.join(", ")}, got ${target}`);
    }
  }
  return all.filter((path) => targets.some((target) => path === target || path.endsWith(`.${target}`)));
}

/** Fresh adapters: A uniform as in PyTorch's linear layers (the reference implementation's choice), B zero. */
export function freshAdapters(
  base: LoadedModel,
  paths: readonly string[],
  rank: number,
  seed: number,
): Record<string, HostTensor<"float32">> {
  const adapters: Record<string, HostTensor<"float32">> = {};
  const inputFirst = base.definition.linearInputFirst;
  for (const path of paths) {
    const [rows, columns] = base.weights[`${path}.weight`].shape;
    const [outputs, inputs] = inputFirst ? [columns, rows] : [rows, columns];
    const a = zerosHost("float32", [rank, inputs]);
    kaimingUniform()(a.data, a.shape, randomStream(seed, "lora", path));
    adapters[`${path}.lora_A.weight`] = a;
    adapters[`${path}.lora_B.weight`] = zerosHost("float32", [outputs, rank]);
  }
  return adapters;
}

/** What a state says of its adapters; nothing if it is another method's. */
const savedLowRank = (json: MethodState["json"]): LowRank | undefined =>
  z.object({ lowRank: z.object({ scale: z.number(), dropout: z.number() }) }).safeParse(json).data?.lowRank;

/** The adapter that a method's state holds; its rank and alpha are those it was trained with. */
export function adapterOf({ tensors, json }: MethodState): Adapter {
  const down = Object.entries(tensors).find(([name]) => name.endsWith(".lora_A.weight"));
  const lowRank = savedLowRank(json);
  if (!down || !lowRank)
    throw new UserError("lora: expected the state of a lora method, got another one's; save it with its own method");
  const [rank] = down[1].shape;
  const { scale, dropout } = lowRank;
  return { tensors: tensors as Weights, rank, alpha: Number((scale * rank).toPrecision(12)), dropout };
}

export const lora = defineMethod({
  name: "lora",
  summary: "freeze the model, train low-rank adapters beside its linear layers",
  paper: "https://arxiv.org/abs/2106.09685",
  options,
  async create(base, { learningRate, rank, alpha, dropout, targets, merge: _onlyForSaving, ...training }, deps) {
    const trainable = freshAdapters(base, targetPaths(base, targets), rank, deps.seed);
    return gradientMethod({
      name: "lora",
      base,
      trainable,
      settings: { lowRank: { scale: alpha / rank, dropout } },
      modification: lowRankAdapters({ scale: alpha / rank, dropout: 0 }),
      whileTraining: lowRankAdapters({ scale: alpha / rank, dropout }),
      checkState(json) {
        const saved = savedLowRank(json)?.scale;
        if (saved === alpha / rank) return;
        throw new UserError(
          `lora: expected a state of scale alpha / rank = ${alpha / rank}, got ${saved ?? "none"}; use the alpha it ` +
            "was trained with",
        );
      },
      learningRate,
      training,
      deps,
    });
  },
  async save(method, base, folder, { merge }) {
    const adapter = adapterOf(await method.state());
    if (!merge) {
      await saveAdapter(base, adapter, folder);
      return `adapter in PEFT layout: ${folder}`;
    }
    await saveModel(base, mergeAdapter(base, adapter), folder);
    return `merged model in Hugging Face layout: ${folder}`;
  },
});
