/** Whole-number products against sums in plain numbers, at the edges of what 32 bits hold. */
import { expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";
import { createStepScan, mostOfQuestion, scanRows } from "./step-scan.ts";

test.each([1, 7, 16, 33, 512])("%i numbers: each product is exact, after growing too", (width) => {
  const scan = createStepScan(width);
  if (!scan) return console.log("step-scan: this machine has no 128-bit vectors, nothing to test");
  const random = randomStream(width, "steps");
  const rows = Array.from({ length: 37 }, (_, row) =>
    Int8Array.from({ length: width }, () => (row === 0 ? 127 : row === 1 ? -127 : random.integer(255) - 127)),
  );
  const most = mostOfQuestion(width);
  for (const [i, row] of rows.entries()) {
    scan.grow((i + 1) * 50);
    scan.row(i).set(row);
  }
  for (const question of [
    Int16Array.from({ length: width }, () => most),
    Int16Array.from({ length: width }, () => random.integer(2 * most + 1) - most),
  ]) {
    const want = rows.map((row) => row.reduce((sum, step, i) => sum + step * question[i], 0));
    expect([...scan.products(question, 0, rows.length)]).toEqual(want);
    expect([...scan.products(question, 5, 9)]).toEqual(want.slice(5, 14));
    expect([...scan.products(question, 3, 0)]).toEqual([]);
  }
  expect(scan.bytes()).toBeGreaterThan(37 * 50 * width);
  expect(scanRows * 4).toBeLessThan(scan.bytes());
});

test("rows end below 4 GiB, where addresses begin anew", () => {
  // First come a question and results: as many bytes as three rows, so that 262,141 more would end at 2^32
  const scan = createStepScan(scanRows * 4);
  if (!scan) return console.log("step-scan: this machine has no 128-bit vectors, nothing to test");
  const before = scan.bytes();
  expect(() => scan.grow(262_141)).toThrow(
    new UserError(
      "keyIndex.add: expected memory for 262141 keys of 16384 numbers, got addresses for at most 262140; limit the bank",
    ),
  );
  expect(scan.bytes()).toBe(before);
});

test("without WebAssembly there is none", () => {
  vi.stubGlobal("WebAssembly", undefined);
  try {
    expect(createStepScan(8)).toBeUndefined();
  } finally {
    vi.unstubAllGlobals();
  }
});
