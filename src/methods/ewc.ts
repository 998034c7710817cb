/**
 * Elastic weight consolidation (https://arxiv.org/abs/1612.00796). While a new topic is learned, every weight is held
 * near its old value by lambda / 2 * sum_i F_i (theta_i - theta*_i)^2 (Eq. 3), F the diagonal of the Fisher
 * information. `mode` "separate": one penalty per past topic, as in the paper (their sum is kept as the one quadratic
 * that it is). "online": one running F = gamma F + F_topic around the latest weights (https://arxiv.org/abs/1805.06370,
 * Eq. 9). F is the empirical Fisher: squares of the gradient of log p(row), one row at a time (batch size 1), with the
 * text's own tokens as labels instead of tokens drawn from the model; per target token, so that lambda weighs nats per
 * token. The first topic is plain fine-tuning, as nothing tells what the base knew; `protect` names a text that does.
 * Differs from the papers: at most `fisherSamples` rows; no Fisher information is normalised (the second paper does).
 */
import { z } from "zod";
import { readTextFile } from "../checkpoint/text.ts";
import { UserError } from "../errors.ts";
import { float32Host, type HostTensor } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import { defineMethod } from "./definition.ts";
import { gradientMethod, trainableCopy, trainingOptions } from "./gradient-method.ts";
import type { Gradients, Lesson, Remedy } from "./remedy.ts";
import type { Rows } from "./batches.ts";
import { saveTrained } from "./save-model.ts";

const options = z.object({
  learningRate: z.number().positive().default(1e-3).describe("peak learning rate"),
  lambda: z.number().nonnegative().default(100).describe("strength of the penalty"),
  mode: z.enum(["separate", "online"]).default("separate").describe("a penalty per past topic, or one running one"),
  gamma: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe("what the running Fisher information keeps per topic (online)"),
  fisherSamples: z.int().positive().default(64).describe("rows from which a topic's Fisher information is estimated"),
  protect: z.string().min(1).optional().describe("text file that stands for what the base knows"),
  ...trainingOptions,
});

type Arrays = Record<string, Float32Array>;

/** The quadratic penalty: importance F and anchor theta* per weight. */
export interface Quadratic {
  readonly fisher: Readonly<Arrays>;
  readonly anchor: Readonly<Arrays>;
}

/** Mean over targets: sum over rows of (d log p(row) / d theta_i)^2, divided by the targets of those rows. */
export async function fisherDiagonal(
  { rowGradients, seed }: Pick<Lesson, "rowGradients" | "seed">,
  rows: Rows,
  samples: number,
): Promise<Arrays> {
  const order = randomStream(seed, "fisher").permutation(rows.rowCount).subarray(0, samples);
  const targets = order.reduce((sum, index) => sum + rows.row(index).length - 1, 0);
  const sums: Record<string, Float64Array> = {};
  for await (const gradients of rowGradients(rows, order)) {
    for (const [name, values] of Object.entries(gradients)) {
      const sum = (sums[name] ??= new Float64Array(values.length));
      for (let i = 0; i < values.length; i++) sum[i] += values[i] * values[i];
    }
  }
  return Object.fromEntries(
    Object.entries(sums).map(([name, sum]) => [name, Float32Array.from(sum, (value) => value / targets)]),
  );
}

/** Add lambda F (theta - theta*) to the gradient. */
export function addPenaltyGradient({ fisher, anchor }: Quadratic, lambda: number, weights: Gradients, into: Gradients) {
  for (const [name, importance] of Object.entries(fisher)) {
    const [w, a, g] = [weights[name], anchor[name], into[name]];
    for (let i = 0; i < g.length; i++) g[i] += lambda * importance[i] * (w[i] - a[i]);
  }
}

/** lambda / 2 * sum F (theta - theta*)^2, in nats per token. */
export function penaltyValue({ fisher, anchor }: Quadratic, lambda: number, weights: Gradients): number {
  let total = 0;
  for (const [name, importance] of Object.entries(fisher)) {
    const [w, a] = [weights[name], anchor[name]];
    for (let i = 0; i < w.length; i++) total += importance[i] * (w[i] - a[i]) ** 2;
  }
  return (lambda / 2) * total;
}

/**
 * The sum of two quadratics but for a constant: F = F1 + F2 around the mean of both anchors weighted by F1 and F2.
 * So the penalties of any number of topics take the room of one.
 */
