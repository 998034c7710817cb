/** Small Larimar modules of random numbers, adapters included: whatever the decoder is told shows. */
import { freshModule, moduleSchema, saveModule } from "../../src/methods/larimar/module.ts";
import type { LoadedModel } from "../../src/models/load.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { randomStream } from "../../src/tensor/random.ts";

/** Sizes that a base of some thousand weights takes. */
export const smallModule = {
  slots: 8,
  width: 24,
  blocks: 3,
  encoderWidth: 16,
  encoderLayers: 1,
  encoderHeads: 2,
  encoderInner: 16,
  encoderContext: 48,
  rank: 2,
  alpha: 4,
};

/** Writes the module for a base; `change` spoils its weights before. */
export async function writeRandomModule(
  runtime: Runtime,
  base: LoadedModel,
  folder: string,
  { seed = 5, change = () => undefined }: { seed?: number; change?: (name: string, data: Float32Array) => void } = {},
): Promise<string> {
  const { slots, rank, alpha, ...latent } = smallModule;
  const config = moduleSchema.parse({
    model_type: "mneme-larimar",
    base: { name: "base", sha256: await base.hash() },
    variant: "frozen",
    slots,
    rank,
    alpha,
    latent,
  });
  const module = await freshModule(runtime, base, config, seed);
  for (const [name, { data }] of Object.entries(module.weights)) {
    if (/lora_B|slots|added/.test(name)) randomStream(seed, name).fillNormal(data, 0, 0.3);
    change(name, data);
  }
  await saveModule(module, folder);
  return folder;
}
