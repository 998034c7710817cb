/**
 * decodeBandwidthFraction: decoding one sequence reads every weight once per token and computes little, so its limit
 * is the memory. The limit is the better of two ways to read as many bytes with as many threads: a plain copy, and a
 * reduction by the same runtime. All three alternate.
 */
import { createDecoder } from "../models/decoder.ts";
import { gpt2 } from "../models/gpt2.ts";
import { fillWith, initialize } from "../nn/init.ts";
import { isNorm } from "../nn/names.ts";
import { createRuntime, type Runtime } from "../runtime/runtime.ts";
import { float32Host } from "../tensor/dtype.ts";
import { input, max, sum } from "../tensor/functions.ts";
import { createCopier } from "./copy.ts";
import { decodeBytes, productParameters } from "./flops.ts";
import { smallConfig } from "./gpt.ts";
import { absent, type Measure, memoryShort, settle, timings } from "./measure.ts";
import { spread } from "./stats.ts";

/** Room for the weights, the graph that holds them, the runtime's packed copy, and the arrays that are copied. */
const NEEDED = 5e9;

/** The model of GPT-2 small's shape with random weights, frozen; one call reads and scores one token. */
async function createTokenStep(runtime: Runtime): Promise<() => Promise<void>> {
  const weights = initialize(
    gpt2.shapes(smallConfig),
    (name) => (isNorm(name) ? fillWith(1) : (out, _shape, random) => void random.fillUniform(out, -0.03, 0.03)),
    0,
  );
  const decoder = await createDecoder(runtime, {
    definition: gpt2,
    config: smallConfig,
    geometry: gpt2.geometry(smallConfig),
    weights,
  });
  let cache = decoder.createCache(1, 128);
  await decoder.step(cache, [1, 2, 3, 4, 5, 6, 7, 8]);
  let token = 0;
  return async () => {
    // Always a short text: keys and values of the past are not weights
    if (cache.length >= 128) cache = decoder.createCache(1, 128);
    await decoder.step(cache, [token++ % smallConfig.vocab_size]);
  };
}

interface Reduction {
  readonly form: string;
  readonly bytes: number;
  run(): Promise<unknown>;
}

/** Reductions of as many numbers as decoding a token multiplies. Which form is fastest depends on the machine. */
async function createReductions(runtime: Runtime): Promise<Reduction[]> {
  const width = smallConfig.n_embd;
  const rows = productParameters(smallConfig) / width;
  const feeds = { x: float32Host([rows, width], new Float32Array(rows * width).fill(1)) };
  const x = input("x", "float32", [rows, width]);
  const forms = {
    "sum of rows": sum(x, { axes: [1] }),
    "max of rows": max(x, { axes: [1] }),
    sum: sum(x),
    max: max(x),
  };
  return Promise.all(
    Object.entries(forms).map(async ([form, y]) => {
      const program = await runtime.compile({ y });
      return { form, bytes: 4 * rows * width, run: () => program.run(feeds) };
    }),
  );
}

export const decodeBandwidthFraction: Measure = async ({ quick, log, signal }) => {
  const short = memoryShort(NEEDED);
  if (short) return absent(short);
  const [rounds, tokens, reads] = quick ? [2, 4, 2] : [7, 16, 3];
  const runtime = createRuntime();
  const copier = await createCopier(runtime.threads, 512e6);
  try {
    log("decodeBandwidthFraction: preparing a model of 124M parameters");
    const step = await createTokenStep(runtime);
    const reductions = await createReductions(runtime);
    const tokenMs: number[] = [];
    const copyMs: number[] = [];
    const reduceMs = reductions.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      signal?.throwIfAborted();
      await settle();
      await timings(1, step);
      tokenMs.push(...(await timings(tokens, step)));
      await settle();
      copyMs.push(...(await timings(reads, copier.run)));
      await settle();
      for (const [i, { run }] of reductions.entries()) reduceMs[i].push(...(await timings(reads, run)));
      log(`decodeBandwidthFraction: round ${round + 1} of ${rounds}`);
    }
    const bytesPerToken = decodeBytes(smallConfig);
    const gigabytesPerSecond = (bytes: number, ms: readonly number[]) => spread(ms.map((time) => bytes / time / 1e6));
    const decode = gigabytesPerSecond(bytesPerToken, tokenMs);
    const copy = gigabytesPerSecond(copier.bytes, copyMs);
    const reduce = reductions
      .map(({ form, bytes }, i) => ({ form, ...gigabytesPerSecond(bytes, reduceMs[i]) }))
      .reduce((best, found) => (found.median > best.median ? found : best));
    const limit = Math.max(copy.median, reduce.median);
    return {
      value: decode.median / limit,
      threads: runtime.threads,
      bytesPerToken,
      msPerToken: spread(tokenMs),
      decodeGBps: decode,
      copyGBps: copy,
      reductionGBps: reduce,
    };
  } finally {
    await copier.dispose();
    await runtime.dispose();
  }
};
