/**
 * The training loop: the only one. It asks an objective for gradients, updates weights in place, and yields an event
 * per step. A run is a function of its seed and step number, so it stops anywhere and resumes to the same numbers.
 */
import { internal, UserError } from "../errors.ts";
import { clipScale, globalNorm } from "../nn/clip.ts";
import type { Optimizer, OptimizerState } from "../nn/optim.ts";
import type { Schedule, ScheduleOptions } from "../nn/schedule.ts";
import type { RowOptimizer, RowState } from "../nn/sparse-optim.ts";
import type { Batch, Batches, Counted } from "./batches.ts";
import type { MethodEvent, Receipt } from "./method.ts";
import type { Objective } from "./objective.ts";
import { loadTrainingState, saveTrainingState, type TrainingStateFile, type TrainProgress } from "./train-state.ts";

interface ValidationOptions {
  /** Steps between two measurements. */
  readonly every: number;
  /** Measurements without improvement after which training stops; the weights are then those of the best one. */
  readonly patience: number;
  /** Bits per byte on held-out text with the weights as they are now; lower is better. */
  readonly measure: () => Promise<number>;
}

interface CheckpointOptions extends TrainingStateFile {
  /** Seconds between two saves (default 30); one is always made when the run stops. */
  readonly everySeconds?: number;
}

/** Adds the gradient of a penalty on the weights to that of the loss, in place; by the same names. */
export type Penalty = (
  weights: Readonly<Record<string, Float32Array>>,
  gradients: Readonly<Record<string, Float32Array>>,
) => void;

/** How tables learn of which a batch reads few rows (`objective.rows`): apart from all else. */
interface TableTraining {
  readonly optimizer: RowOptimizer;
  /** Peak rate; the schedule multiplies it too. */
  readonly learningRate: number;
  /** Largest norm of all their gradients; 0 switches clipping off. */
  readonly clipNorm: number;
}

/** `B` is the kind of batch that the objective reads. */
export interface TrainOptions<B extends Counted = Batch> {
  readonly objective: Objective<B>;
  readonly batches: Pick<Batches<B>, "batchAt">;
  /** Updated in place; names as in `objective.gradients`. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly optimizer: Optimizer;
  /** Peak rate; `schedule` multiplies it. */
  readonly learningRate: number;
  readonly schedule: Schedule;
  readonly scheduleOptions: ScheduleOptions;
  /** Updates in the whole run. */
  readonly steps: number;
  /** Micro-batches per update. */
  readonly accumulate?: number;
  /** Largest global norm of a gradient; 0 switches clipping off. */
  readonly clipNorm?: number;
  /** Needed where the objective has gradients that are rows. */
  readonly tables?: TableTraining;
  /** Counts in the gradient and its norm; the losses that are told are those of the text alone. */
  readonly penalty?: Penalty;
  /** Stop once this many target tokens were learned from. */
  readonly tokenBudget?: number;
  readonly validation?: ValidationOptions;
  readonly checkpoint?: CheckpointOptions;
  readonly signal?: AbortSignal;
  /** Milliseconds that only grow. */
  readonly clock?: () => number;
}

export type TrainResult = Pick<Receipt, "steps" | "tokens" | "seconds" | "finalLoss" | "stopped">;

const fresh = (): TrainProgress => ({
  step: 0,
  tokens: 0,
  seconds: 0,
  lastLoss: Number.NaN,
  best: Number.POSITIVE_INFINITY,
  sinceBest: 0,
  finished: false,
});

/**
 * Train; the generator returns the result after its last event. When a loss is not finite it throws, and the weights
 * are those of the last state known to be good: the one at the start, or the last that was kept since. A state is kept
 * (and saved) only after its own loss was seen to be finite, as an update may spoil weights without a sign; of those
 * at the end, which no further step reads, the numbers themselves are looked at.
 */
