/** One comparison for all numeric tests: |got - want| <= absolute + relative * |want|, with a message that says where. */
import { expect } from "vitest";

export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

type Numbers = ArrayLike<number> | ArrayLike<bigint>;

/** How far the worst number is beyond its tolerance: 1 is the limit, NaN counts as infinitely far. */
function worst(got: Numbers, want: Numbers, { absolute, relative }: Tolerance): { ratio: number; at: number } {
  let ratio = 0;
  let at = 0;
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [Number(got[i]), Number(want[i])];
    const distance = Object.is(a, b) || a === b ? 0 : Math.abs(a - b) / (absolute + relative * Math.abs(b));
    const far = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance;
    if (far > ratio) [ratio, at] = [far, i];
  }
  return { ratio, at };
}

export function expectClose(name: string, got: Numbers, want: Numbers, tolerance: Tolerance): void {
  expect(got.length, `${name}: number of elements`).toBe(want.length);
  const { ratio, at } = worst(got, want, tolerance);
  if (ratio > 1) {
    expect.fail(`${name}[${at}]: expected ${want[at]}, got ${got[at]}: ${ratio.toPrecision(3)} times the tolerance`);
  }
}
