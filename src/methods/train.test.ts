/** The training loop on a loss of closed form: clipping, budget, early stop, resuming, bad numbers, failing saves. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { onFullDisk } from "../../tests/support/full-disk.ts";
import { drive, emptyBatches, fileBytes, lossesOf, quadratic, savedState } from "../../tests/support/training.ts";
import { UserError } from "../errors.ts";
import { adamw, sgd } from "../nn/optim.ts";
import { constant, cosine } from "../nn/schedule.ts";
import { train, type TrainOptions } from "./train.ts";

let root: string;
let folders = 0;
const folder = (): string => join(root, `run-${folders++}`);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mneme-train-"));
});
afterAll(() => rm(root, { recursive: true }));

const start = (): Record<string, Float32Array> => ({ w: Float32Array.of(1, -2, 3), b: Float32Array.of(0.5) });
const moving = (step: number, i: number): number => Math.sin(step + 2 * i);
const still = (): number => 0;

/** A run of 20 steps unless told otherwise. */
function setUp(
  weights: Record<string, Float32Array>,
  options: Partial<TrainOptions> = {},
  target = moving,
): TrainOptions {
  return {
    objective: quadratic(weights, target),
    batches: emptyBatches(),
    weights,
    optimizer: adamw({ weightDecay: 0.01 }),
    learningRate: 0.05,
    schedule: cosine,
    scheduleOptions: { totalSteps: 20, warmupSteps: 2 },
    steps: 20,
    ...options,
  };
}

const plain = { optimizer: sgd(), schedule: constant, scheduleOptions: { totalSteps: 20 } };

describe("one step", () => {
  it("is gradient descent by hand, and clipping scales the gradient to the norm", async () => {
    const weights = { w: Float32Array.of(3, 4) };
    const { events } = await drive(
      train(setUp(weights, { ...plain, learningRate: 0.5, steps: 1, clipNorm: 0 }, still)),
    );
    // loss (9 + 16) / 2; w - 0.5 w
    expect(lossesOf(events)).toEqual([[1, 12.5]]);
    expect([...weights.w]).toEqual([1.5, 2]);

    const clipped = { w: Float32Array.of(3, 4) };
    await drive(train(setUp(clipped, { ...plain, learningRate: 0.5, steps: 1, clipNorm: 1 }, still)));
    // the gradient (3, 4) of norm 5 becomes (0.6, 0.8)
    expect(clipped.w[0]).toBeCloseTo(2.7, 5);
    expect(clipped.w[1]).toBeCloseTo(3.6, 5);

    const small = { w: Float32Array.of(0.03, 0.04) };
    await drive(train(setUp(small, { ...plain, learningRate: 0.5, steps: 1, clipNorm: 1 }, still)));
    expect(small.w[0]).toBeCloseTo(0.015, 6);
  });

  it("reports rate, tokens and loss", async () => {
    let now = 0;
    const clock = (): number => (now += 250);
    const options = setUp(start(), {
      batches: emptyBatches([8, 5]),
      accumulate: 2,
      steps: 3,
      clock,
      scheduleOptions: { totalSteps: 3, warmupSteps: 2 },
    });
    const { events, result } = await drive(train(options));
    expect(events).toMatchObject([
      { type: "step", step: 1, steps: 3, tokens: 13, learningRate: 0.025 },
      { type: "step", step: 2, steps: 3, tokens: 26, learningRate: 0.05 },
      { type: "step", step: 3, steps: 3, tokens: 39, learningRate: 0.05 },
    ]);
    for (const event of events) expect(event.type === "step" && event.tokensPerSecond).toBeGreaterThan(0);
    expect(result).toMatchObject({ steps: 3, tokens: 39, stopped: "done", finalLoss: lossesOf(events)[2][1] });
  });

  it("with micro-batches of uneven sizes is the step of the joint batch", async () => {
    const [joint, micro] = [start(), start()];
    await drive(train(setUp(joint, { batches: emptyBatches([13]), steps: 6 }, still)));
    await drive(train(setUp(micro, { batches: emptyBatches([8, 4, 1]), accumulate: 3, steps: 6 }, still)));
    for (const name of Object.keys(joint)) {
      for (const [i, value] of joint[name].entries()) expect(micro[name][i]).toBeCloseTo(value, 5);
    }
  });
});

