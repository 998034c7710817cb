import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { rowAdam, rowAdamw, rowSgd } from "./sparse-optim.ts";
import type { RowOptimizer } from "./sparse-optim.ts";
import { adamFactors, adamRun } from "./adam-kernel.ts";

const optimizers: RowOptimizer[] = [rowSgd(), rowAdam(), rowAdamw({ weightDecay: 0.1 })];

/** SHA-256 over all rows of an array but the named ones. */
function hashWithout(values: Float32Array, width: number, rows: ReadonlySet<number>): string {
  const hash = createHash("sha256");
  for (let row = 0; row * width < values.length; row++) {
    if (!rows.has(row)) hash.update(new Uint8Array(values.buffer, row * width * 4, width * 4));
  }
  return hash.digest("hex");
}

describe.each(optimizers)("$name by rows", (optimizer) => {
  it("leaves untouched rows and their moments bit-identical", () => {
    const random = randomStream(5, "rows");
    const [R, W] = [300, 6];
    const table = random.fillNormal(new Float32Array(R * W));
    const state = optimizer.init(R, W);
    for (const moments of Object.values(state.tensors)) random.fillUniform(moments); // as after a long run
    const rows = Int32Array.of(17, 299, 0, 17, 42, 0, 17);
    const touched = new Set(rows);
    const arrays: [Float32Array, number][] = [
      [table, W],
      ...Object.values(state.tensors).map((values): [Float32Array, number] => [values, 2 * W]),
    ];
    const before = arrays.map(([values, width]) => hashWithout(values, width, touched));
    const old = table.slice();
    optimizer.stepRows(table, W, rows, random.fillNormal(new Float32Array(rows.length * W)), state, 0.01);
    expect(arrays.map(([values, width]) => hashWithout(values, width, touched))).toEqual(before);
    for (const row of touched) expect(table[row * W]).not.toBe(old[row * W]);
  });

  it("sums repeated rows: the same bits as one row with the summed gradient", () => {
    // Quarters add up exactly in float32, so the order of addition cannot hide a difference.
    const quarter = fc.integer({ min: -40, max: 40 }).map((n) => n / 4);
    const entry = fc.record({ row: fc.integer({ min: 0, max: 6 }), gradient: fc.tuple(quarter, quarter) });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 30 }), (entries) => {
        const sums = new Map<number, [number, number]>();
        for (const { row, gradient } of entries) {
          const [a, b] = sums.get(row) ?? [0, 0];
          sums.set(row, [a + gradient[0], b + gradient[1]]);
        }
        const run = (rows: number[], gradients: number[]): Float32Array[] => {
          const table = new Float32Array(14).fill(1);
          const state = optimizer.init(7, 2);
          optimizer.stepRows(table, 2, Int32Array.from(rows), Float32Array.from(gradients), state, 0.125);
          return [table, ...Object.values(state.tensors)];
        };
        const repeated = run(
          entries.map((e) => e.row),
          entries.flatMap((e) => e.gradient),
        );
        expect(repeated).toEqual(run([...sums.keys()], [...sums.values()].flat()));
      }),
    );
  });

  it("refuses rows outside the table before it changes anything", () => {
    const table = new Float32Array(8).fill(1);
    const state = optimizer.init(4, 2);
    const gradients = new Float32Array(4).fill(1);
    expect(() => optimizer.stepRows(table, 2, Int32Array.of(1, 4), gradients, state, 0.1)).toThrow(
      "stepRows: expected rows from 0 to 3, got 4 at position 1",
    );
    expect(table).toEqual(new Float32Array(8).fill(1));
    expect(state.step).toBe(0);
    expect(() => optimizer.stepRows(table, 2, Int32Array.of(1), gradients, state, 0.1)).toThrow("do not fit");
  });

  it("an empty update changes no row", () => {
    const table = new Float32Array(8).fill(1);
    optimizer.stepRows(table, 2, new Int32Array(0), new Float32Array(0), optimizer.init(4, 2), 0.1);
    expect(table).toEqual(new Float32Array(8).fill(1));
  });
});

describe("against the dense update", () => {
  it("rowSgd on hand-worked numbers", () => {
    const table = Float32Array.of(1, 2, 3, 4, 5, 6);
    rowSgd().stepRows(
      table,
      2,
      Int32Array.of(2, 0, 2),
      Float32Array.of(1, 1, 2, 2, 3, 3),
      rowSgd().init(3, 2),
      0.5,
      0.5,
    );
    expect([...table]).toEqual([0.5, 1.5, 3, 4, 4, 5]);
  });

  it("rowAdamw over all rows equals dense AdamW bit for bit", () => {
    const random = randomStream(11, "dense");
    const [R, W] = [9, 5];
    const table = random.fillNormal(new Float32Array(R * W));
    const dense = table.slice();
    const m = new Float32Array(R * W);
    const v = new Float32Array(R * W);
    const optimizer = rowAdamw({ weightDecay: 0.1 });
    const state = optimizer.init(R, W);
    for (let step = 1; step <= 5; step++) {
      const rows = random.permutation(R);
      const gradients = random.fillNormal(new Float32Array(R * W));
      optimizer.stepRows(table, W, rows, gradients, state, 0.01);
      const factors = adamFactors({}, step, 0.01, 0.1, 1);
      rows.forEach((row, i) => adamRun(dense, row * W, gradients, i * W, m, row * W, v, row * W, W, factors));
    }
    expect(table).toEqual(dense);
  });
});
