/**
 * Shapes whose axes may be symbolic. An axis is a number, or a polynomial in named sizes written in one
 * canonical form ("B*T", "P+T", "2*B"), so that equal sizes are equal strings and one graph serves any batch and
 * length.
 */
import { internal, UserError } from "../errors.ts";

export type Dim = number | string;
export type Shape = readonly Dim[];

/** Monomial ("" for the constant term, else sorted names joined by "*") -> integer coefficient. */
type Polynomial = Map<string, number>;

function parse(dim: Dim): Polynomial {
  if (typeof dim === "number") return new Map(dim === 0 ? [] : [["", dim]]);
  const terms: Polynomial = new Map();
  for (const term of dim.split("+")) {
    const factors = term.split("*");
    const coefficient = /^-?\d+$/.test(factors[0]) ? Number(factors.shift()) : 1;
    const name = factors.sort().join("*");
    terms.set(name, (terms.get(name) ?? 0) + coefficient);
  }
  return terms;
}

function format(terms: Polynomial): Dim {
  const parts: string[] = [];
  let constant = 0;
  for (const [name, coefficient] of [...terms].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (coefficient === 0) continue;
    if (name === "") constant = coefficient;
    else parts.push(coefficient === 1 ? name : `${coefficient}*${name}`);
  }
  if (parts.length === 0) return constant;
  if (constant !== 0) parts.push(String(constant));
  return parts.join("+");
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  const sum = parse(a);
  for (const [name, coefficient] of parse(b)) sum.set(name, (sum.get(name) ?? 0) + coefficient);
  return format(sum);
}

export function multiplyDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a * b;
  const product: Polynomial = new Map();
  for (const [nameA, coefficientA] of parse(a)) {
    for (const [nameB, coefficientB] of parse(b)) {
      const name = [...nameA.split("*"), ...nameB.split("*")].filter(Boolean).sort().join("*");
      product.set(name, (product.get(name) ?? 0) + coefficientA * coefficientB);
    }
  }
  return format(product);
}

export const subtractDims = (a: Dim, b: Dim): Dim => addDims(a, multiplyDims(-1, b));

/** Number of elements, symbolic when an axis is. */
export const elementCount = (shape: Shape): Dim => shape.reduce(multiplyDims, 1);

/** The value of an axis once the named sizes are known. */
export function evaluateDim(dim: Dim, sizes: ReadonlyMap<string, number>): number {
  if (typeof dim === "number") return dim;
  let total = 0;
  for (const [name, coefficient] of parse(dim)) {
    let value = coefficient;
    for (const symbol of name.split("*").filter(Boolean)) {
      value *= sizes.get(symbol) ?? internal(`evaluateDim: size of axis ${symbol} is unknown in ${dim}`);
    }
    total += value;
  }
  return total;
}

/** The terms of an axis, for lowering: [coefficient, names]. */
export function dimTerms(dim: Dim): [number, string[]][] {
  return [...parse(dim)].map(([name, coefficient]) => [coefficient, name.split("*").filter(Boolean)]);
}

export const isStatic = (shape: Shape): shape is readonly number[] => shape.every((dim) => typeof dim === "number");

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i]);

export const formatShape = (shape: Shape): string => `[${shape.join(", ")}]`;

/** NumPy broadcasting; symbolic axes must be equal or meet a 1. */
export function broadcastShapes(where: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new UserError(
        `${where}: expected shapes that broadcast, got ${formatShape(a)} and ${formatShape(b)}; axes must be equal ` +
          "or 1",
      );
    }
    result.push(x === 1 ? y : x);
  }
  return result;
}

/** Position of an axis counted from the end when negative. */
export function normalizeAxis(where: string, axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normal < 0 || normal >= rank) {
    throw new UserError(
      `${where}: expected an axis of a rank-${rank} tensor, got ${axis}; use ${-rank} to ${rank - 1}`,
    );
  }
  return normal;
}

/**
 * Check a shape against a pattern of letters: `expectShape("attention", q.shape, "B H T D", { D: 64 })`.
 * Returns the size that each letter stands for.
 */
export function expectShape(
  where: string,
  shape: Shape,
  pattern: string,
  known: Readonly<Record<string, Dim>> = {},
): Record<string, Dim> {
  const letters = pattern.split(" ").filter(Boolean);
  const sizes: Record<string, Dim> = { ...known };
  const fits =
    letters.length === shape.length &&
    letters.every((letter, i) => {
      const want: Dim | undefined = /^\d+$/.test(letter) ? Number(letter) : sizes[letter];
      if (want === undefined) sizes[letter] = shape[i];
      return want === undefined || want === shape[i];
    });
  if (!fits) {
    const details = Object.entries(known).map(([letter, size]) => `${letter}=${size}`);
    const legend = details.length > 0 ? ` with ${details.join(", ")}` : "";
    throw new UserError(`${where}: expected shape [${letters.join(", ")}]${legend}, got ${formatShape(shape)}`);
  }
  return sizes;
}
