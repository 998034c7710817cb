/**
 * A training run that tests kill: low-rank adapters with dropout on the llama fixture, a checkpoint before every step.
 * As a process it prints every step and at the end the digests of its weights; in-process it returns them.
 */
import { pathToFileURL } from "node:url";
import { packTokens } from "../../src/methods/batches.ts";
import { createObjective } from "../../src/methods/objective.ts";
import { train, type TrainResult } from "../../src/methods/train.ts";
import { lowRankAdapters } from "../../src/nn/lora.ts";
import { adamw } from "../../src/nn/optim.ts";
import { cosine } from "../../src/nn/schedule.ts";
import { createRuntime } from "../../src/runtime/runtime.ts";
import { float32Host } from "../../src/tensor/dtype.ts";
import { randomStream } from "../../src/tensor/random.ts";
import { decoderOf, readFixture } from "./model-fixture.ts";
import { digest, drive } from "./training.ts";

const STEPS = 160;

export interface KillableResult {
  readonly result: Omit<TrainResult, "seconds">;
  readonly digests: Record<string, string>;
}

export async function killableRun(folder: string, onStep?: (step: number) => void): Promise<KillableResult> {
  const model = decoderOf(await readFixture("llama"));
  const random = randomStream(3, "adapters");
  const adapters = Object.fromEntries(
    model.definition.linearPaths(model.config).flatMap((path) => {
      const [outputs, inputs] = model.weights[`${path}.weight`].shape;
      const a = random.fillNormal(new Float32Array(2 * inputs), 0, 0.2);
      return [
        [`${path}.lora_A.weight`, float32Host([2, inputs], a)],
        [`${path}.lora_B.weight`, float32Host([outputs, 2], new Float32Array(2 * outputs))],
      ];
    }),
  );
  const runtime = createRuntime({ threads: 1 });
  const stream = Int32Array.from({ length: 301 }, (_, i) => (i * i) % 53);
  const batches = packTokens(stream, { contextLength: 12, batchSize: 4, eosId: 0, seed: 5 });
  const weights = Object.fromEntries(Object.entries(adapters).map(([name, { data }]) => [name, data]));
  const objective = await createObjective({
    runtime,
    ...model,
    weights: { ...model.weights, ...adapters },
    trainable: Object.keys(adapters),
    modification: lowRankAdapters({ scale: 2, dropout: 0.2 }),
    batchSize: batches.batchSize,
    contextLength: 12,
    seed: 5,
  });
  const run = train({
    objective,
    batches,
    weights,
    optimizer: adamw(),
    learningRate: 1e-2,
    schedule: cosine,
    scheduleOptions: { totalSteps: STEPS, warmupSteps: 3 },
    steps: STEPS,
    accumulate: 2,
    checkpoint: { folder, identity: "killable", everySeconds: 0 },
  });
  const { result } = await drive(run, (event) => event.type === "step" && onStep?.(event.step));
  await runtime.dispose();
  const { seconds: _, ...rest } = result;
  return {
    result: rest,
    digests: Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, digest(values)])),
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const outcome = await killableRun(process.argv[2], (step) => process.stdout.write(`step ${step}\n`));
  process.stdout.write(`done ${JSON.stringify(outcome)}\n`);
}
