/** LinUCB by hand, against rules that always do the same, and against its own bound; the reward by hand. */
import { expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { randomStream } from "../tensor/random.ts";
import { bankReward, createBankPolicy } from "./bank-policy.ts";

test("the reward by hand", () => {
  expect(bankReward({ accuracy: 0.75, forgetting: 0.25, bytes: 1024 }, { lambda: 2 ** -12 })).toBe(0.25);
  expect(bankReward({ accuracy: 0, forgetting: 0.5, bytes: 100 }, { lambda: 0 })).toBe(-0.5);
  // Less is forgotten than was known before, and bytes are given back
  expect(bankReward({ accuracy: 0.5, forgetting: -0.125, bytes: -8 }, { lambda: 0.125 })).toBe(1.625);
  expect(() => bankReward({ accuracy: Number.NaN, forgetting: 0, bytes: 1 }, { lambda: 1 })).toThrow(
    /^bankReward: expected finite numbers, got accuracy NaN/,
  );
});

test("two steps by hand", () => {
  const policy = createBankPolicy({ actions: ["store", "drop"], features: 2, alpha: 0.5 });
  expect(policy.expected([3, 4])[0]).toEqual({ action: "store", mean: 0, deviation: 5, score: 2.5 });
  policy.update("store", [1, 0], 4);
  policy.update("store", [1, 1], -1);
  // A = I + [1 0; 0 0] + [1 1; 1 1] = [3 1; 1 2], its inverse is [2 -1; -1 3] / 5; b = (3, -1); θ = (7, -6) / 5
  const [store, drop] = policy.expected([2, 1]);
  expectClose("store", [store.mean, store.deviation ** 2], [8 / 5, 7 / 5], { absolute: 1e-14, relative: 0 });
  expect(drop).toEqual({ action: "drop", mean: 0, deviation: Math.sqrt(5), score: Math.sqrt(5) / 2 });
  expect(policy.choose([2, 1])).toBe("store");
  expect(policy.choose([2, 1], ["drop"])).toBe("drop");
  // At (0, 1) store is at -6/5 + √(3/5) / 2
  expect(policy.choose([0, 1])).toBe("drop");
  expect([...policy.steps()]).toEqual([
    ["store", 2],
    ["drop", 0],
  ]);
});

const actions = ["store", "merge", "replace", "drop", "refit", "adapt"] as const;
type Action = (typeof actions)[number];
const d = 5;

/** Rewards linear in the situation, and no action better than another in the mean: which is best is all in the numbers. */
function world(seed: number) {
  const random = randomStream(seed, "world");
  const theta = new Map(
    actions.map((action) => [action, Array.from({ length: d }, (_, i) => (i === 0 ? 0.5 : random.normal() / 2))]),
  );
  const mean = (action: Action, x: readonly number[]): number =>
    (theta.get(action) ?? []).reduce((sum, value, i) => sum + value * x[i], 0);
  return {
    situation: () => [1, ...Array.from({ length: d - 1 }, () => random.normal() / 2)],
    mean,
    best: (x: readonly number[]) => Math.max(...actions.map((action) => mean(action, x))),
    reward: (action: Action, x: readonly number[]) => mean(action, x) + 0.1 * random.normal(),
  };
}

test.each([1, 2, 3])("regret: far below every fixed rule, and within the bound of its widths (seed %i)", (seed) => {
  const { situation, mean, best, reward } = world(seed);
  const alpha = 0.6;
  const policy = createBankPolicy({ actions, features: d, alpha, ridge: 0.1, seed });
  const fixed = new Map(actions.map((action) => [action, 0]));
  let [regret, widths, late] = [0, 0, 0];
  const steps = 2000;
  for (let step = 0; step < steps; step++) {
    const x = situation();
    const action = policy.choose(x);
    widths += policy.expected(x).find((one) => one.action === action)?.deviation ?? 0;
    policy.update(action, x, reward(action, x));
    const lost = best(x) - mean(action, x);
    regret += lost;
    if (step >= steps / 2) late += lost;
    for (const rule of actions) fixed.set(rule, (fixed.get(rule) ?? 0) + best(x) - mean(rule, x));
  }
  // While |θ̂·x - θ·x| <= α √(x' A⁻¹ x), a step loses 2 α √(x' A⁻¹ x) at most
  expect(regret).toBeLessThanOrEqual(2 * alpha * widths);
  for (const lost of fixed.values()) expect(regret).toBeLessThan(0.1 * lost);
  expect(late).toBeLessThan(0.5 * regret); // it has learned: more of the loss lies in the first half
});

test("a restored policy goes on as if nothing had been", () => {
  const options = { actions, features: d, seed: 4 };
  const first = createBankPolicy(options);
  const { situation, mean } = world(4);
  const situations = Array.from({ length: 60 }, situation);
  const run = (policy: typeof first, from: number, to: number): Action[] =>
    situations.slice(from, to).map((x) => {
      const action = policy.choose(x);
      policy.update(action, x, mean(action, x));
      return action;
    });
  run(first, 0, 3); // some actions are still untried, equals that the policy's own random numbers choose between
  const saved = structuredClone(first.state());
  const second = createBankPolicy({ ...options, seed: 99 });
  second.restore(saved);
  expect(run(second, 3, 60)).toEqual(run(first, 3, 60));
  expect(second.state()).toEqual(first.state());
  const other = createBankPolicy({ actions: ["store"], features: d });
  const before = other.state();
  expect(() => other.restore(saved)).toThrow(
    /^bankPolicy.restore: expected store with 5 features and a ridge of 1, got/,
  );
  expect(() => other.restore({ tensors: {}, json: {} })).toThrow(/got something else; start a new policy/);
  expect(() => other.restore({ tensors: {}, json: before.json })).toThrow(/expected a as int64/);
  expect(other.state()).toEqual(before);
});

test("equals are drawn by the seed", () => {
  const draw = (seed: number): Action[] => {
    const policy = createBankPolicy({ actions, features: 1, seed });
    return Array.from({ length: 40 }, () => policy.choose([1]));
  };
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
  expect(new Set(draw(1)).size).toBe(actions.length);
});

test("bad input is one line", () => {
  const policy = createBankPolicy({ actions, features: 2 });
  expect(() => policy.choose([1])).toThrow(/expected a situation of 2 finite numbers, got \[1\]/);
  expect(() => policy.choose([1, 2], [])).toThrow(/expected at least one possible action, got none/);
  expect(() => policy.update("store", [1, 2], Number.NaN)).toThrow(/expected a finite reward, got NaN/);
  expect(() => createBankPolicy({ actions: ["a", "a"], features: 1 })).toThrow(/expected different actions/);
  expect(() => createBankPolicy({ actions: ["a"], features: 1, ridge: 0 })).toThrow(
    /expected alpha from 0 and a ridge/,
  );
});
