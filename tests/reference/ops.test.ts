/**
 * Value and gradient of every primitive and fused op against PyTorch (tests/fixtures/ops.json). All cases of one op
 * share a compiled graph; their inputs are fed, so that the runtime can fold nothing away.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRuntime } from "../../src/runtime/runtime.ts";
import type { HostTensor } from "../../src/tensor/dtype.ts";
import { gradientRules, gradients } from "../../src/tensor/grad.ts";
import { type Tensor, topologicalOrder } from "../../src/tensor/graph.ts";
import type { Primitive } from "../../src/tensor/ops.ts";
import { expectClose, type Tolerance } from "../support/close.ts";
import { buildCase, builders, opCases, opTensors } from "../support/ops-fixture.ts";

/**
 * The fixture is exact to float32 (computed in float64), so these are the engine's own errors. One float32 operation
 * errs by 6e-8 relative; the cases sum up to some dozens of products of size 1, where terms cancel.
 */
const usual: Tolerance = { absolute: 2e-6, relative: 4e-6 };
const special: Readonly<Record<string, Tolerance>> = {};

const runtime = createRuntime({ threads: 1 });
let tensors: ReadonlyMap<string, HostTensor>;
beforeAll(async () => {
  tensors = await opTensors();
});
afterAll(() => runtime.dispose());

const ops = [...new Set(opCases.map(({ op }) => op))];

test.each(ops)("%s equals PyTorch in value and gradient", async (op) => {
  const outputs: Record<string, Tensor> = {};
  for (const built of opCases.filter((one) => one.op === op).map(buildCase)) {
    Object.assign(outputs, built.outputs);
    if (!built.loss) continue;
    const found = gradients(
      built.loss,
      built.wanted.map(([, leaf]) => leaf),
    );
    for (const [i, [name]] of built.wanted.entries()) outputs[name] = found[i];
  }
  const program = await runtime.compile(outputs);
  const results = await program.run(Object.fromEntries(tensors));
  for (const [name, { dtype, shape, data }] of Object.entries(results)) {
    const want = tensors.get(name) as HostTensor;
    expect(`${name}: ${dtype}[${shape}]`).toBe(`${name}: ${want.dtype}[${want.shape}]`);
    expectClose(name, data, want.data, special[op] ?? usual);
  }
});

describe("coverage", () => {
  // Leaves have no value of their own; the two gradients are checked as such, their own derivatives are refused
  const exempt = new Set<Primitive>(["input", "constant", "random", "conv1dInputGradient", "crossEntropyGradient"]);

  test("every primitive has a case of its own name", () => {
    const missing = (Object.keys(gradientRules) as Primitive[]).filter((op) => !exempt.has(op) && !ops.includes(op));
    expect(missing, "primitives without a case in tests/fixtures/ops.json").toEqual([]);
  });

  test("every differentiable primitive has a case with a gradient through it", () => {
    const differentiable = (Object.keys(gradientRules) as Primitive[]).filter(
      (op) => gradientRules[op] !== gradientRules.input && !exempt.has(op),
    );
    const covered = new Set<Primitive>();
    for (const one of opCases) {
      const { loss } = buildCase(one);
      for (const node of topologicalOrder(loss && one.op in gradientRules ? [loss] : [])) {
        if (node.op === one.op) covered.add(node.op);
      }
    }
    expect(differentiable.filter((op) => !covered.has(op))).toEqual([]);
  });

  test("every builder is used", () => {
    expect(Object.keys(builders).filter((op) => !ops.includes(op))).toEqual([]);
  });
});
