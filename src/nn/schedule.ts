/**
 * Learning-rate schedules: pure functions of the number of updates already made, so a resumed run needs no state.
 * Each returns a multiplier of the peak learning rate. Warm-up rises in equal steps and never wastes an update on 0.
 */
import { UserError } from "../errors.ts";

export interface ScheduleOptions {
  /** Updates that rise linearly to the peak. */
  warmupSteps?: number;
  /** Updates in the whole run; at and after it the floor holds. */
  totalSteps: number;
  /** The multiplier at the end, from 0 to 1. */
  floor?: number;
}

export type Schedule = (step: number, options: ScheduleOptions) => number;

/** Progress after the warm-up as a number from 0 to 1, or the warm-up multiplier itself. */
function phase(
  step: number,
  { warmupSteps = 0, totalSteps, floor = 0 }: ScheduleOptions,
): { warm: number } | { progress: number } {
  if (!(step >= 0) || !(warmupSteps >= 0) || !(floor >= 0 && floor <= 1) || Number.isNaN(totalSteps)) {
    throw new UserError(
      `schedule: expected step and warmupSteps >= 0 and floor from 0 to 1, got step ${step}, warmupSteps ` +
        `${warmupSteps}, totalSteps ${totalSteps}, floor ${floor}`,
    );
  }
  if (step < warmupSteps) return { warm: (step + 1) / warmupSteps };
  const length = totalSteps - warmupSteps;
  return { progress: length > 0 ? Math.min(1, (step - warmupSteps) / length) : 1 };
}

/** The peak rate after the warm-up. */
export const constant: Schedule = (step, options) => {
  const now = phase(step, options);
  return "warm" in now ? now.warm : 1;
};

/** Half a cosine wave from the peak down to the floor (https://arxiv.org/abs/1608.03983, without restarts). */
export const cosine: Schedule = (step, options) => {
  const now = phase(step, options);
  if ("warm" in now) return now.warm;
  const floor = options.floor ?? 0;
  return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * now.progress));
};

/** A straight line from the peak down to the floor. */
export const linear: Schedule = (step, options) => {
  const now = phase(step, options);
  if ("warm" in now) return now.warm;
  const floor = options.floor ?? 0;
  return floor + (1 - floor) * (1 - now.progress);
};

/** The catalogue: what `--schedule` may name. */
export const schedules = { constant, cosine, linear } as const;
