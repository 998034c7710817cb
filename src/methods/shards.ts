/**
 * A batch divided among copies of one program, each in a thread of its own: matrices as small as those of a training
 * step leave several threads inside one operator waiting for each other, copies wait once per step.
 * The runtime takes no shared memory on Node 20, so weights and gradients are copied by each thread, 0.06 ms per MB.
 */
import { internal, UserError } from "../errors.ts";
import { allOrNone, type Runtime } from "../runtime/runtime.ts";
import { type HostTensor, sizeOf } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/graph.ts";

type Weights = Readonly<Record<string, HostTensor>>;
type Floats = HostTensor<"float32">;

/** Copies of weights beyond this are not made unasked. */
const maxBytes = 2 ** 28;
/** With fewer tokens per thread, starting and joining the threads costs what it gains (measured: even at 128). */
const minTokens = 256;

export interface ShardingOptions {
  readonly runtime: Runtime;
  readonly weights: Weights;
  /** B rows of T tokens. */
  readonly batchSize: number;
  readonly contextLength: number;
  /** As asked for; without it, as many as the runtime has threads. */
  readonly workers?: number;
}

/**
 * Threads that share a batch: what was asked for where that divides the batch, else 1; when nothing was, the most that
 * divide it. 1 for accelerators, and unasked for short batches and where copies of the weights would take much memory.
 */
export function shardCount({ runtime, weights, batchSize, contextLength, workers }: ShardingOptions): number {
  if (workers !== undefined && !(Number.isInteger(workers) && workers > 0))
    throw new UserError(`objective: expected 1 or more workers, got ${workers}; leave it out for the default`);
  if (runtime.device !== "cpu") return 1;
  if (workers !== undefined) return batchSize % workers === 0 ? workers : 1;
  const bytes = Object.values(weights).reduce((sum, { data }) => sum + data.byteLength, 0);
  let count = Math.min(runtime.threads, batchSize);
  while (batchSize % count !== 0) count--;
  const pays = (batchSize / count) * contextLength >= minTokens && count * bytes <= maxBytes;
  return pays ? count : 1;
}

/** Arrays beside each other in one piece of shared memory. */
function sharedArrays(shapes: Readonly<Record<string, readonly number[]>>) {
  const entries = Object.entries(shapes);
  const all = new Float32Array(
    new SharedArrayBuffer(4 * entries.reduce((total, [, shape]) => total + sizeOf(shape), 0)),
  );
  const tensors: Record<string, Floats> = {};
  let at = 0;
  for (const [name, shape] of entries) {
    tensors[name] = { dtype: "float32", shape, data: all.subarray(at, (at += sizeOf(shape))) };
  }
  return { all, tensors };
}

/** The k-th of `count` equal parts along the first axis. */
function part<T extends HostTensor>(tensor: T, k: number, count: number): T {
  const [rows, ...rest] = tensor.shape;
  if (rows % count !== 0) internal(`shards: ${rows} rows for ${count} threads`);
  const size = sizeOf(tensor.shape) / count;
  return { ...tensor, shape: [rows / count, ...rest], data: tensor.data.subarray(k * size, (k + 1) * size) };
}

export interface ShardOptions {
  readonly runtime: Runtime;
  /** Of the graph of one shard. Outputs `summed` maps to a total are added up, others come back from every shard. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Fed to every shard as they are then; all float32. */
  readonly weights: Weights;
  /** Shapes of the totals, by name of output. */
  readonly summed: Readonly<Record<string, readonly number[]>>;
  readonly count: number;
}

export interface Shards {
  /** Sums over the shards, by name of output. */
  readonly totals: Readonly<Record<string, Floats>>;
  /**
   * Run every shard on its part of the feeds, cut along their first axis. The sums are written over the totals, or
   * added to them. Returns the other outputs of each shard. Noise is drawn for all and cut likewise: as without shards
   * where its first axis is the batch.
   */
  run(
    feeds: Weights,
    options: { readonly add: boolean; readonly fill: (stream: string, target: Float32Array) => void },
  ): Promise<readonly Readonly<Record<string, HostTensor>>[]>;
  release(): Promise<void>;
}

export async function createShards({ runtime, outputs, weights, summed, count }: ShardOptions): Promise<Shards> {
  const replicas = await runtime.replicate(outputs, count);
  const read = replicas.programs[0].inputs.filter(({ name }) => name in weights).map(({ name }) => name);
  const fed = sharedArrays(Object.fromEntries(read.map((name) => [name, weights[name].shape])));
  const parts = Array.from({ length: count }, () => sharedArrays(summed));
  const { all, tensors: totals } = sharedArrays(summed);
  return {
    totals,
    async run(feeds, { add, fill }) {
      for (const name of read) fed.tensors[name].data.set(weights[name].data as Float32Array);
      const noise = new Map<string, Float32Array>();
      const noiseOf = (stream: string, length: number): Float32Array => {
        const known = noise.get(stream);
        if (known) return known;
        const drawn = new Float32Array(length);
        fill(stream, drawn);
        noise.set(stream, drawn);
        return drawn;
      };
      const results = await allOrNone(
        replicas.programs.map((program, k) =>
          program.run(
            {
              ...fed.tensors,
              ...Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, part(feed, k, count)])),
            },
            {
              into: parts[k].tensors,
              fill: (stream, target) => {
                const { length } = target;
                target.set(noiseOf(stream, count * length).subarray(k * length, (k + 1) * length));
              },
            },
          ),
        ),
      );
      const terms = parts.map((one) => one.all);
      await replicas.sum(all, add ? [all, ...terms] : terms);
      return results;
    },
    release: replicas.release,
  };
}
