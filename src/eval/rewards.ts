/**
 * What each step of a stream was worth: new accuracy - forgetting - λ x bytes, from the score matrix and from what the
 * method held after each step. All parts stand beside the reward, so that another λ can be tried later.
 */
import { bankReward } from "../memory/bank-policy.ts";
import { forgetting, mean, type Cell, type ScoreMatrix } from "./metrics.ts";

export interface StepReward {
  /** R[i][i]: the score of what was just learned. */
  readonly accuracy: number;
  /** Forgetting of everything before it, as after this step; 0 at the first. */
  readonly forgetting: number;
  /** What the method held of its own. */
  readonly bytes: number;
  readonly reward: number;
}

export const rewardFormula =
  "reward = mean over i of R[i][i] - forgetting after i - byteCost x MB (10^6 bytes) held after i";

/**
 * The reward of each learned step; `byteCost`: λ, accuracy for a megabyte (10^6 bytes). Null for "lower" matrices, whose
 * scores are no accuracy, and where a score or a byte count is not known.
 */
export function stepRewards(
  { R, direction }: Pick<ScoreMatrix, "R" | "direction">,
  bytes: readonly (number | undefined)[],
  { byteCost }: { readonly byteCost: number },
): StepReward[] | null {
  if (direction === "lower") return null;
  const steps: StepReward[] = [];
  for (const [i, row] of R.entries()) {
    const accuracy = row[i] ?? null;
    const forgotten = i === 0 ? 0 : forgetting(R.slice(0, i + 1), direction);
    const held = bytes[i];
    if (accuracy === null || forgotten === null || held === undefined) return null;
    const parts = { accuracy, forgetting: forgotten, bytes: held };
    steps.push({ ...parts, reward: bankReward(parts, { lambda: byteCost / 1e6 }) });
  }
  return steps;
}

/** The mean over the steps. */
export const meanReward = (steps: readonly StepReward[] | null): Cell =>
  mean((steps ?? []).map(({ reward }) => reward));
