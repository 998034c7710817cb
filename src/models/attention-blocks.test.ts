/** Causal attention in blocks of queries equals plain attention with a causal mask: value, weights and gradients. */
import { afterAll, describe, expect, test } from "vitest";
import { attention, causalAttention, causalBias, defaultPositions } from "../nn/attention.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { type HostTensor, zerosHost } from "../tensor/dtype.ts";
import { input, mul, sum } from "../tensor/functions.ts";
import { gradients } from "../tensor/grad.ts";
import { randomStream } from "../tensor/random.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const [B, H, K, D] = [2, 4, 2, 8];

describe.each([[1], [127], [128], [129], [300]])("causalAttention on %i tokens", (T) => {
  test.each([[undefined], [50]])("equals attention with a causal bias, window %s", async (window) => {
    const q = input("q", "float32", [B, H, T, D]);
    const key = input("key", "float32", [B, K, T, D]);
    const value = input("value", "float32", [B, K, T, D]);
    const cotangent = input("cotangent", "float32", [B, H, T, D]);
    const positions = defaultPositions(T);
    const variants = {
      blocks: causalAttention(q, { key, value }, { window }),
      plain: attention(q, [{ key, value }], { bias: causalBias(positions, positions, { window }) }),
    };
    const outputs = Object.fromEntries(
      Object.entries(variants).flatMap(([name, { output, weights }]) => {
        const slopes = gradients(sum(mul(output, cotangent)), [q, key, value]);
        return [
          [`${name}.output`, output],
          [`${name}.weights`, weights],
          ...slopes.map((slope, i) => [`${name}.gradient${i}`, slope] as const),
        ];
      }),
    );
    const program = await runtime.compile(outputs);
    const feeds: Record<string, HostTensor> = {};
    for (const { name, shape } of program.inputs) {
      const tensor = zerosHost("float32", shape as number[]);
      randomStream(7, name).fillNormal(tensor.data);
      feeds[name] = tensor;
    }
    const results = await program.run(feeds);
    for (const part of ["output", "weights", "gradient0", "gradient1", "gradient2"]) {
      const [got, want] = ["blocks", "plain"].map((name) => results[`${name}.${part}`].data as Float32Array);
      expect(got.length).toBe(want.length);
      // Sums of up to 300 products in another order: float32 rounding
      const worst = got.reduce((far, x, i) => Math.max(far, Math.abs(x - want[i])), 0);
      expect(worst, part).toBeLessThan(5e-6);
    }
  });
});
