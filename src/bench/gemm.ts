/**
 * gemmFraction: how near training comes to the machine's limit, taken as the fastest 1024-cubed product of the same
 * runtime with the same threads. Products and steps alternate, so that both see the same machine.
 */
import { createRuntime } from "../runtime/runtime.ts";
import { type HostTensor, zerosHost } from "../tensor/dtype.ts";
import { input, matmul } from "../tensor/functions.ts";
import { randomStream } from "../tensor/random.ts";
import { productParameters, trainingFlops } from "./flops.ts";
import { createTrainSteps, TRAIN_BATCH, TRAIN_LENGTH, trainConfig } from "./gpt.ts";
import { type Measure, settle, timings } from "./measure.ts";
import { spread } from "./stats.ts";

const N = 1024;

/** A product of two [N, N] inputs into an array of its own, as often as it is called. */
async function createProduct(threads: number): Promise<{ run(): Promise<unknown>; dispose(): Promise<void> }> {
  const runtime = createRuntime({ threads });
  const program = await runtime.compile({ y: matmul(input("a", "float32", [N, N]), input("b", "float32", [N, N])) });
  const matrix = (name: string): HostTensor<"float32"> => {
    const tensor = zerosHost("float32", [N, N]);
    randomStream(0, "bench", name).fillUniform(tensor.data, -1, 1);
    return tensor;
  };
  const feeds = { a: matrix("a"), b: matrix("b") };
  const into = { y: zerosHost("float32", [N, N]) };
  return { run: () => program.run(feeds, { into }), dispose: () => runtime.dispose() };
}

async function fractionWith(threads: number, quick: boolean, signal?: AbortSignal) {
  const [rounds, steps, products] = quick ? [2, 3, 5] : [7, 10, 20];
  const training = await createTrainSteps(threads);
  const product = await createProduct(threads);
  try {
    const stepMs: number[] = [];
    const productMs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      signal?.throwIfAborted();
      await settle();
      await timings(2, product.run);
      productMs.push(...(await timings(products, product.run)));
      await settle();
      await timings(2, training.step);
      stepMs.push(...(await timings(steps, training.step)));
    }
    const flops = trainingFlops(trainConfig, TRAIN_BATCH, TRAIN_LENGTH);
    const limit = (2 * N ** 3) / Math.min(...productMs); // per ms
    return {
      threads,
      fraction: spread(stepMs.map((ms) => flops / ms / limit)),
      stepMs: spread(stepMs),
      stepGflops: flops / spread(stepMs).median / 1e6,
      productMs: spread(productMs),
      productGflops: limit / 1e6,
    };
  } finally {
    await training.dispose();
    await product.dispose();
  }
}

export const gemmFraction: Measure = async ({ quick, log, signal }) => {
  const found = [];
  for (const threads of [1, 2]) {
    found.push(await fractionWith(threads, quick, signal));
    log(`gemmFraction: measured with ${threads} threads`);
  }
  const best = found.reduce((a, b) => (b.stepMs.median < a.stepMs.median ? b : a));
  return {
    value: best.fraction.median,
    threads: best.threads,
    flopsPerStep: trainingFlops(trainConfig, TRAIN_BATCH, TRAIN_LENGTH),
    productParameters: productParameters(trainConfig),
    byThreads: found,
  };
};