export async function* train<B extends Counted = Batch>(
  options: TrainOptions<B>,
): AsyncGenerator<MethodEvent, TrainResult> {
  const { objective, weights, optimizer, steps, clipNorm = 1, validation, checkpoint, signal } = options;
  const { tokenBudget = Number.POSITIVE_INFINITY, clock = () => performance.now() } = options;
  const moments = optimizer.init(denseOf(weights, objective));
  const tables = startTables(options, moments);
  const progress = fresh();
  const best: Record<string, Float32Array> = {};
  if (checkpoint && (await loadTrainingState(checkpoint, { weights, moments, best, progress }))) {
    yield { type: "note", message: `continuing at step ${progress.step} of ${steps}` };
  }
  const save = async (): Promise<MethodEvent[]> => {
    if (!checkpoint) return [];
    await saveTrainingState(checkpoint, { weights, moments, best, progress });
    return [{ type: "checkpoint", step: progress.step, path: checkpoint.folder }];
  };

  const everyMs = 1000 * (checkpoint?.everySeconds ?? 30);
  const good = Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, values.slice()]));
  let goodStep = progress.step;
  let lastKept = clock();
  const diverged = (what: string): never => {
    copyInto(weights, good);
    throw new UserError(
      `train: expected finite numbers, got ${what}; the weights of step ${goodStep} are kept, lower the learning rate`,
    );
  };
  // A run that was cut off between its early stop and its end
  let stopped: TrainResult["stopped"] = progress.finished ? "early-stop" : "done";
  while (!progress.finished && progress.step < steps) {
    if (signal?.aborted) {
      stopped = "interrupted";
      break;
    }
    if (progress.tokens >= tokenBudget) {
      stopped = "token-budget";
      break;
    }
    const started = clock();
    const { loss, tokens, norm } = await gradientOfStep(options, progress.step);
    const whole = norm + rowNorm(objective);
    if (!Number.isFinite(loss) || !Number.isFinite(whole)) {
      const what = Number.isFinite(loss) ? `a gradient of norm ${whole}` : `a loss of ${loss}`;
      diverged(`${what} at step ${progress.step + 1}`);
    }
    if (clock() - lastKept >= everyMs && progress.step > goodStep) {
      copyInto(good, weights);
      goodStep = progress.step;
      yield* await save();
      lastKept = clock();
    }
    const rate = options.learningRate * options.schedule(progress.step, options.scheduleOptions);
    optimizer.step(weights, objective.gradients, moments, rate, clipNorm > 0 ? clipScale(norm, clipNorm) : 1);
    stepTables(options, tables, progress.step);
    progress.step++;
    progress.tokens += tokens;
    progress.lastLoss = loss;
    const elapsed = (clock() - started) / 1000;
    progress.seconds += elapsed;
    yield {
      type: "step",
      step: progress.step,
      steps,
      tokens: progress.tokens,
      loss,
      learningRate: rate,
      tokensPerSecond: tokens / elapsed,
    };
    if (validation && progress.step % validation.every === 0) {
      yield await validate(validation, weights, best, progress);
      if (progress.sinceBest >= validation.patience) {
        stopped = "early-stop";
        progress.finished = true;
      }
    }
  }
  if (stopped === "early-stop") copyInto(weights, best);
  const size = globalNorm(weights);
  if (!Number.isFinite(size)) diverged(`weights of norm ${size} after step ${progress.step}`);
  yield* await save();
  const { step, tokens, seconds, lastLoss } = progress;
  return { steps: step, tokens, seconds, finalLoss: lastLoss, stopped };
}

type Arrays = Readonly<Record<string, Float32Array>>;

/** The weights that have dense gradients. */
const denseOf = (weights: Arrays, { rows = {} }: Pick<Objective<never>, "rows">): Arrays =>
  Object.fromEntries(Object.entries(weights).filter(([name]) => !(name in rows)));

/** Norm of all row gradients together. */
const rowNorm = ({ rows = {} }: Pick<Objective<never>, "rows">): number =>
  globalNorm(Object.fromEntries(Object.entries(rows).map(([name, sum]) => [name, sum.values()])));

/** Fresh states of the tables, whose moments are saved among the others. */
function startTables<B extends Counted>(
  { objective: { rows = {} }, weights, tables }: TrainOptions<B>,
  moments: OptimizerState,
): Record<string, RowState> {
  const states: Record<string, RowState> = {};
  for (const [name, { width }] of Object.entries(rows)) {
    if (!tables) internal(`train: ${name} has gradients of rows, and nothing says how it learns`);
    states[name] = tables.optimizer.init(weights[name].length / width, width);
    for (const [part, values] of Object.entries(states[name].tensors)) moments.tensors[`${name}.${part}`] = values;
  }
  return states;
}

/** Update `step` (counted from 0) of the rows that were read. */
function stepTables<B extends Counted>(
  { objective, weights, tables, schedule, scheduleOptions }: TrainOptions<B>,
  states: Readonly<Record<string, RowState>>,
  step: number,
): void {
  const { rows = {} } = objective;
  if (!tables) return;
  const { optimizer, learningRate, clipNorm } = tables;
  const rate = learningRate * schedule(step, scheduleOptions);
  const scale = clipNorm > 0 ? clipScale(rowNorm(objective), clipNorm) : 1;
  for (const [name, sum] of Object.entries(rows)) {
    states[name].step = step;
    optimizer.stepRows(weights[name], sum.width, sum.indices(), sum.values(), states[name], rate, scale);
  }
}

function copyInto(
  target: Readonly<Record<string, Float32Array>>,
  source: Readonly<Record<string, Float32Array>>,
): void {
  for (const [name, values] of Object.entries(source)) target[name].set(values);
}

/** Loss and gradient of one update: the joint batch of all its micro-batches. */
async function gradientOfStep<B extends Counted>(
  { objective, batches, weights, penalty, accumulate = 1 }: TrainOptions<B>,
  step: number,
) {
  const micro = Array.from({ length: accumulate }, (_, i) => batches.batchAt(step * accumulate + i));
  const total = micro.reduce((sum, batch) => sum + batch.targetCount, 0);
  const tokens = micro.reduce((sum, batch) => sum + (batch.read ?? batch.targetCount), 0);
  objective.clear();
  let loss = 0;
  for (const batch of micro) loss += await objective.accumulate(batch, total, step);
  penalty?.(weights, objective.gradients);
  return { loss, tokens, norm: globalNorm(objective.gradients) };
}

async function validate(
  { measure }: ValidationOptions,
  weights: Readonly<Record<string, Float32Array>>,
  best: Record<string, Float32Array>,
  progress: TrainProgress,
): Promise<MethodEvent> {
  const bitsPerByte = await measure();
  const improved = bitsPerByte < progress.best;
  progress.sinceBest = improved ? 0 : progress.sinceBest + 1;
  if (improved) {
    progress.best = bitsPerByte;
    for (const [name, values] of Object.entries(weights)) {
      best[name] ??= new Float32Array(values.length);
      best[name].set(values);
    }
  }
  return { type: "validation", step: progress.step, bitsPerByte, best: improved };
}
