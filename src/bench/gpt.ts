/** The two models that are measured: a small GPT that trains, and one of GPT-2-small's shape that decodes. */
import { type Batch, packTokens } from "../methods/batches.ts";
import { createObjective } from "../methods/objective.ts";
import { gpt2 } from "../models/gpt2.ts";
import { gpt2Rule, initialize } from "../nn/init.ts";
import { adamw } from "../nn/optim.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { randomStream } from "../tensor/random.ts";

export type Gpt2Config = ReturnType<typeof gpt2.parseConfig>;

/** B. */
export const TRAIN_BATCH = 16;
/** T. */
export const TRAIN_LENGTH = 128;

/** 4 layers, 256 wide, 8 heads, 1,024 tokens, head of its own: the model of bench/peers/torch_gpt.py. */
export const trainConfig: Gpt2Config = gpt2.parseConfig({
  vocab_size: 1024,
  n_positions: TRAIN_LENGTH,
  n_embd: 256,
  n_layer: 4,
  n_head: 8,
  tie_word_embeddings: false,
});

/** GPT-2 small: 12 layers, 768 wide, 12 heads, 50,257 tokens, 1,024 positions, the head tied to the embedding. */
export const smallConfig: Gpt2Config = gpt2.parseConfig({ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12 });

interface TrainSteps {
  /** One whole update: loss, gradients, AdamW. Gives the loss in nats. */
  step(): Promise<number>;
  dispose(): Promise<void>;
}

/** Training of the small GPT on random tokens, made of the parts of the training loop, without clipping. */
export async function createTrainSteps(threads: number): Promise<TrainSteps> {
  const runtime = createRuntime({ threads });
  const weights = initialize(gpt2.shapes(trainConfig), gpt2Rule({ layers: trainConfig.n_layer }), 0);
  const values = Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, data]));
  const objective = await createObjective({
    runtime,
    definition: gpt2,
    config: trainConfig,
    weights,
    trainable: Object.keys(weights),
    batchSize: TRAIN_BATCH,
    contextLength: TRAIN_LENGTH,
    seed: 0,
  });
  const optimizer = adamw({ b1: 0.9, b2: 0.95, weightDecay: 0.1 });
  const state = optimizer.init(values);
  const batches = randomBatches(4);
  let count = 0;
  return {
    async step() {
      const batch = batches[count % batches.length];
      objective.clear();
      const loss = await objective.accumulate(batch, batch.targetCount, count++);
      optimizer.step(values, objective.gradients, state, 3e-4);
      return loss;
    },
    dispose: () => runtime.dispose(),
  };
}

function randomBatches(count: number): Batch[] {
  const random = randomStream(0, "bench", "tokens");
  const tokens = new Uint16Array(count * TRAIN_BATCH * TRAIN_LENGTH + 1);
  for (let i = 0; i < tokens.length; i++) tokens[i] = random.integer(trainConfig.vocab_size);
  const batches = packTokens(tokens, { contextLength: TRAIN_LENGTH, batchSize: TRAIN_BATCH, eosId: 0, seed: 0 });
  return Array.from({ length: count }, (_, i) => batches.batchAt(i));
}