describe("the end of a run", () => {
  it("comes with the token budget, at the step that reaches it", async () => {
    const options = { batches: emptyBatches([8, 4]), tokenBudget: 20 };
    const { result } = await drive(train(setUp(start(), options)));
    expect(result).toMatchObject({ steps: 3, tokens: 20, stopped: "token-budget" });
    const over = await drive(train(setUp(start(), { ...options, tokenBudget: 21 })));
    expect(over.result).toMatchObject({ steps: 4, tokens: 24, stopped: "token-budget" });
  });

  it("comes early without improvement, with the best weights", async () => {
    const weights = start();
    const seen: number[][] = [];
    const values = [5, 3, 4, 3, 1];
    const measure = async (): Promise<number> => {
      seen.push([...weights.w]);
      return values[seen.length - 1];
    };
    const { events, result } = await drive(train(setUp(weights, { validation: { every: 2, patience: 2, measure } })));
    expect(events.filter(({ type }) => type === "validation")).toEqual([
      { type: "validation", step: 2, bitsPerByte: 5, best: true },
      { type: "validation", step: 4, bitsPerByte: 3, best: true },
      { type: "validation", step: 6, bitsPerByte: 4, best: false },
      { type: "validation", step: 8, bitsPerByte: 3, best: false },
    ]);
    expect(result).toMatchObject({ steps: 8, stopped: "early-stop" });
    expect([...weights.w]).toEqual(seen[1]);
  });

  it("stays what it was when a finished run is asked to go on", async () => {
    const at = folder();
    const run = async () => {
      const weights = start();
      let k = 0;
      const validation = { every: 1, patience: 2, measure: async () => [3, 2, 4, 4][k++] };
      const driven = await drive(train(setUp(weights, { validation, checkpoint: { folder: at, identity: "a" } })));
      return { ...driven, weights };
    };
    const first = await run();
    const second = await run();
    expect(second.result).toEqual(first.result);
    expect(second.result).toMatchObject({ steps: 4, stopped: "early-stop" });
    expect(second.weights).toEqual(first.weights);
    expect(second.events.map(({ type }) => type)).toEqual(["note", "checkpoint"]);
  });
});

