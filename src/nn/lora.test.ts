/** Low-rank adapters beside linear layers: y + (alpha / r) B A x, also where B has rows for the last outputs only. */
import { afterAll, describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import { randomStream } from "../tensor/random.ts";
import { linearLayer } from "./linear.ts";
import { lowRankAdapters } from "./lora.ts";
import { paramsOf } from "./params.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const [N, I, O, R] = [5, 8, 12, 2];
const random = (name: string, length: number): Float32Array =>
  randomStream(1, name).fillNormal(new Float32Array(length), 0, 1);

describe("lowRankAdapters", () => {
  // 8 rows: keys and values of a fused projection of queries, keys and values of 4 numbers each
  it.each([
    [O, true],
    [8, true],
    [8, false],
  ])(
    "%i rows of B (input first: %s) add to as many last outputs, the rest stays to the bit",
    async (rows, inputFirst) => {
      const shapes = {
        "c.weight": inputFirst ? [I, O] : [O, I],
        "c.bias": [O],
        "c.lora_A.weight": [R, I],
        "c.lora_B.weight": [rows, R],
      };
      const p = paramsOf(
        Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, input(name, "float32", shape)])),
        lowRankAdapters({ scale: 1.5, dropout: 0 }),
      );
      const x = input("x", "float32", [1, N, I]);
      const plain = paramsOf({ weight: p.at("c").get("weight"), bias: p.at("c").get("bias") });
      const program = await runtime.compile({
        adapted: linearLayer(x, p.at("c"), { inputFirst }),
        plain: linearLayer(x, plain, { inputFirst }),
      });
      const [a, b, given] = [random("a", R * I), random("b", rows * R), random("x", N * I)];
      const { adapted, plain: before } = await program.run({
        x: float32Host([1, N, I], given),
        "c.weight": float32Host(shapes["c.weight"], random("weight", I * O)),
        "c.bias": float32Host([O], random("bias", O)),
        "c.lora_A.weight": float32Host([R, I], a),
        "c.lora_B.weight": float32Host([rows, R], b),
      });
      for (let n = 0; n < N; n++) {
        const row = (data: ArrayLike<number>): number[] => Array.from({ length: O }, (_, o) => data[n * O + o]);
        const [got, was] = [row(adapted.data as Float32Array), row(before.data as Float32Array)];
        expect(got.slice(0, O - rows)).toEqual(was.slice(0, O - rows));
        const hidden = Array.from({ length: R }, (_, r) => {
          let sum = 0;
          for (let i = 0; i < I; i++) sum += a[r * I + i] * given[n * I + i];
          return sum;
        });
        const want = was.slice(O - rows).map((value, o) => {
          return value + 1.5 * hidden.reduce((sum, h, r) => sum + b[o * R + r] * h, 0);
        });
        expectClose(`row ${n}`, got.slice(O - rows), want, { absolute: 1e-5, relative: 1e-5 });
      }
    },
  );
});
