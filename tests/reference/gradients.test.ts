/**
 * Property tests of every gradient rule on random shapes, in two halves that meet at the gradient's graph:
 * the rules are right (finite differences of the loss, all in float64 in the interpreter of tests/support),
 * and the runtime computes the graph (float32 against the same interpreter).
 */
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createRuntime } from "../../src/runtime/runtime.ts";
import { float32Host, type HostTensor, sizeOf } from "../../src/tensor/dtype.ts";
import { cast, constant, input, mul, sum } from "../../src/tensor/functions.ts";
import { gradientRules, gradients } from "../../src/tensor/grad.ts";
import type { Tensor } from "../../src/tensor/graph.ts";
import { isStatic } from "../../src/tensor/shape.ts";
import { expectClose } from "../support/close.ts";
import { interpret, type Value } from "../support/interpreter.ts";
import { drawValues, type Scenario, type Smooth, scenarios } from "../support/scenarios.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** Central differences err by eps^2 f'''/6 + 1e-16 |f| / eps: both about 1e-10 for losses and derivatives up to some tens. */
const EPS = 1e-5;
const exactly = { absolute: 1e-7, relative: 1e-7 };
/** float32 over at most some hundred terms up to about 10 in size: 100 * 10 * 6e-8 in the worst case, far less as a rule. */
const single = { absolute: 3e-5, relative: 3e-5 };

/** Sum of the output times fixed numbers of both signs, so that every entry's cotangent differs. */
function weighted(y: Tensor): Tensor {
  if (!isStatic(y.shape)) throw new Error("scenarios are static");
  const weights = Float32Array.from({ length: sizeOf(y.shape) }, (_, i) => 1.5 * Math.sin(1 + 2 * i));
  return sum(mul(cast(y, "float32"), constant(float32Host(y.shape, weights))));
}

interface Program {
  readonly outputs: Record<string, Tensor>;
  readonly values: Record<string, Value>;
}

function program(scenario: Scenario): Program {
  const values = drawValues(scenario);
  const leaves = scenario.inputs.map(({ shape }, i) => input(`x${i}`, "float32", shape));
  const y = scenario.make(leaves);
  const loss = weighted(y);
  const outputs: Record<string, Tensor> = { y, loss };
  for (const [i, gradient] of gradients(loss, leaves).entries()) outputs[`grad${i}`] = gradient;
  return {
    outputs,
    values: Object.fromEntries(scenario.inputs.map(({ shape }, i) => [`x${i}`, { shape, data: values[i] }])),
  };
}

function finiteDifferences({ outputs: { loss }, values }: Program, name: string): Float64Array {
  const { shape, data } = values[name];
  const lossAt = (i: number, x: number): number => {
    const moved = data.slice();
    moved[i] = x;
    return interpret({ loss }, { ...values, [name]: { shape, data: moved } }).loss.data[0];
  };
  return data.map((x, i) => (lossAt(i, x + EPS) - lossAt(i, x - EPS)) / (2 * EPS));
}

const feeds = (values: Record<string, Value>): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.entries(values).map(([name, { shape, data }]) => [name, float32Host(shape, Float32Array.from(data))]),
  );

const names = Object.keys(scenarios) as Smooth[];

test("every differentiable primitive has a scenario", () => {
  const refused = ["conv1dInputGradient", "crossEntropyGradient"]; // first derivatives whose own derivative is refused
  const none: unknown = gradientRules.input;
  const differentiable = (Object.keys(gradientRules) as Smooth[]).filter((op) => gradientRules[op] !== none);
  expect(names.toSorted()).toEqual(differentiable.filter((op) => !refused.includes(op)).toSorted());
});

test.each(names)("the gradient of %s equals finite differences", (op) => {
  fc.assert(
    fc.property(scenarios[op], (scenario) => {
      const one = program(scenario);
      const results = interpret(one.outputs, one.values);
      for (const i of scenario.inputs.keys()) {
        const want = finiteDifferences(one, `x${i}`);
        expect(results[`grad${i}`].shape).toEqual(scenario.inputs[i].shape);
        expectClose(`gradient of ${op} to input ${i}`, results[`grad${i}`].data, want, exactly);
      }
    }),
    { numRuns: 40, seed: 1 },
  );
});

test.each(names)("the runtime computes %s and its gradient", async (op) => {
  await fc.assert(
    fc.asyncProperty(scenarios[op], async (scenario) => {
      const { outputs, values } = program(scenario);
      const compiled = await runtime.compile(outputs);
      const got = await compiled.run(feeds(values));
      await compiled.release();
      for (const [name, { shape, data }] of Object.entries(interpret(outputs, values))) {
        expect(got[name].shape, `${op}: shape of ${name}`).toEqual(shape);
        expectClose(`${op}: ${name}`, got[name].data, data, single);
      }
    }),
    { numRuns: 12, seed: 2 },
  );
});
