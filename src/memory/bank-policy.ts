/**
 * Which action pays off in which situation: LinUCB with disjoint linear models (https://arxiv.org/abs/1003.0146,
 * Algorithm 1), over the few things that can be done with a bank at a step of a stream. It knows actions by name only,
 * and of a situation nothing but numbers. Letters: x [d] the situation, r the reward, A = λI + Σ x x' and b = Σ r x of an
 * action's own steps. Differs from the paper: λ may be other than 1, and not every action need be possible at each step.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import { pick, randomStream } from "../tensor/random.ts";
import { addOuter, addScaled, dot, type Numbers, symmetricTimes, triangleSize } from "./matrix.ts";
import { type MemoryState, packDoubles, unpackDoubles } from "./packed.ts";
import { cholesky, inverseOf } from "./pseudo-inverse.ts";

/** What new knowledge is worth: accuracy on what is new - forgetting - λ bytes, with λ in accuracy per byte. */
export function bankReward(
  { accuracy, forgetting, bytes }: { readonly accuracy: number; readonly forgetting: number; readonly bytes: number },
  { lambda }: { readonly lambda: number },
): number {
  const reward = accuracy - forgetting - lambda * bytes;
  if (Number.isFinite(reward)) return reward;
  throw new UserError(
    `bankReward: expected finite numbers, got accuracy ${accuracy}, forgetting ${forgetting}, ${bytes} bytes and lambda ` +
      `${lambda}; score at least one question`,
  );
}

export interface PolicyOptions<A extends string> {
  readonly actions: readonly A[];
  /** d: numbers that describe a situation; let one of them be 1 always, as there is no other constant. */
  readonly features: number;
  /** α: how much an uncertain reward counts as a good one; 0 never explores. */
  readonly alpha?: number;
  /** λ: how much evidence it takes to move an action's model away from 0. */
  readonly ridge?: number;
  /** Of the choice between equals. */
  readonly seed?: number;
}

/** What is expected of an action: mean θ·x (line 9), deviation √(x' A⁻¹ x), score mean + α deviation. */
export interface Expected<A extends string> {
  readonly action: A;
  readonly mean: number;
  readonly deviation: number;
  readonly score: number;
}

export interface BankPolicy<A extends string> {
  readonly actions: readonly A[];
  /** In the order of the actions. */
  expected(situation: Numbers): Expected<A>[];
  /** The action with the highest score, of those that are possible: by default any. */
  choose(situation: Numbers, possible?: readonly A[]): A;
  /** Learns what the action was worth in that situation. */
  update(action: A, situation: Numbers, reward: number): void;
  /** How often each action was learned from. */
  steps(): ReadonlyMap<A, number>;
  state(): MemoryState;
  /** Takes on a saved state of a policy of the same options, or throws and stays as it is. */
  restore(state: MemoryState): void;
}

/** One action's evidence. A⁻¹ is made from A whenever it is needed anew: d is small, and nothing drifts. */
interface Model {
  readonly a: Float64Array;
  readonly b: Float64Array;
  steps: number;
  inverse?: Float64Array;
}

const words = z.tuple([z.number(), z.number(), z.number(), z.number()]);
const stateSchema = z.object({ actions: z.array(z.string()), features: z.number(), ridge: z.number(), random: words });

