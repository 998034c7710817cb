/** The runtime: compiles graphs once per signature, keeps their sessions, runs them with inputs read in place. */
import { availableParallelism } from "node:os";
import { UserError } from "../errors.ts";
import { type DType, type HostTensor, sizeOf } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/graph.ts";
import { dimTerms, type Dim, evaluateDim, formatShape, isStatic } from "../tensor/shape.ts";
import { type CompiledGraph, compileGraph, type InputSpec } from "./compile.ts";
import type { OnnxValue } from "./onnx.ts";
import { createSession, type Device, type HostTensors, type Session, type SessionOptions } from "./session.ts";
import { type WorkerHost, workerHost } from "./worker.ts";

export interface RuntimeOptions {
  /** Where to compute. Default "cpu". */
  device?: Device;
  /** Threads inside one operator. Default: all cores. */
  threads?: number;
  /** Prefix of operator profiles, for finding what is slow. */
  profile?: string;
  /** Where sessions live: this thread by default, a worker through `workerHost()`. */
  host?: SessionHost;
}

/** Creates sessions on some thread. */
export interface SessionHost {
  create(model: Uint8Array, options: SessionOptions): Promise<Session>;
  dispose(): Promise<void>;
}

const thisThread: SessionHost = { create: createSession, dispose: async () => {} };

export interface RunOptions {
  /** Outputs to write in place; the others are allocated. */
  into?: HostTensors;
  /** Fills `random` leaves: same seed, same numbers. Needed when the graph has one. */
  fill?: (stream: string, target: Float32Array) => void;
}

export interface ProgramOptions {
  /**
   * On by default: between operators threads wait awake, which is quickest where one run follows another. A single
   * short run then leaves them awake and in the way of whatever comes after it, for up to 130 ms: turn it off there.
   */
  readonly spin?: boolean;
}

/** A compiled graph, ready to run any number of times. */
export interface Program {
  readonly inputs: readonly InputSpec[];
  readonly outputs: readonly string[];
  run(feeds: HostTensors, options?: RunOptions): Promise<Record<string, HostTensor>>;
  /** Give the program back; its session ends with the last program of the same signature. */
  release(): Promise<void>;
}

/** Copies of one compiled graph that run side by side, each in a thread of its own. */
export interface Replicas {
  /** What they are fed from and write into shared memory is copied once, other arrays twice. */
  readonly programs: readonly Program[];
  /** target = the sum of `parts`, in this order; equally long and in shared memory. Every thread adds up a stretch. */
  sum(target: Float32Array, parts: readonly Float32Array[]): Promise<void>;
  /** Give all copies back; their threads wait for the next ones until the runtime is disposed. */
  release(): Promise<void>;
}

export interface Runtime {
  readonly device: Device;
  readonly threads: number;
  /** Compile named outputs. Inputs named in `frozen` become initializers: slower to create, faster to run. */
  compile(outputs: Readonly<Record<string, Tensor>>, frozen?: HostTensors, options?: ProgramOptions): Promise<Program>;
  /** Compile `count` copies, which share the runtime's threads. */
  replicate(outputs: Readonly<Record<string, Tensor>>, count: number): Promise<Replicas>;
  /**
   * Seconds during which at least one session was being created or ran, each moment once: what is not in them is spent
   * in this language, on building graphs and adding up replicas' gradients too.
   */
  seconds(): number;
  dispose(): Promise<void>;
}

function checkFeed(spec: InputSpec, value: HostTensor | undefined, sizes: Map<string, number>): HostTensor {
  const wanted = `${spec.dtype}${formatShape(spec.shape)}`;
  if (!value) throw new UserError(`run: expected input ${spec.name} of ${wanted}, got none; add it to the feeds`);
  const fits =
    value.dtype === spec.dtype &&
    value.shape.length === spec.shape.length &&
    spec.shape.every((dim, i) => {
      if (typeof dim === "string" && /^\w+$/.test(dim) && !sizes.has(dim)) sizes.set(dim, value.shape[i]);
      return typeof dim === "string" && !/^\w+$/.test(dim) ? true : evaluateDim(dim, sizes) === value.shape[i];
    });
  if (!fits)
    throw new UserError(`run: expected input ${spec.name} of ${wanted}, got ${value.dtype}${formatShape(value.shape)}`);
  if (value.data.length < sizeOf(value.shape)) {
    throw new UserError(
      `run: expected ${sizeOf(value.shape)} numbers for input ${spec.name}, got ${value.data.length}`,
    );
  }
  return value;
}

