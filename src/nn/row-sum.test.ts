/** Sums of rows against a plain map. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createRowSum } from "./row-sum.ts";

test("repeated rows add up, in the order of their first coming; clearing begins anew", () => {
  const width = 3;
  const sum = createRowSum(width);
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(200), { maxLength: 120 }), { maxLength: 4 }), (batches) => {
      sum.clear();
      const want = new Map<number, number[]>();
      for (const [b, rows] of batches.entries()) {
        const values = Float32Array.from({ length: rows.length * width }, (_, i) => ((i * 7 + b) % 11) - 5);
        sum.add(Int32Array.from(rows), values);
        for (const [i, row] of rows.entries()) {
          const before = want.get(row) ?? [0, 0, 0];
          want.set(
            row,
            before.map((x, k) => x + values[i * width + k]),
          );
        }
      }
      expect([...sum.indices()]).toEqual([...want.keys()]);
      expect([...sum.values()]).toEqual([...want.values()].flat());
    }),
  );
  expect(() => sum.add(Int32Array.of(1), new Float32Array(2))).toThrow("internal: rowSum.add");
});
