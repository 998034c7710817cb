import { expect, test } from "vitest";
import { gpt2 } from "../models/gpt2.ts";
import { sizeOf } from "../tensor/dtype.ts";
import { createCopier } from "./copy.ts";
import { engineBench } from "./engine.ts";
import { createTrainSteps, trainConfig } from "./gpt.ts";

test("an unknown measure is refused before anything runs", async () => {
  await expect(engineBench.run({ only: ["loadMs", "loudMs"] })).rejects.toThrow(
    `bench engine: expected measures among ${engineBench.measures.join(", ")}, got loudMs; correct the name`,
  );
});

test("a result says when, where and with what it was measured", async () => {
  const result = await engineBench.run({ only: [], now: () => new Date("2030-01-02T03:04:05Z") });
  expect(result).toMatchObject({ date: "2030-01-02T03:04:05.000Z", quick: false });
  expect(Object.keys(result)).toEqual(["date", "quick", "machine", "versions"]);
  expect(JSON.parse(JSON.stringify(result))).toEqual(result);
});

test("what cannot be measured says why, and the rest goes on", async () => {
  const lines: string[] = [];
  const result = await engineBench.run({
    only: ["coldStartMs"],
    model: "/nowhere",
    quick: true,
    log: (line) => lines.push(line),
  });
  expect(result.coldStartMs).toMatchObject({ value: null, reason: expect.stringMatching(/^expected .*, got none; /) });
  expect(lines).toEqual([expect.stringMatching(/^coldStartMs: not measured \(expected /)]);
});

test("an aborted run measures nothing more", async () => {
  await expect(engineBench.run({ signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
});

test("the model that trains is the peer's, and its steps learn", async () => {
  // bench/peers/torch_gpt.py counts: tables (1,024 + 128) x 256, four blocks of 789,760, norm 512 and head 262,144
  const parameters = Object.values(gpt2.shapes(trainConfig)).reduce((sum, shape) => sum + sizeOf(shape), 0);
  expect(parameters).toBe(1152 * 256 + 4 * 789_760 + 512 + 262_144);
  expect(parameters).toBe(3_716_608);
  const steps = await createTrainSteps(1);
  const losses = [];
  for (let i = 0; i < 6; i++) losses.push(await steps.step());
  await steps.dispose();
  // Untrained scores are normal with variance 256 x 0.02^2 = 0.1024, so the loss is ln 1024 + 0.1024 / 2 on average
  expect(losses[0]).toBeCloseTo(Math.log(1024) + 0.0512, 2);
  // Batches 0 and 1 come round again as steps 4 and 5
  expect(losses[4]).toBeLessThan(losses[0]);
  expect(losses[5]).toBeLessThan(losses[1]);
});

test("copies come to an end with any number of threads", async () => {
  for (const threads of [1, 3]) {
    const copier = await createCopier(threads, 3 << 20);
    expect(copier.bytes).toBe(3 << 20);
    for (let i = 0; i < 20; i++) copier.run();
    await copier.dispose();
  }
});
