/**
 * The training objective of language models: one compiled program that gives the loss of a batch and its gradients
 * towards the trainable weights. Weights are read in place, so an update by the host is seen by the next run.
 */
import type { ModelDefinition } from "../models/model.ts";
import { type LowRank, paramsOf, weightInputs } from "../nn/params.ts";
import type { Program, Runtime } from "../runtime/runtime.ts";
import { type HostTensor, zerosHost } from "../tensor/dtype.ts";
import { crossEntropy, input, mul, reshape, rows, sum } from "../tensor/functions.ts";
import { sparseGradients } from "../tensor/grad.ts";
import type { Tensor } from "../tensor/graph.ts";
import { randomStream } from "../tensor/random.ts";
import type { Batch } from "./batches.ts";

type Weights = Readonly<Record<string, HostTensor>>;

export interface ObjectiveOptions {
  readonly runtime: Runtime;
  readonly definition: ModelDefinition;
  readonly config: unknown;
  /** Every weight the forward pass reads, by checkpoint name; adapters included. */
  readonly weights: Weights;
  /** Which of them get gradients. */
  readonly trainable: readonly string[];
  readonly lowRank?: LowRank;
  /** B rows of T tokens. */
  readonly batchSize: number;
  readonly contextLength: number;
  readonly seed: number;
}

export interface Objective {
  /** Gradients of the last `accumulate` calls since `clear`, by name. */
  readonly gradients: Readonly<Record<string, Float32Array>>;
  clear(): void;
  /**
   * Add the gradient of sum(loss of counted tokens) / `total` and return that share of the loss in nats.
   * With `total` = counted tokens of all micro-batches, the sums are the gradient and loss of the joint batch.
   * `step` seeds dropout, so a resumed run draws the same noise.
   */
  accumulate(batch: Batch, total: number, step: number): Promise<number>;
  /** Give the compiled program back. */
  dispose(): Promise<void>;
}

interface RowOutputs {
  readonly name: string;
  readonly indices: string;
  readonly values: string;
}

/** Build the graph: loss, dense gradients, and row gradients of tables that are only looked up. */
function buildGraph({
  definition,
  config,
  weights,
  trainable,
  lowRank,
  batchSize: B,
  contextLength: T,
}: ObjectiveOptions) {
  const inputs = weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape])));
  const p = paramsOf(inputs, lowRank);
  const { final } = definition.forward(p, config, { ids: input("ids", "int32", [B, T]) });
  const losses = crossEntropy(
    definition.logits(p, config, rows(final)),
    reshape(input("targets", "int32", [B, T]), [B * T]),
  );
  const loss = sum(mul(losses, reshape(input("share", "float32", [B, T]), [B * T])));
  const wanted = trainable.map((name) => inputs[name]);
  // Look-ups along rows stay rows: a dense gradient of the table would be mostly zeros
  const found = sparseGradients(loss, wanted, new Set(wanted));
  const outputs: Record<string, Tensor> = { loss };
  const rowOutputs: RowOutputs[] = [];
  for (const [i, { dense, rows: parts }] of found.entries()) {
    const name = trainable[i];
    if (dense) outputs[`grad:${name}`] = dense;
    for (const [k, part] of parts.entries()) {
      const names = { name, indices: `rows:${name}:${k}`, values: `values:${name}:${k}` };
      outputs[names.indices] = part.indices;
      outputs[names.values] = part.values;
      rowOutputs.push(names);
    }
  }
  return { outputs, rowOutputs };
}

function addRows(target: Float32Array, indices: Int32Array, values: Float32Array): void {
  const width = values.length / indices.length;
  for (let i = 0; i < indices.length; i++) {
    const to = indices[i] * width;
    const from = i * width;
    for (let j = 0; j < width; j++) target[to + j] += values[from + j];
  }
}

function addInto(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}

export async function createObjective(options: ObjectiveOptions): Promise<Objective> {
  const { runtime, weights, trainable, batchSize: B, contextLength: T, seed } = options;
  const { outputs, rowOutputs } = buildGraph(options);
  const program: Program = await runtime.compile(outputs);
  const zeros = (): Record<string, HostTensor<"float32">> =>
    Object.fromEntries(trainable.map((name) => [name, zerosHost("float32", weights[name].shape)]));
  const totals = zeros();
  let scratch: Record<string, HostTensor<"float32">> | undefined;
  let calls = 0;
  const used = Object.fromEntries(
    program.inputs.filter(({ name }) => name in weights).map(({ name }) => [name, weights[name]]),
  );
  return {
    gradients: Object.fromEntries(trainable.map((name) => [name, totals[name].data])),
    clear() {
      calls = 0;
      for (const { name } of rowOutputs) totals[name].data.fill(0);
    },
    async accumulate(batch, total, step) {
      // The first micro-batch is written where the sum will be, so a step without accumulation copies nothing
      const target = calls === 0 ? totals : (scratch ??= zeros());
      const into = Object.fromEntries(
        trainable.filter((name) => `grad:${name}` in outputs).map((name) => [`grad:${name}`, target[name]]),
      );
      const share = Float32Array.from(batch.mask, (m) => m / total);
      const results = await program.run(
        {
          ...used,
          ids: { dtype: "int32", shape: [B, T], data: batch.ids },
          targets: { dtype: "int32", shape: [B, T], data: batch.targets },
          share: { dtype: "float32", shape: [B, T], data: share },
        },
        { into, fill: (stream, data) => randomStream(seed, "dropout", step, calls, stream).fillUniform(data) },
      );
      if (calls > 0)
        for (const name of trainable) if (`grad:${name}` in outputs) addInto(totals[name].data, target[name].data);
      for (const { name, indices, values } of rowOutputs) {
        addRows(totals[name].data, results[indices].data as Int32Array, results[values].data as Float32Array);
      }
      calls++;
      return (results.loss.data as Float32Array)[0];
    },
    dispose: () => program.release(),
  };
}