/** The array that an output is written into: all that is known of the output must hold, and its numbers must fit. */
function checkTarget(name: string, output: OnnxValue, value: HostTensor, sizes: ReadonlyMap<string, number>): void {
  // Plain numbers and names first: a decoder checks dozens of targets per token
  const sizeOfAxis = (dim: Dim): Dim => {
    if (typeof dim === "number") return dim;
    const isKnown = (): boolean => dimTerms(dim).every(([, names]) => names.every((one) => sizes.has(one)));
    return sizes.get(dim) ?? (isKnown() ? evaluateDim(dim, sizes) : dim);
  };
  const shape = output.shape.map(sizeOfAxis);
  const fits =
    value.dtype === output.dtype &&
    value.shape.length === shape.length &&
    shape.every((dim, i) => typeof dim === "string" || dim === value.shape[i]) &&
    value.data.length >= sizeOf(value.shape);
  if (fits) return;
  throw new UserError(
    `run: expected \`into\` for output ${name} of ${output.dtype}${formatShape(shape)}, ` +
      `got ${value.dtype}${formatShape(value.shape)} with ${value.data.length} numbers; leave it out to have it ` +
      "allocated",
  );
}

/** Adds up the time in which something is under way; what overlaps counts once. */
function stopwatch(): { during<T>(work: () => Promise<T>): Promise<T>; seconds(): number } {
  let under = 0;
  let since = 0;
  let milliseconds = 0;
  return {
    async during(work) {
      if (under++ === 0) since = performance.now();
      try {
        return await work();
      } finally {
        if (--under === 0) milliseconds += performance.now() - since;
      }
    },
    seconds: () => (milliseconds + (under > 0 ? performance.now() - since : 0)) / 1000,
  };
}

function program(
  graph: CompiledGraph,
  outputs: readonly string[],
  run: Session["run"],
  release: () => Promise<void>,
): Program {
  const fetches = graph.outputs.map(({ name }) => name);
  return {
    inputs: graph.inputs,
    outputs,
    async run(feeds, { into = {}, fill } = {}) {
      const sizes = new Map<string, number>();
      const fed: Record<string, HostTensor> = {};
      for (const spec of graph.inputs) {
        if (spec.stream === undefined) fed[spec.name] = checkFeed(spec, feeds[spec.name], sizes);
      }
      for (const spec of graph.inputs) {
        if (spec.stream === undefined) continue;
        if (!fill)
          throw new UserError(
            "run: expected `fill` for a graph with random numbers, got none; pass a seeded generator",
          );
        const shape = spec.shape.map((dim) => evaluateDim(dim, sizes));
        const data = new Float32Array(sizeOf(shape));
        fill(spec.stream, data);
        fed[spec.name] = { dtype: "float32", shape, data };
      }
      const targets: Record<string, HostTensor> = {};
      for (const [i, name] of outputs.entries()) {
        if (!into[name]) continue;
        checkTarget(name, graph.outputs[i], into[name], sizes);
        targets[fetches[i]] = into[name];
      }
      const results = await run(fed, fetches, targets);
      return Object.fromEntries(outputs.map((name, i) => [name, results[fetches[i]]]));
    },
    release,
  };
}