describe("stop and resume", () => {
  /** Early stopping included: the held-out score is a function of the weights and gets worse late in the run. */
  function validated(weights: Record<string, Float32Array>, options: Partial<TrainOptions>): TrainOptions {
    const target = (step: number, i: number): number => (step < 6 ? 0 : 10 * (i + 1));
    const measure = async (): Promise<number> => weights.w.reduce((total, w) => total + w * w, 0);
    return setUp(weights, { validation: { every: 3, patience: 2, measure }, learningRate: 0.2, ...options }, target);
  }

  async function whole() {
    const at = folder();
    const weights = start();
    const { events, result } = await drive(train(validated(weights, { checkpoint: { folder: at, identity: "a" } })));
    return { weights, state: await savedState(at), losses: lossesOf(events), result };
  }

  it("at any steps gives the weights, moments, best weights and losses of the unbroken run", async () => {
    const unbroken = await whole();
    expect(unbroken.result.stopped).toBe("early-stop");
    expect(unbroken.result.steps).toBeLessThan(20);
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: unbroken.result.steps - 1 }), { maxLength: 5 }),
        async (stops) => {
          const at = folder();
          const losses: [number, number][] = [];
          for (const stop of [...stops.sort((a, b) => a - b), Number.POSITIVE_INFINITY]) {
            const controller = new AbortController();
            const weights = start();
            const options = { checkpoint: { folder: at, identity: "a" }, signal: controller.signal };
            const { events, result } = await drive(train(validated(weights, options)), (event) => {
              if (event.type === "step" && event.step === stop) controller.abort();
            });
            losses.push(...lossesOf(events));
            expect(result).toMatchObject(
              stop < 20
                ? { stopped: "interrupted", steps: stop }
                : { stopped: "early-stop", steps: unbroken.result.steps },
            );
            if (stop > 20) expect(weights).toEqual(unbroken.weights);
          }
          expect(losses).toEqual(unbroken.losses);
          expect(await savedState(at)).toEqual(unbroken.state);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("from a copy saved on the way repeats the steps after it", async () => {
    const unbroken = await whole();
    const at = folder();
    const run = train(validated(start(), { checkpoint: { folder: at, identity: "a", everySeconds: 0 } }));
    // The consumer walks away without a word in the middle of step 7
    for await (const event of run) if (event.type === "step" && event.step === 7) break;
    expect(await savedState(at)).toMatchObject({ progress: { step: 6 } });
    const weights = start();
    const { events } = await drive(train(validated(weights, { checkpoint: { folder: at, identity: "a" } })));
    expect(events[0]).toEqual({ type: "note", message: "continuing at step 6 of 20" });
    expect(lossesOf(events)).toEqual(unbroken.losses.slice(6));
    expect(weights).toEqual(unbroken.weights);
  });

  it("makes no step when it is stopped before the first", async () => {
    const at = folder();
    const weights = start();
    const { result, events } = await drive(
      train(setUp(weights, { signal: AbortSignal.abort(), checkpoint: { folder: at, identity: "a" } })),
    );
    expect(result).toMatchObject({ steps: 0, stopped: "interrupted" });
    expect(events).toEqual([{ type: "checkpoint", step: 0, path: at }]);
    expect(weights).toEqual(start());
  });

  it("refuses the state of another run, and sizes that do not fit", async () => {
    const at = folder();
    await drive(train(setUp(start(), { steps: 2, checkpoint: { folder: at, identity: "a" } })));
    const before = await fileBytes(at);
    const other = drive(train(setUp(start(), { checkpoint: { folder: at, identity: "b" } })));
    await expect(other).rejects.toThrow(/^train: expected a state of this run in .*, got one of another run/);
    await expect(other).rejects.toBeInstanceOf(UserError);
    const wider = { w: new Float32Array(4), b: new Float32Array(1) };
    const misfit = drive(train(setUp(wider, { checkpoint: { folder: at, identity: "a" } })));
    await expect(misfit).rejects.toThrow(/^train: expected 4 numbers for weight:w in .*, got 3/);
    expect(await fileBytes(at)).toEqual(before);
  });

  it("clears what a killed process left behind, and nothing else", async () => {
    const at = folder();
    await drive(train(setUp(start(), { steps: 2, checkpoint: { folder: at, identity: "a" } })));
    const mine = `.training.safetensors.${process.pid}.0badcafe.tmp`;
    for (const name of [".training.safetensors.999999999.0badcafe.tmp", mine, ".other.999999999.0.tmp"])
      await writeFile(join(at, name), "x");
    await drive(train(setUp(start(), { steps: 3, checkpoint: { folder: at, identity: "a" } })));
    expect((await readdir(at)).sort()).toEqual([".other.999999999.0.tmp", mine, "training.safetensors"]);
  });
});

