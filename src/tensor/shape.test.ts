import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../errors.ts";
import {
  addDims,
  broadcastShapes,
  type Dim,
  dimTerms,
  elementCount,
  evaluateDim,
  expectShape,
  multiplyDims,
  normalizeAxis,
  subtractDims,
} from "./shape.ts";

/** An expression over sizes, built twice: as an axis and as a number. */
interface Pair {
  readonly dim: Dim;
  readonly value: number;
}

const sizes = new Map([
  ["B", 3],
  ["T", 7],
  ["P", 0],
  ["seq_len", 11],
]);

const leaf: fc.Arbitrary<Pair> = fc.oneof(
  fc.integer({ min: -9, max: 9 }).map((value) => ({ dim: value, value })),
  fc.constantFrom(...sizes).map(([dim, value]) => ({ dim, value })),
);

const { expression } = fc.letrec<{ expression: Pair }>((tie) => ({
  expression: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.tuple(fc.constantFrom("+", "-", "*"), tie("expression"), tie("expression")).map(([op, a, b]): Pair => {
      if (op === "+") return { dim: addDims(a.dim, b.dim), value: a.value + b.value };
      if (op === "-") return { dim: subtractDims(a.dim, b.dim), value: a.value - b.value };
      return { dim: multiplyDims(a.dim, b.dim), value: a.value * b.value };
    }),
  ),
}));

/** As strings, so that -0 is 0. */
const same = (a: Dim, b: Dim): void => expect(String(a)).toBe(String(b));

describe("symbolic axes", () => {
  test("agree with arithmetic on numbers", () => {
    fc.assert(
      fc.property(expression, ({ dim, value }) => {
        expect(evaluateDim(dim, sizes) === value).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("are equal strings when they are equal polynomials", () => {
    fc.assert(
      fc.property(expression, expression, expression, ({ dim: a }, { dim: b }, { dim: c }) => {
        same(addDims(a, b), addDims(b, a));
        same(multiplyDims(a, b), multiplyDims(b, a));
        same(multiplyDims(a, addDims(b, c)), addDims(multiplyDims(a, b), multiplyDims(a, c)));
        same(multiplyDims(multiplyDims(a, b), c), multiplyDims(a, multiplyDims(b, c)));
        same(subtractDims(addDims(a, b), b), addDims(a, 0));
        same(subtractDims(a, a), 0);
        same(multiplyDims(a, 0), 0);
      }),
      { numRuns: 300 },
    );
  });

  test("are the sum of their terms", () => {
    fc.assert(
      fc.property(expression, ({ dim, value }) => {
        const total = dimTerms(dim).reduce((sum, [coefficient, names]) => {
          return sum + names.reduce((product, name) => product * (sizes.get(name) as number), coefficient);
        }, 0);
        expect(total === value).toBe(true);
      }),
    );
  });

  test("have one written form", () => {
    expect(addDims("T", "B")).toBe("B+T");
    expect(multiplyDims("T", "B")).toBe("B*T");
    expect(addDims(addDims("T", 2), "T")).toBe("2*T+2");
    expect(subtractDims("T", addDims("P", 1))).toBe("-1*P+T+-1");
    expect(elementCount(["B", 4, "T"])).toBe("4*B*T");
    expect(elementCount([])).toBe(1);
  });

  test("that are unknown are an error of ours", () => {
    expect(() => evaluateDim("B*X", sizes)).toThrow("size of axis X is unknown in B*X");
  });
});

describe("shapes", () => {
  test("broadcast as NumPy does", () => {
    expect(broadcastShapes("add", [2, 1, 4], [3, 1])).toEqual([2, 3, 4]);
    expect(broadcastShapes("add", ["B", "T", 8], [8])).toEqual(["B", "T", 8]);
    expect(broadcastShapes("add", ["B", 1], [1, "T"])).toEqual(["B", "T"]);
    expect(broadcastShapes("add", [0, 3], [1, 3])).toEqual([0, 3]);
    expect(() => broadcastShapes("add", [2, 3], [4])).toThrow(
      new UserError("add: expected shapes that broadcast, got [2, 3] and [4]; axes must be equal or 1"),
    );
    expect(() => broadcastShapes("add", ["B"], ["T"])).toThrow(UserError);
  });

  test("count axes from either end", () => {
    expect([normalizeAxis("sum", -1, 3), normalizeAxis("sum", 0, 3)]).toEqual([2, 0]);
    for (const axis of [3, -4, 0.5, Number.NaN])
      expect(() => normalizeAxis("sum", axis, 3)).toThrow(/^sum: expected an axis of a rank-3/);
  });

  test("match patterns of letters", () => {
    expect(expectShape("f", ["B", 5, 8], "B T 8")).toEqual({ B: "B", T: 5 });
    expect(expectShape("f", [4, 4], "N N")).toEqual({ N: 4 });
    expect(() => expectShape("f", [4, 5], "N N")).toThrow(new UserError("f: expected shape [N, N], got [4, 5]"));
    expect(() => expectShape("f", [4], "D", { D: 3 })).toThrow(
      new UserError("f: expected shape [D] with D=3, got [4]"),
    );
    expect(() => expectShape("f", [4], "A B")).toThrow(UserError);
  });
});