/** Create a runtime. Dispose it to free every session. */
export function createRuntime({
  device = "cpu",
  threads = defaultThreads(),
  profile,
  host = thisThread,
}: RuntimeOptions = {}): Runtime {
  if (!Number.isInteger(threads) || threads < 1)
    throw new UserError(`runtime: expected 1 or more threads, got ${threads}`);
  const shared = new Map<string, { session: Promise<Session>; users: number }>();
  const workers: WorkerHost[] = [];
  const watch = stopwatch();
  return {
    device,
    threads,
    async compile(outputs, frozen, { spin = true } = {}) {
      const graph = compileGraph(outputs, frozen, device);
      const signature = `${graph.signature}${spin ? "" : " quiet"}`;
      const fixedSizes = graph.inputs.every(({ shape }) => isStatic(shape));
      const entry = shared.get(signature) ?? {
        session: watch.during(() => host.create(graph.model, { device, threads, fixedSizes, spin, profile })),
        users: 0,
      };
      shared.set(signature, entry);
      entry.users++;
      const release = once(async () => {
        if (--entry.users > 0) return;
        if (shared.get(signature) === entry) shared.delete(signature);
        await (await entry.session).release();
      });
      try {
        const session = await entry.session;
        const run: Session["run"] = (...work) => watch.during(() => session.run(...work));
        return program(graph, Object.keys(outputs), run, release);
      } catch (error) {
        if (shared.get(signature) === entry) shared.delete(signature);
        throw error;
      }
    },
    async replicate(outputs, count) {
      const graph = compileGraph(outputs, {}, device);
      const options: SessionOptions = {
        device,
        threads: Math.max(1, Math.floor(threads / count)),
        fixedSizes: graph.inputs.every(({ shape }) => isStatic(shape)),
      };
      while (workers.length < count) workers.push(workerHost());
      const used = workers.slice(0, count);
      const sessions = await allOrNone(
        used.map((worker) => watch.during(() => worker.create(graph.model, options))),
        (session) => session.release(),
      );
      const names = Object.keys(outputs);
      return {
        programs: sessions.map((session) =>
          program(graph, names, (...work) => watch.during(() => session.run(...work)), session.release),
        ),
        async sum(target, parts) {
          const stretch = Math.ceil(target.length / count);
          const cut = (values: Float32Array, k: number) => values.subarray(k * stretch, (k + 1) * stretch);
          await allOrNone(
            used.map((worker, k) =>
              worker.sum(
                cut(target, k),
                parts.map((part) => cut(part, k)),
              ),
            ),
          );
        },
        release: once(async () => {
          await Promise.all(sessions.map((session) => session.release()));
        }),
      };
    },
    seconds: watch.seconds,
    async dispose() {
      const all = [...shared.values()];
      shared.clear();
      for (const entry of all) {
        entry.users = Number.POSITIVE_INFINITY; // programs given back later find nothing left to end
        await (await entry.session).release();
      }
      await Promise.all([host, ...workers.splice(0)].map((one) => one.dispose()));
    },
  };
}

/** Waits for all, also when one fails: nothing is under way after that, and what succeeded is undone. */
export async function allOrNone<T>(
  work: readonly Promise<T>[],
  undo: (result: T) => unknown = () => {},
): Promise<readonly T[]> {
  const settled = await Promise.allSettled(work);
  const failed = settled.find((one) => one.status === "rejected");
  if (!failed) return settled.map((one) => (one as PromiseFulfilledResult<T>).value);
  await Promise.all(settled.map((one) => one.status === "fulfilled" && undo(one.value)));
  throw failed.reason;
}

function once(action: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= action());
}

function defaultThreads(): number {
  return Math.max(1, availableParallelism());
}

/**
 * Build and compile a graph per signature of its arguments:
 * `const f = jit(runtime, ({ x, w }) => ({ y: matmul(x, w) })); const { y } = await f({ x, w });`
 */
export function jit(
  runtime: Runtime,
  build: (inputs: Record<string, Tensor>) => Record<string, Tensor>,
): (feeds: HostTensors, options?: RunOptions) => Promise<Record<string, HostTensor>> {
  const programs = new Map<string, Promise<Program>>();
  return async (feeds, options) => {
    const types: [string, DType, readonly number[]][] = Object.entries(feeds).map(([name, { dtype, shape }]) => [
      name,
      dtype,
      shape,
    ]);
    const signature = JSON.stringify(types);
    let compiled = programs.get(signature);
    if (!compiled) {
      compiled = runtime.compile(
        build(Object.fromEntries(types.map(([name, dtype, shape]) => [name, input(name, dtype, shape)]))),
      );
      programs.set(signature, compiled);
    }
    const ready = await compiled;
    const used = Object.fromEntries(
      ready.inputs.filter(({ stream }) => stream === undefined).map(({ name }) => [name, feeds[name]]),
    );
    return ready.run(used, options);
  };
}
