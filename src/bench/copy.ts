/**
 * How fast this machine copies memory with a given number of threads. Each thread copies arrays of its own: V8 copies
 * memory that threads share word by word, which would measure V8.
 */
import { Worker } from "node:worker_threads";

const GO = 0;
const DONE = 1;

// Plain JavaScript in a string, so that it runs alike from sources and from the build. signals: [round, threads done]
const threadCode = `
const { parentPort, workerData: { signals, bytes } } = require("node:worker_threads");
const source = Buffer.alloc(bytes, 1), target = Buffer.alloc(bytes, 2); // filled: their pages exist
parentPort.postMessage("ready");
for (let round = 0; ; round++) {
  Atomics.wait(signals, ${GO}, round);
  if (Atomics.load(signals, ${GO}) < 0) break;
  target.set(source);
  Atomics.add(signals, ${DONE}, 1);
  Atomics.notify(signals, ${DONE});
}`;

interface Copier {
  /** Bytes read by one copy (as many are written). */
  readonly bytes: number;
  /** Copy once with all threads. */
  run(): void;
  dispose(): Promise<void>;
}

/** Threads that copy `bytes` bytes between them at each call. */
export async function createCopier(threads: number, bytes: number): Promise<Copier> {
  const signals = new Int32Array(new SharedArrayBuffer(8));
  const share = Math.floor(bytes / threads);
  const workers = Array.from(
    { length: threads },
    () => new Worker(threadCode, { eval: true, execArgv: [], workerData: { signals, bytes: share } }),
  );
  const ready = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      worker.once("message", () => resolve());
      worker.once("error", reject);
    });
  await Promise.all(workers.map(ready));
  return {
    bytes: share * threads,
    run() {
      Atomics.store(signals, DONE, 0);
      Atomics.add(signals, GO, 1);
      Atomics.notify(signals, GO);
      for (let done = 0; done < threads; done = Atomics.load(signals, DONE)) Atomics.wait(signals, DONE, done);
    },
    async dispose() {
      Atomics.store(signals, GO, -1);
      Atomics.notify(signals, GO);
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
