/**
 * Bottleneck adapters (https://arxiv.org/abs/1902.00751). Weights stay frozen; behind every attention and every
 * feed-forward, before the residual sum, trains h + W_up f(W_down h + b_down) + b_up of width m (section 2.1, figure
 * 2):
 * 2 m d + d + m parameters each.
 * Differs from the paper: W_up and the biases begin at zero and W_down uniform as in PyTorch's linear layers, so that
 * the model starts as the base exactly (the paper: both near zero); norms stay frozen too (the paper trains them).
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import type { LoadedModel } from "../models/load.ts";
import { activationNames } from "../nn/activation.ts";
import { bottleneckAdapters, bottleneckNames } from "../nn/bottleneck.ts";
import { kaimingUniform } from "../nn/init.ts";
import { type HostTensor, sizeOf, zerosHost } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import { saveBottleneck } from "./bottleneck-folder.ts";
import { defineMethod } from "./definition.ts";
import { gradientMethod, trainingOptions } from "./gradient-method.ts";

const options = z.object({
  learningRate: z.number().positive().default(1e-2).describe("peak learning rate"),
  share: z
    .number()
    .positive()
    .max(1)
    .default(0.01)
    .describe("size of all adapters as a share of the model's parameters; the bottleneck is as wide as that allows"),
  size: z.int().positive().optional().describe("m, the width of the bottleneck, instead of a share"),
  activation: z.enum(activationNames).default("gelu").describe("f, between the two projections"),
  ...trainingOptions,
});

/** The width m whose adapters come closest to a share of the parameters; at least 1. */
export function bottleneckSize({ definition, config, geometry, weights }: LoadedModel, share: number): number {
  const parameters = Object.values(weights).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const each = (share * parameters) / definition.sublayerPaths(config).length;
  const { width } = geometry;
  return Math.max(1, Math.round((each - width) / (2 * width + 1)));
}

function freshAdapters(
  { definition, config, geometry }: LoadedModel,
  size: number,
  seed: number,
): Record<string, HostTensor<"float32">> {
  const { width } = geometry;
  const adapters: Record<string, HostTensor<"float32">> = {};
  for (const path of definition.sublayerPaths(config)) {
    const down = zerosHost("float32", [size, width]);
    kaimingUniform()(down.data, down.shape, randomStream(seed, "adapter", path));
    adapters[`${path}.${bottleneckNames.down}`] = down;
    adapters[`${path}.${bottleneckNames.downBias}`] = zerosHost("float32", [size]);
    adapters[`${path}.${bottleneckNames.up}`] = zerosHost("float32", [width, size]);
    adapters[`${path}.${bottleneckNames.upBias}`] = zerosHost("float32", [width]);
  }
  return adapters;
}

export const adapter = defineMethod({
  name: "adapter",
  summary: "freeze the model, train small bottlenecks behind its attentions and feed-forwards",
  paper: "https://arxiv.org/abs/1902.00751",
  options,
  async create(base, { learningRate, share, size = bottleneckSize(base, share), activation, ...training }, deps) {
    return gradientMethod({
      name: "adapter",
      base,
      trainable: freshAdapters(base, size, deps.seed),
      modification: bottleneckAdapters(activation),
      settings: { bottleneck: { size, activation } },
      checkState(json) {
        const saved = savedActivation(json);
        if (saved === activation) return;
        throw new UserError(
          `adapter: expected a state of activation ${activation}, got ${saved ?? "none"}; use the one it was ` +
            "trained with",
        );
      },
      learningRate,
      training,
      deps,
    });
  },
  async save(method, base, folder, { activation }) {
    const { tensors } = await method.state();
    await saveBottleneck(base, { tensors: tensors as Record<string, HostTensor<"float32">>, activation }, folder);
    return `adapter: ${folder}`;
  },
});

const savedActivation = (json: Readonly<Record<string, unknown>>): string | undefined =>
  z.object({ bottleneck: z.object({ activation: z.string() }) }).safeParse(json).data?.bottleneck.activation;
