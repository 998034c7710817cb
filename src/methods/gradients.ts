/**
 * A scalar loss as one compiled program that also gives its gradients towards the trainable weights, summed over calls.
 * Weights are read in place, so an update by the host is seen by the next run. Every objective is built on this.
 */
import { internal } from "../errors.ts";
import { createRowSum, type RowSum } from "../nn/row-sum.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { sumArrays } from "../runtime/sum.ts";
import { type HostTensor, zerosHost } from "../tensor/dtype.ts";
import { sparseGradients } from "../tensor/grad.ts";
import type { Tensor } from "../tensor/graph.ts";
import { randomStream } from "../tensor/random.ts";
import { createShards, type ShardOptions, type Shards } from "./shards.ts";

type Weights = Readonly<Record<string, HostTensor>>;

export interface GradientOptions {
  readonly runtime: Runtime;
  readonly loss: Tensor;
  /** The graph's inputs for the weights, by checkpoint name. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly weights: Weights;
  /** Which of them get gradients. */
  readonly trainable: readonly string[];
  /** Tables among these that are only looked up: their gradients stay the rows that were read. */
  readonly tables?: readonly string[];
  /** Of the noise that the graph asks for. */
  readonly seed: number;
  /**
   * Threads that share a batch (default 1). The graph is then that of one shard, its loss a sum over rows, and `add`
   * cuts every input into equal parts along its first axis.
   */
  readonly workers?: number;
}

/** One compiled program of a loss. */
interface LossProgram {
  /** Run on these inputs (all but the weights), add the gradients, and return the loss. */
  add(feeds: Weights, step: number): Promise<number>;
  /** Give the compiled program back. */
  dispose(): Promise<void>;
}

export interface Gradients extends LossProgram {
  /** Sums over the calls since `clear`, by name. */
  readonly gradients: Readonly<Record<string, Float32Array>>;
  /** Those of the tables, by name. */
  readonly rows: Readonly<Record<string, RowSum>>;
  clear(): void;
  /** The same loss for inputs of other sizes: a program of its own, on one thread, that adds to the same sums. */
  resized(graph: Pick<GradientOptions, "loss" | "inputs">): Promise<LossProgram>;
}

interface RowOutputs {
  readonly name: string;
  readonly indices: string;
  readonly values: string;
}

/** Loss, dense gradients, and row gradients of tables that are only looked up. */
function outputsOf({ loss, inputs, trainable }: Pick<GradientOptions, "loss" | "inputs" | "trainable">) {
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

/** Computes the loss and its gradients; dense ones are written over the totals or added to them. */
interface Computation {
  /** By name of output. */
  readonly totals: Readonly<Record<string, HostTensor<"float32">>>;
  /** The other outputs, of each shard. */
  run: Shards["run"];
  release(): Promise<void>;
}

async function onOneProgram(
  { runtime, outputs, weights, summed }: Omit<ShardOptions, "count">,
  given?: Computation["totals"],
): Promise<Computation> {
  const program = await runtime.compile(outputs);
  const zeros = (): Record<string, HostTensor<"float32">> =>
    Object.fromEntries(Object.entries(summed).map(([name, shape]) => [name, zerosHost("float32", shape)]));
  const totals = given ?? zeros();
  let scratch: Record<string, HostTensor<"float32">> | undefined;
  const used = Object.fromEntries(
    program.inputs.filter(({ name }) => name in weights).map(({ name }) => [name, weights[name]]),
  );
  return {
    totals,
    async run(feeds, { add, fill }) {
      // The first micro-batch is written where the sum will be, so a step without accumulation copies nothing
      const into = add ? (scratch ??= zeros()) : totals;
      const results = await program.run({ ...used, ...feeds }, { into, fill });
      if (add) for (const [name, { data }] of Object.entries(totals)) sumArrays(data, [data, into[name].data]);
      return [results];
    },
    release: () => program.release(),
  };
}

export async function createGradients(options: GradientOptions): Promise<Gradients> {
  const { runtime, weights, trainable, tables = [], seed, workers: count = 1 } = options;
  let calls = 0;
  const rows = Object.fromEntries(tables.map((name) => [name, createRowSum(weights[name].shape[1])]));

  const programOf = ({ run, release }: Computation, rowOutputs: readonly RowOutputs[]): LossProgram => ({
    async add(feeds, step) {
      const fill = (stream: string, data: Float32Array): unknown =>
        randomStream(seed, "dropout", step, calls, stream).fillUniform(data);
      const shards = await run(feeds, { add: calls > 0, fill });
      for (const results of shards) {
        for (const { name, indices, values } of rowOutputs) {
          const [where, what] = [results[indices].data as Int32Array, results[values].data as Float32Array];
          if (name in rows) rows[name].add(where, what);
          else addRows(gradients[name], where, what);
        }
      }
      calls++;
      return shards.reduce((sum, { loss }) => sum + (loss.data as Float32Array)[0], 0);
    },
    dispose: release,
  });

  const { outputs, rowOutputs } = outputsOf(options);
  const dense = trainable.filter((name) => `grad:${name}` in outputs);
  const wrong = dense.find((name) => name in rows);
  if (wrong !== undefined) internal(`gradients: ${wrong} is used as a whole and not only looked up`);
  const summed = Object.fromEntries(dense.map((name) => [`grad:${name}`, weights[name].shape]));
  const computed = { runtime, outputs, weights, summed };
  const computation = await (count > 1 ? createShards({ ...computed, count }) : onOneProgram(computed));
  const { totals } = computation;
  const gradients = Object.fromEntries(
    trainable
      .filter((name) => !(name in rows))
      .map((name) => [name, (totals[`grad:${name}`] ?? zerosHost("float32", weights[name].shape)).data]),
  );
  return {
    gradients,
    rows,
    clear() {
      calls = 0;
      for (const { name } of rowOutputs) gradients[name]?.fill(0);
      for (const one of Object.values(rows)) one.clear();
    },
    ...programOf(computation, rowOutputs),
    async resized(graph) {
      const other = outputsOf({ ...graph, trainable });
      return programOf(await onOneProgram({ ...computed, outputs: other.outputs }, totals), other.rowOutputs);
    },
  };
}
