/** The gradient of a power where the formula is 0 times infinity: PyTorch's values. */
import { afterAll, expect, test } from "vitest";
import { createRuntime } from "../../src/runtime/runtime.ts";
import { float32Host } from "../../src/tensor/dtype.ts";
import { input, pow, sum } from "../../src/tensor/functions.ts";
import { gradients } from "../../src/tensor/grad.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

test("the gradient of a^b at 0^0, 0^1, 0^2, 2^0 and 2^3", async () => {
  const [a, b] = [input("a", "float32", [5]), input("b", "float32", [5])];
  const [da, db] = gradients(sum(pow(a, b)), [a, b]);
  const program = await runtime.compile({ da, db });
  const found = await program.run({ a: float32Host([5], [0, 0, 0, 2, 2]), b: float32Host([5], [0, 1, 2, 0, 3]) });
  expect(found.da.data).toEqual(Float32Array.of(0, 1, 0, 0, 12));
  const wanted = [0, 0, 0, Math.LN2, 8 * Math.LN2];
  for (const [i, value] of wanted.entries()) expect(found.db.data[i]).toBeCloseTo(value, 6);
});
