import { expect, test } from "vitest";
import { larimarBench } from "./larimar.ts";

test("the memory's measures: one write, one forget, and how both grow", async () => {
  const results = await larimarBench.run({ only: ["writeForgetMs", "writeGrowth"], quick: true });
  const { writeForgetMs, writeGrowth } = results as {
    writeForgetMs: { value: number; writeMs: { median: number; repeats: number }; forgetMs: { median: number } };
    writeGrowth: { value: number; points: { facts: number; bytes: number; writeMs: { median: number } }[] };
  };
  expect(writeForgetMs.value).toBe(Math.max(writeForgetMs.writeMs.median, writeForgetMs.forgetMs.median));
  expect(writeForgetMs.writeMs.repeats).toBe(5);
  expect(writeGrowth.points.map(({ facts }) => facts)).toEqual([10, 100, 1000]);
  const [few, , many] = writeGrowth.points;
  expect(writeGrowth.value).toBeCloseTo(many.writeMs.median / few.writeMs.median, 2);
  // Three memories instead of one
  expect(many.bytes).toBeGreaterThan(2 * few.bytes);
});

test("without a module the edit is not measured, and says so", async () => {
  const { editSpeedup } = await larimarBench.run({ only: ["editSpeedup"], data: { module: "nowhere" } });
  expect(editSpeedup).toEqual({
    value: null,
    reason: "no module at nowhere: name one with --data module=FOLDER",
  });
});