export function sumOfQuadratics(one: Quadratic | undefined, two: Quadratic): Quadratic {
  if (!one) return two;
  const [fisher, anchor]: [Arrays, Arrays] = [{}, {}];
  for (const [name, f2] of Object.entries(two.fisher)) {
    const [f1, a1, a2] = [one.fisher[name], one.anchor[name], two.anchor[name]];
    fisher[name] = f1.map((value, i) => value + f2[i]);
    anchor[name] = a1.map((value, i) => {
      const both = f1[i] + f2[i];
      return both > 0 ? value + (f2[i] / both) * (a2[i] - value) : a2[i];
    });
  }
  return { fisher, anchor };
}

/** F = gamma F1 + F2 around the latest anchor (1805.06370, Eq. 9). */
export function runningQuadratic(one: Quadratic | undefined, two: Quadratic, gamma: number): Quadratic {
  if (!one) return two;
  const fisher = Object.fromEntries(
    Object.entries(two.fisher).map(([name, f2]) => [name, f2.map((value, i) => gamma * one.fisher[name][i] + value)]),
  );
  return { fisher, anchor: two.anchor };
}

const [FISHER, ANCHOR] = ["fisher:", "anchor:"];

interface EwcOptions {
  lambda: number;
  mode: "separate" | "online";
  gamma: number;
  fisherSamples: number;
  /** Text that stands for what the base knows. */
  protect?: string;
  /** Shapes of the weights, by name. */
  shapes: Readonly<Record<string, readonly number[]>>;
}

function ewcRemedy({ lambda, mode, gamma, fisherSamples, protect, shapes }: EwcOptions): Remedy {
  let held: Quadratic | undefined;
  const consolidate = async (lesson: Lesson, rows: Rows): Promise<void> => {
    const fisher = await fisherDiagonal(lesson, rows, fisherSamples);
    const anchor = Object.fromEntries(Object.entries(lesson.weights).map(([name, values]) => [name, values.slice()]));
    const latest = { fisher, anchor };
    held = mode === "separate" ? sumOfQuadratics(held, latest) : runningQuadratic(held, latest, gamma);
  };
  return {
    async before(lesson) {
      // The weights are still the base's: a run that is resumed loads its own later
      if (held === undefined && protect !== undefined) await consolidate(lesson, lesson.rowsOf([protect]));
    },
    penalty(weights, gradients) {
      if (held) addPenaltyGradient(held, lambda, weights, gradients);
    },
    after: (lesson) => consolidate(lesson, lesson.rows),
    bytes: () => (held ? 2 * Object.values(held.fisher).reduce((sum, { byteLength }) => sum + byteLength, 0) : 0),
    state() {
      const tensors: Record<string, HostTensor> = {};
      for (const [name, shape] of Object.entries(held ? shapes : {})) {
        tensors[FISHER + name] = float32Host(shape, (held as Quadratic).fisher[name].slice());
        tensors[ANCHOR + name] = float32Host(shape, (held as Quadratic).anchor[name].slice());
      }
      return { tensors, json: {} };
    },
    restore({ tensors }) {
      const names = Object.keys(shapes);
      const there = names.filter((name) => FISHER + name in tensors && ANCHOR + name in tensors);
      if (there.length !== 0 && there.length !== names.length)
        throw new UserError(
          `ewc: expected ${names.length} saved importances, got ${there.length}; save the state again`,
        );
      const read = (prefix: string): Arrays =>
        Object.fromEntries(there.map((name) => [name, (tensors[prefix + name].data as Float32Array).slice()]));
      held = there.length === 0 ? undefined : { fisher: read(FISHER), anchor: read(ANCHOR) };
    },
  };
}

export const ewc = defineMethod({
  name: "ewc",
  summary: "train all weights, each held by how much the past topics need it",
  paper: "https://arxiv.org/abs/1612.00796",
  options,
  async create(base, { learningRate, lambda, mode, gamma, fisherSamples, protect, ...training }, deps) {
    const file = protect === undefined ? undefined : await readTextFile(protect);
    const shapes = Object.fromEntries(Object.entries(base.weights).map(([name, { shape }]) => [name, shape]));
    return gradientMethod({
      name: "ewc",
      base,
      trainable: trainableCopy(base),
      remedy: ewcRemedy({ lambda, mode, gamma, fisherSamples, protect: file?.text, shapes }),
      settings: { lambda, mode, gamma, fisherSamples, protect: file?.sha256 ?? null },
      learningRate,
      training,
      deps,
    });
  },
  save: saveTrained,
});
