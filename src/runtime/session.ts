/** The one place that talks to ONNX Runtime: sessions are created and run here, on this thread. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { UserError } from "../errors.ts";
import { type DType, type HostArray, type HostTensor, sizeOf, zerosHost } from "../tensor/dtype.ts";

type Ort = typeof import("onnxruntime-node");

export type Device = "cpu" | "webgpu" | "cuda";
export const devices: readonly Device[] = ["cpu", "webgpu", "cuda"];

export interface SessionOptions {
  readonly device: Device;
  /** Threads inside one operator. */
  readonly threads: number;
  /** Plan memory ahead: right when every run has the same sizes, a cost per run when they change. */
  readonly fixedSizes: boolean;
  /** Threads wait awake for the next operator, and go on for a while after the last: see `ProgramOptions`. */
  readonly spin?: boolean;
  /** Write a profile of every operator to `<prefix>_<time>.json` when the session is released. */
  readonly profile?: string;
}

export type HostTensors = Readonly<Record<string, HostTensor>>;

export interface Session {
  /** Run; outputs named in `into` are written into the given arrays, the others are allocated. */
  run(feeds: HostTensors, outputs: readonly string[], into?: HostTensors): Promise<Record<string, HostTensor>>;
  release(): Promise<void>;
}

/**
 * Bytes of this process's command line with which ONNX Runtime still starts: on Linux it searches its own by recursion,
 * a step a byte, and the stack of a worker ends between 10,000 and 16,500 of them, without an error to catch.
 */
const longestCommandLine = 8192;

function requireShortCommandLine(): void {
  let bytes = 0;
  try {
    bytes = readFileSync("/proc/self/cmdline").length;
  } catch {
    // No such file on other systems, and no such fault
  }
  if (bytes <= longestCommandLine) return;
  throw new UserError(
    `runtime: expected a command line of at most ${longestCommandLine} bytes, got ${bytes} (ONNX Runtime does not start ` +
      "under longer ones); shorten the texts in it, or name a file or fewer of them",
  );
}

// Loaded on first use and synchronously: its CommonJS entry starts 40 ms faster than through import().
let loaded: Ort | undefined;
function onnxruntime(): Ort {
  if (!loaded) {
    requireShortCommandLine();
    loaded = createRequire(import.meta.url)("onnxruntime-node") as Ort;
    loaded.env.logLevel = "fatal"; // errors are thrown; printing them too would spoil a terminal
  }
  return loaded;
}

/** A view, never a copy. The array may be larger than the shape; the binding takes exact lengths only. */
function toOrt(ort: Ort, { dtype, data, shape }: HostTensor): OrtTensor {
  const exact = data.length === sizeOf(shape) ? data : data.subarray(0, sizeOf(shape));
  return new ort.Tensor(dtype as "float32", exact as Float32Array, shape as number[]);
}

function fromOrt(tensor: OrtTensor): HostTensor {
  return { dtype: tensor.type as DType, shape: tensor.dims, data: tensor.data as HostArray };
}

/** Is the array a view of memory that threads share? */
export const isShared = ({ data }: HostTensor): boolean => data.buffer instanceof SharedArrayBuffer;

/** Copy all numbers of one tensor over another of its type and size. */
export function copyInto(target: HostTensor, source: HostTensor): void {
  (target.data as Float32Array).set((source.data as Float32Array).subarray(0, sizeOf(source.shape)));
}

/** The first line, without the failed assertion and its place in the runtime's sources. */
const firstLine = (error: unknown): string =>
  String(error instanceof Error ? error.message : error)
    .split("\n")[0]
    .replace(/^\S+\.cc:\d+ .* was false\. /, "");

function sessionOptions({
  device,
  threads,
  fixedSizes,
  spin = true,
  profile,
}: SessionOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: device === "cpu" ? ["cpu"] : [device, "cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    enableMemPattern: fixedSizes,
    logSeverityLevel: 4,
    ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
    // Denormals cost a hundredfold on x86 and mean nothing in training
    extra: { session: { set_denormal_as_zero: "1", intra_op: { allow_spinning: spin ? "1" : "0" } } },
  };
}

/** Is the execution provider in the installed runtime? (It may still lack a driver.) */
function hasDevice(device: Device): boolean {
  return onnxruntime()
    .listSupportedBackends()
    .some(({ name }) => name === device);
}

function requireDevice(device: Device): void {
  if (hasDevice(device)) return;
  const there = onnxruntime()
    .listSupportedBackends()
    .map(({ name }) => name)
    .join(", ");
  throw new UserError(
    `runtime: expected an execution provider among ${there}, got ${device}; its binaries are not installed here, ` +
      "use --device cpu",
  );
}

export async function createSession(model: Uint8Array, options: SessionOptions): Promise<Session> {
  const ort = onnxruntime();
  requireDevice(options.device);
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, sessionOptions(options));
  } catch (error) {
    if (options.device === "cpu")
      throw new Error(`internal: the runtime refused a graph: ${firstLine(error)}`, { cause: error });
    throw new UserError(
      `runtime: expected a working ${options.device} device, got "${firstLine(error)}"; use --device cpu`,
      { cause: error },
    );
  }
  // The binding takes plain memory only, so shared feeds are copied, into buffers that are kept from run to run
  const kept = new Map<string, HostTensor>();
  const unshared = (name: string, tensor: HostTensor): HostTensor => {
    const old = kept.get(name);
    kept.delete(name); // a second run under way at the same time shall not find it
    const fits = old?.dtype === tensor.dtype && sizeOf(old.shape) === sizeOf(tensor.shape);
    const own = { ...(fits ? old : zerosHost(tensor.dtype, tensor.shape)), shape: tensor.shape };
    copyInto(own, tensor);
    return own;
  };
  return {
    async run(feeds, outputs, into = {}) {
      const copies: [string, HostTensor][] = [];
      const fed: Record<string, OrtTensor> = {};
      for (const name in feeds) {
        let feed = feeds[name];
        if (isShared(feed)) copies.push([name, (feed = unshared(name, feed))]);
        fed[name] = toOrt(ort, feed);
      }
      const fetches: Record<string, OrtTensor | null> = {};
      for (const name of outputs) fetches[name] = into[name] && !isShared(into[name]) ? toOrt(ort, into[name]) : null;
      const results = await session.run(fed, fetches);
      for (const [name, copy] of copies) kept.set(name, copy);
      const named: Record<string, HostTensor> = {};
      for (const name of outputs) {
        named[name] = into[name] ?? fromOrt(results[name]);
        if (into[name] && isShared(into[name])) copyInto(into[name], fromOrt(results[name]));
      }
      return named;
    },
    async release() {
      if (options.profile) session.endProfiling();
      await session.release();
    },
  };
}
