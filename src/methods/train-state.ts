/**
 * The state of a training run in one safetensors file, written atomically: weights, moments, best weights,
 * progress.
 */
import { join } from "node:path";
import { exists } from "../checkpoint/files.ts";
import { openSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import type { OptimizerState } from "../nn/optim.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { makeFolder, removeLeftovers } from "./folders.ts";

export interface TrainingStateFile {
  /** Folder of the run's state. A state found there is continued. */
  readonly folder: string;
  /** What the run is: a state saved under another identity is refused. */
  readonly identity: string;
}

/** Everything that changes while training: what a checkpoint holds. */
export interface TrainProgress {
  step: number;
  tokens: number;
  seconds: number;
  lastLoss: number;
  /** Lowest validation so far, and measurements since. */
  best: number;
  sinceBest: number;
  finished: boolean;
}

export interface TrainingState {
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly moments: OptimizerState;
  /** Weights of the best validation, when there was one. */
  readonly best: Record<string, Float32Array>;
  readonly progress: TrainProgress;
}

const FILE = "training.safetensors";

/** The arrays of a state under the names they have in the file. */
function* arrays({ weights, moments, best }: TrainingState): Generator<[string, Float32Array]> {
  for (const [name, values] of Object.entries(weights)) yield [`weight:${name}`, values];
  for (const [name, values] of Object.entries(moments.tensors)) yield [`moment:${name}`, values];
  for (const [name, values] of Object.entries(best)) yield [`best:${name}`, values];
}

export async function saveTrainingState({ folder, identity }: TrainingStateFile, state: TrainingState): Promise<void> {
  await makeFolder(folder);
  const tensors: Record<string, HostTensor> = {};
  for (const [name, values] of arrays(state)) tensors[name] = float32Host([values.length], values);
  // JSON has no Infinity and no NaN: they become null, and loading keeps the fresh value
  const progress = JSON.stringify(state.progress);
  await writeSafetensors(join(folder, FILE), tensors, {
    metadata: { identity, progress, optimizerStep: String(state.moments.step) },
  });
}

/** Continue from a folder: fills the state in place and returns true, or false where nothing was saved. */
export async function loadTrainingState(
  { folder, identity }: TrainingStateFile,
  state: TrainingState,
): Promise<boolean> {
  await removeLeftovers(folder, FILE);
  const path = join(folder, FILE);
  if (!(await exists(path))) return false;
  const file = await openSafetensors(path);
  try {
    if (file.metadata.identity !== identity) {
      throw new UserError(
        `train: expected a state of this run in ${folder}, got one of another run (other data, options or seed); ` +
          "use another folder or delete it",
      );
    }
    for (const name of file.tensors.keys()) {
      if (name.startsWith("best:")) state.best[name.slice(5)] = (await file.readFloat32(name)).data;
    }
    for (const [name, values] of arrays({ ...state, best: {} })) {
      const { data } = await file.readFloat32(name);
      if (data.length !== values.length) {
        throw new UserError(
          `train: expected ${values.length} numbers for ${name} in ${path}, got ${data.length}; use another folder ` +
            "or delete it",
        );
      }
      values.set(data);
    }
    const saved: Partial<TrainProgress> = JSON.parse(file.metadata.progress);
    for (const [key, value] of Object.entries(saved))
      if (value !== null) Object.assign(state.progress, { [key]: value });
    state.moments.step = Number(file.metadata.optimizerStep);
    return true;
  } finally {
    await file.close();
  }
}