export function createBankPolicy<A extends string>({
  actions,
  features: d,
  alpha = 1,
  ridge = 1,
  seed = 0,
}: PolicyOptions<A>): BankPolicy<A> {
  if (actions.length === 0 || new Set(actions).size < actions.length || !Number.isInteger(d) || d < 1) {
    throw new UserError(
      `createBankPolicy: expected different actions and 1 feature or more, got ${actions.join(", ") || "none"} and ${d}`,
    );
  }
  if (!(alpha >= 0 && ridge > 0) || !Number.isFinite(alpha + ridge)) {
    throw new UserError(
      `createBankPolicy: expected alpha from 0 and a ridge above 0, got ${alpha} and ${ridge}; try 1 and 1`,
    );
  }
  const random = randomStream(seed, "bank-policy");
  const size = triangleSize(d);

  /** A = λI and b = 0 (lines 5 and 6). */
  const fresh = (): Model => {
    const a = new Float64Array(size);
    for (let i = 1; i <= d; i++) a[triangleSize(i) - 1] = ridge;
    return { a, b: new Float64Array(d), steps: 0 };
  };
  let models = new Map<A, Model>(actions.map((action) => [action, fresh()]));
  const modelOf = (who: string, action: A): Model => {
    const found = models.get(action);
    if (found) return found;
    throw new UserError(`${who}: expected one of ${actions.join(", ")}, got ${action}`);
  };
  const inverse = (model: Model): Float64Array => {
    if (model.inverse) return model.inverse;
    const factor = cholesky(model.a, d);
    if (!factor) {
      throw new UserError(
        `bankPolicy: expected situations that a ridge of ${ridge} can separate, got numbers too large; scale them to about 1`,
      );
    }
    return (model.inverse = inverseOf(factor, d));
  };
  const situationOf = (who: string, situation: Numbers): Float64Array => {
    const x = Float64Array.from(situation);
    if (x.length === d && x.every(Number.isFinite)) return x;
    throw new UserError(`${who}: expected a situation of ${d} finite numbers, got [${Array.from(x).join(", ")}]`);
  };

  const expected = (situation: Numbers): Expected<A>[] => {
    const x = situationOf("bankPolicy.expected", situation);
    const u = new Float64Array(d);
    return actions.map((action) => {
      const model = modelOf("bankPolicy.expected", action);
      symmetricTimes(inverse(model), x, u); // u = A⁻¹ x, so that θ·x = b·u (line 8)
      const mean = dot(model.b, 0, u, 0, d);
      const deviation = Math.sqrt(Math.max(0, dot(x, 0, u, 0, d)));
      return { action, mean, deviation, score: mean + alpha * deviation };
    });
  };

  return {
    actions,
    expected,

    choose(situation, possible = actions) {
      for (const action of possible) modelOf("bankPolicy.choose", action);
      const open = expected(situation).filter(({ action }) => possible.includes(action));
      if (open.length === 0) throw new UserError("bankPolicy.choose: expected at least one possible action, got none");
      const best = Math.max(...open.map(({ score }) => score));
      return pick(
        open.filter(({ score }) => score === best),
        random,
      ).action; // line 11
    },

    update(action, situation, reward) {
      const x = situationOf("bankPolicy.update", situation);
      const model = modelOf("bankPolicy.update", action);
      if (!Number.isFinite(reward)) {
        throw new UserError(`bankPolicy.update: expected a finite reward, got ${reward}; score at least one question`);
      }
      addOuter(model.a, 1, x); // line 12
      addScaled(reward, x, 0, model.b, 0, d); // line 13
      model.steps++;
      model.inverse = undefined;
    },

    steps: () => new Map(actions.map((action) => [action, modelOf("bankPolicy.steps", action).steps])),

    state() {
      const all = actions.map((action) => modelOf("bankPolicy.state", action));
      const flat = (part: "a" | "b") => Float64Array.from(all.flatMap((model) => Array.from(model[part])));
      return {
        tensors: {
          a: packDoubles([actions.length, size], flat("a")),
          b: packDoubles([actions.length, d], flat("b")),
          steps: packDoubles(
            [actions.length],
            Float64Array.from(all, ({ steps }) => steps),
          ),
        },
        json: { actions: [...actions], features: d, ridge, random: [...random.save()] },
      };
    },

    restore(state) {
      const found = stateSchema.safeParse(state.json).data;
      if (found?.actions.join() !== actions.join() || found.features !== d || found.ridge !== ridge) {
        throw new UserError(
          `bankPolicy.restore: expected ${actions.join(", ")} with ${d} features and a ridge of ${ridge}, got ` +
            `${found ? `${found.actions.join(", ")} with ${found.features} and ${found.ridge}` : "something else"}; ` +
            "start a new policy",
        );
      }
      const a = unpackDoubles(state, "a", [actions.length, size]);
      const b = unpackDoubles(state, "b", [actions.length, d]);
      const steps = unpackDoubles(state, "steps", [actions.length]);
      random.restore(found.random);
      models = new Map(
        actions.map((action, i) => [
          action,
          { a: a.slice(i * size, (i + 1) * size), b: b.slice(i * d, (i + 1) * d), steps: steps[i] },
        ]),
      );
    },
  };
}
