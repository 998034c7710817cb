/**
 * The training objective of language models: one compiled program that gives the loss of a batch and its gradients
 * towards the trainable weights. Weights are read in place, so an update by the host is seen by the next run.
 */
import type { ForwardOutputs, ModelDefinition } from "../models/model.ts";
import { type Modification, paramsOf, weightInputs } from "../nn/params.ts";
import type { RowSum } from "../nn/row-sum.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../tensor/dtype.ts";
import { crossEntropy, input, mul, reshape, rows, sum } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import type { Batch, Counted } from "./batches.ts";
import { createGradients } from "./gradients.ts";
import { shardCount } from "./shards.ts";

type Weights = Readonly<Record<string, HostTensor>>;

export interface ObjectiveOptions {
  readonly runtime: Runtime;
  readonly definition: ModelDefinition;
  readonly config: unknown;
  /** Every weight the forward pass reads, by checkpoint name; adapters included. */
  readonly weights: Weights;
  /** Which of them get gradients. */
  readonly trainable: readonly string[];
  /** Tables among these whose gradients stay rows (`ModelDefinition.tables`). */
  readonly tables?: readonly string[];
  /** What the method adds to the layers while training. */
  readonly modification?: Modification;
  /** B rows of T tokens, the most that a batch has: each shorter length gets a program of its own when it comes. */
  readonly batchSize: number;
  readonly contextLength: number;
  readonly seed: number;
  /**
   * Threads that each compute an equal part of the batch, on a CPU. Default: as many of the runtime's threads as divide
   * B; one for batches too short to gain, and weights too large to be copied for each. Also one when B is no multiple
   * of what is asked for. Equal numbers need an equal count.
   */
  readonly workers?: number;
}

/** What the training loop asks for gradients; `B` is the kind of batch it reads. */
export interface Objective<B extends Counted = Batch> {
  /** Gradients of the last `accumulate` calls since `clear`, by name. */
  readonly gradients: Readonly<Record<string, Float32Array>>;
  /** Those of tables that are only looked up, likewise. */
  readonly rows?: Readonly<Record<string, RowSum>>;
  clear(): void;
  /**
   * Add the gradient of sum(loss of counted tokens) / `total` and return that share of the loss in nats.
   * With `total` = counted tokens of all micro-batches, the sums are the gradient and loss of the joint batch.
   * `step` seeds dropout, so a resumed run draws the same noise.
   */
  accumulate(batch: B, total: number, step: number): Promise<number>;
  /** Give the compiled program back. */
  dispose(): Promise<void>;
}

type GraphOptions = Pick<
  ObjectiveOptions,
  "definition" | "config" | "weights" | "modification" | "batchSize" | "contextLength"
>;

/** The graph of the loss of `ids` and `targets` [B, T], each token weighed by its `share`; and what they read. */
export function lossGraph({
  definition,
  config,
  weights,
  modification,
  batchSize: B,
  contextLength: T,
}: GraphOptions): {
  readonly inputs: Record<string, Tensor>;
  readonly loss: Tensor;
  readonly reads: ForwardOutputs["reads"];
} {
  const inputs = weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape])));
  const p = paramsOf(inputs, modification);
  const { final, reads } = definition.forward(p, config, { ids: input("ids", "int32", [B, T]) });
  const losses = crossEntropy(
    definition.logits(p, config, rows(final)),
    reshape(input("targets", "int32", [B, T]), [B * T]),
  );
  return { inputs, reads, loss: sum(mul(losses, reshape(input("share", "float32", [B, T]), [B * T]))) };
}

export async function createObjective(options: ObjectiveOptions): Promise<Objective> {
  const { runtime, weights, trainable, tables, batchSize: B, contextLength, seed } = options;
  const workers = shardCount(options);
  const {
    gradients,
    rows: rowSums,
    clear,
    add,
    resized,
    dispose,
  } = await createGradients({
    runtime,
    ...lossGraph({ ...options, batchSize: B / workers }),
    workers,
    weights,
    trainable,
    tables,
    seed,
  });
  /** Programs for rows that are shorter, by their length. */
  const shorter = new Map<number, ReturnType<typeof resized>>();
  const programFor = async (length: number): Promise<{ add: typeof add }> => {
    if (length === contextLength) return { add };
    const made = shorter.get(length) ?? resized(lossGraph({ ...options, contextLength: length }));
    shorter.set(length, made);
    return made;
  };
  return {
    gradients,
    rows: rowSums,
    clear,
    async accumulate({ ids, targets, mask }, total, step) {
      const shape = [B, ids.length / B];
      const program = await programFor(shape[1]);
      const share = mask.map((m) => m / total);
      return program.add(
        { ids: int32Host(shape, ids), targets: int32Host(shape, targets), share: float32Host(shape, share) },
        step,
      );
    },
    async dispose() {
      await dispose();
      for (const program of shorter.values()) await (await program).dispose();
    },
  };
}
