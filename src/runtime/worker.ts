/**
 * Sessions in a worker thread. A run blocks the thread it is on, so a caller that must answer others meanwhile (a
 * server, a progress bar) keeps its event loop by `createRuntime({ host: workerHost() })`.
 * Feeds in SharedArrayBuffers travel as they are, others are copied; outputs come back without a copy.
 */
import { Worker } from "node:worker_threads";
import { UserError } from "../errors.ts";
import { type HostTensor, sizeOf } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import { compileGraph } from "./compile.ts";
import type { SessionHost } from "./runtime.ts";
import { copyInto, createSession, type HostTensors, isShared } from "./session.ts";
import type { Envelope, Reply, Request } from "./worker-thread.ts";

/**
 * The thread's file lies beside this one: compiled, or a TypeScript source that a Node before 22.18 reads through
 * tsx.
 */
function startThread(): Worker {
  const compiled = !import.meta.url.endsWith(".ts");
  const file = new URL(compiled ? "./worker-thread.js" : "./worker-thread.ts", import.meta.url);
  const native = Boolean((process.features as { typescript?: unknown }).typescript); // newer than the types of Node 20
  if (compiled || native)
    return new Worker(file, { execArgv: process.execArgv.filter((flag) => !flag.startsWith("--input-type")) });
  const [loader, entry] = [import.meta.resolve("tsx/esm/api"), file.href].map((url) => JSON.stringify(url));
  return new Worker(`import(${loader}).then(({ register }) => { register(); return import(${entry}); })`, {
    eval: true,
  });
}

let flushing: Promise<void> | undefined;

/**
 * The runtime switches slow denormal numbers off once per process, for the thread that creates the first session; a
 * thread has from its start what the one that started it had. So the first session is made here, before any thread.
 */
function flushDenormals(): Promise<void> {
  const nothing = (): Promise<void> => {
    const { model } = compileGraph({ y: input("x", "float32", [1]) });
    return createSession(model, { device: "cpu", threads: 1, fixedSizes: true }).then((session) => session.release());
  };
  return (flushing ??= nothing());
}

/** A tensor that may leave this thread, and its buffer when that is a copy to be handed over. */
function packed(tensor: HostTensor): { tensor: HostTensor; buffers: ArrayBuffer[] } {
  if (isShared(tensor)) return { tensor, buffers: [] };
  const data = tensor.data.slice(0, sizeOf(tensor.shape)) as HostTensor["data"];
  return { tensor: { ...tensor, data }, buffers: [data.buffer as ArrayBuffer] };
}

export interface WorkerHost extends SessionHost {
  /** target = the sum of `parts`, in this order; equally long and in shared memory. */
  sum(target: Float32Array, parts: readonly Float32Array[]): Promise<void>;
}

export interface WorkerHostOptions {
  /** How to start the thread; tests give one that breaks. */
  readonly start?: () => Worker;
}

/** A host whose sessions live in one worker thread, which starts with the first session and ends with `dispose`. */
export function workerHost({ start = startThread }: WorkerHostOptions = {}): WorkerHost {
  const pending = new Map<number, { resolve: (results: HostTensors) => void; reject: (error: Error) => void }>();
  let thread: Worker | undefined;
  let ended: Error | undefined;
  let count = 0;

  const end = (error: Error): void => {
    ended ??= error;
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  };

  const receive = (reply: Reply): void => {
    const waiting = pending.get(reply.id);
    pending.delete(reply.id);
    if (pending.size === 0) thread?.unref(); // an idle thread keeps no process alive
    if ("results" in reply) waiting?.resolve(reply.results);
    else waiting?.reject(reply.error.user ? new UserError(reply.error.message) : new Error(reply.error.message));
  };

  const launch = (): Worker => {
    const started = start();
    started.on("message", receive);
    started.on("error", (error) =>
      end(new Error(`internal: the runtime's thread broke: ${error.message}`, { cause: error })),
    );
    started.on("exit", (code) =>
      end(new Error(`internal: the runtime's thread ended with code ${code} before it answered`)),
    );
    return started;
  };

  const send = (request: Request, buffers: ArrayBuffer[] = []): { id: number; results: Promise<HostTensors> } => {
    const id = count++;
    const results = new Promise<HostTensors>((resolve, reject) => {
      if (ended) return reject(ended);
      thread ??= launch();
      thread.ref();
      pending.set(id, { resolve, reject });
      thread.postMessage({ id, request } satisfies Envelope, buffers);
    });
    return { id, results };
  };

  return {
    async create(model, options) {
      await flushDenormals();
      const created = send({ kind: "create", model, options });
      await created.results;
      const session = created.id;
      return {
        async run(feeds, outputs, into = {}) {
          const fed = Object.entries(feeds).map(([name, feed]) => [name, packed(feed)] as const);
          const shared = Object.fromEntries(Object.entries(into).filter(([, target]) => isShared(target)));
          const { results } = send(
            {
              kind: "run",
              session,
              feeds: Object.fromEntries(fed.map(([name, { tensor }]) => [name, tensor])),
              outputs,
              into: shared,
            },
            fed.flatMap(([, { buffers }]) => buffers),
          );
          const received = { ...(await results) };
          for (const [name, target] of Object.entries(into)) {
            if (!isShared(target)) copyInto(target, received[name]);
            received[name] = target;
          }
          return received;
        },
        async release() {
          if (!ended) await send({ kind: "release", session }).results;
        },
      };
    },
    async sum(target, parts) {
      await send({ kind: "sum", target, parts }).results;
    },
    async dispose() {
      end(new UserError("runtime: expected a live worker host, got one that was disposed; create another"));
      await thread?.terminate();
    },
  };
}
