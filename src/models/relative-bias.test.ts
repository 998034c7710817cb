/** Buckets of relative positions: hand-worked, against PyTorch, and in the place and order that scores need. */
import { afterAll, expect, test } from "vitest";
import { readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host } from "../tensor/dtype.ts";
import { constant, input, sum } from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import { relativeBias, type RelativeBiasOptions } from "../nn/relative-bias.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** A table whose entries are the numbers of their buckets makes a bias of these numbers: [T, T] of them. */
async function bucketsOf(length: number, count: number, options: RelativeBiasOptions): Promise<number[][]> {
  const numbers = constant(float32Host([count, 1], [...Array(count).keys()]));
  const { bias } = await (await runtime.compile({ bias: relativeBias(numbers, length, options) })).run({});
  expect(bias.shape).toEqual([1, length, length]);
  const all = Array.from(bias.data, Number);
  return Array.from({ length }, (_, query) => all.slice(query * length, (query + 1) * length));
}

test("8 buckets up to distance 10, worked by hand", async () => {
  // Both ways: 4 buckets each, distances 0 and 1 alone; 2 + floor(2 log(d/2) / log 5) is 2 up to d = 4 (0.86), 3 from
  // d = 5 on (1.14). One way: 0 to 3 alone; 4 + floor(4 log(d/4) / log 2.5): 4 for 4 and 5 (0.97), 5 for 6 (1.77),
  // 6 for 7 (2.44), 7 for 8 (3.03) and on.
  const both = await bucketsOf(13, 8, { bidirectional: true, maxDistance: 10 });
  expect(both[0]).toEqual([0, 5, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7]);
  expect(both[12]).toEqual([3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 1, 0]);
  const before = await bucketsOf(13, 8, { bidirectional: false, maxDistance: 10 });
  expect(before[0]).toEqual(Array.from({ length: 13 }, () => 0));
  expect(before[12]).toEqual([7, 7, 7, 7, 7, 6, 5, 4, 4, 3, 2, 1, 0]);
});

test.each([true, false])("the published 32 buckets up to distance 128 are PyTorch's, both ways: %s", async (both) => {
  const reference = await readTensors(repositoryFile("tests/fixtures/t5-gated/reference.safetensors"));
  const want = Array.from(reference.get(`buckets.${both ? "bi" : "uni"}directional`)?.data ?? [], Number);
  const got = await bucketsOf(141, 32, { bidirectional: both, maxDistance: 128 });
  expect([...got[140].slice(0, 140), ...got[0]]).toEqual(want);
  expect(new Set(want).size).toBe(both ? 31 : 32);
});

test("heads come first, and the gradient counts how often a bucket is read", async () => {
  const weight = input("weight", "float32", [4, 2]);
  const bias = relativeBias(weight, 3, { bidirectional: true, maxDistance: 3 });
  const [slope] = gradients(sum(bias), [weight]);
  const program = await runtime.compile({ bias, slope });
  const got = await program.run({ weight: float32Host([4, 2], [1, 10, 2, 20, 3, 30, 4, 40]) });
  // Buckets by key - query: 0 at 0, 1 for all before, 3 for all after (2 would be distance 0 on that side)
  const numbers = [1, 4, 4, 2, 1, 4, 2, 2, 1];
  expect([...got.bias.data]).toEqual([...numbers, ...numbers.map((x) => 10 * x)]);
  expect([...got.slope.data]).toEqual([3, 3, 3, 3, 0, 0, 3, 3]);
});
