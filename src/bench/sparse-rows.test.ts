import { expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { randomRows } from "./sparse-rows.ts";

test("the touched rows are distinct, within the table and in no order", () => {
  const rows = randomRows(randomStream(0, "test"), 5000, 4096);
  expect(rows).toHaveLength(4096);
  expect(new Set(rows).size).toBe(4096);
  expect(rows.every((row) => row >= 0 && row < 5000)).toBe(true);
  expect([...rows].sort((a, b) => a - b)).not.toEqual([...rows]);
});