describe("numbers that are not finite", () => {
  it("stop the run; weights and checkpoint are the last good ones, and the run goes on with a lower rate", async () => {
    const at = folder();
    const weights = start();
    // w - 5 (w - 0): grows fourfold at each step, until its square leaves float32
    const options = (rate: number, now: Record<string, Float32Array>): TrainOptions =>
      setUp(
        now,
        {
          ...plain,
          learningRate: rate,
          clipNorm: 0,
          steps: 200,
          checkpoint: { folder: at, identity: "a", everySeconds: 0 },
        },
        still,
      );
    const losses: number[] = [];
    const failed = drive(train(options(5, weights)), (event) => event.type === "step" && losses.push(event.loss));
    const error = await failed.then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error).toBeInstanceOf(UserError);
    const n = losses.length;
    expect(error?.message).toBe(
      `train: expected finite numbers, got a loss of Infinity at step ${n + 1}; the weights of step ${n - 1} are kept, lower the learning rate`,
    );
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(weights.w[0]).toBe((-4) ** (n - 1));
    expect(await savedState(at)).toMatchObject({ progress: { step: n - 1 } });
    const again = start();
    const { result } = await drive(train(options(0.5, again)));
    expect(result).toMatchObject({ stopped: "done", steps: 200 });
    expect(Math.abs(again.w[0])).toBeLessThan(1e-6);
  });

  it("at the first step leave the weights as they came, and no checkpoint", async () => {
    const at = folder();
    const weights = start();
    weights.b[0] = Number.NaN;
    const run = drive(train(setUp(weights, { checkpoint: { folder: at, identity: "a" } })));
    await expect(run).rejects.toThrow("got a loss of NaN at step 1; the weights of step 0 are kept");
    expect(weights.w).toEqual(start().w);
    await expect(readdir(at)).rejects.toThrow("ENOENT");
  });

  it("made by the last update, which no step reads any more, are neither kept nor saved", async () => {
    const at = folder();
    const weights = start();
    const options = { ...plain, learningRate: 1e39, clipNorm: 0, steps: 1, checkpoint: { folder: at, identity: "a" } };
    const run = drive(train(setUp(weights, options, still)));
    await expect(run).rejects.toThrow("got weights of norm Infinity after step 1; the weights of step 0 are kept");
    expect(weights).toEqual(start());
    await expect(readdir(at)).rejects.toThrow("ENOENT");
  });

  it("in a gradient are found too", async () => {
    const weights = start();
    const objective = quadratic(weights, still);
    const bad = {
      ...objective,
      accumulate: async (...given: Parameters<typeof objective.accumulate>) => {
        const loss = await objective.accumulate(...given);
        if (given[2] === 3) objective.gradients.w[1] = Number.POSITIVE_INFINITY;
        return loss;
      },
    };
    const run = drive(train({ ...setUp(weights), objective: bad }));
    await expect(run).rejects.toThrow("got a gradient of norm Infinity at step 4; the weights of step 0 are kept");
    expect(weights).toEqual(start());
  });
});

describe("a save that fails", () => {
  it("for want of space leaves the checkpoint before it, from which the run goes on to the same numbers", async () => {
    const unbroken = start();
    const { events: all } = await drive(train(setUp(unbroken)));
    const at = folder();
    const checkpoint = { folder: at, identity: "a" };
    await drive(train(setUp(start(), { steps: 8, checkpoint })));
    const before = await fileBytes(at);
    await onFullDisk(20, async () => {
      const run = drive(train(setUp(start(), { checkpoint: { ...checkpoint, everySeconds: 0 } })));
      await expect(run).rejects.toThrow(/^save: expected to write .*, got the disk is full/);
    });
    expect(await fileBytes(at)).toEqual(before);
    expect(await readdir(at)).toEqual(["training.safetensors"]);
    const weights = start();
    const { events } = await drive(train(setUp(weights, { checkpoint })));
    expect(lossesOf(events)).toEqual(lossesOf(all).slice(8));
    expect(weights).toEqual(unbroken);
  });

  it("because a file is in the way says so", async () => {
    const at = folder();
    await writeFile(at, "");
    const run = drive(train(setUp(start(), { checkpoint: { folder: at, identity: "a" } })));
    await expect(run).rejects.toThrow(`save: expected a folder at ${at}, got a file; choose another place`);
    const inside = drive(train(setUp(start(), { checkpoint: { folder: join(at, "x"), identity: "a" } })));
    await expect(inside).rejects.toBeInstanceOf(UserError);
  });
});
