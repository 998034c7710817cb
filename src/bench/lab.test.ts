import { expect, test } from "vitest";
import { methods } from "../methods/index.ts";
import { type LabRun, byMethod, questionSeconds, trainingSeconds } from "./lab-methods.ts";
import { createLabTask } from "./lab-task.ts";
import { labBench } from "./lab.ts";

const run = (more: Partial<LabRun> = {}): LabRun => ({
  topics: [
    { seconds: 9, tokens: 1500 },
    { seconds: 4, tokens: 2000 },
    { seconds: 3, tokens: 2000 },
  ],
  answering: [3, 1.5, 2.25],
  questions: 150,
  outsideRuntimeShare: 0.1,
  ...more,
});

test("seconds per 1,000 tokens are of each topic, seconds per 100 questions of each repeat", () => {
  expect(trainingSeconds(run())).toEqual({ median: 2, min: 1.5, max: 6, repeats: 3 });
  expect(questionSeconds(run())).toEqual({ median: 1.5, min: 1, max: 2, repeats: 3 });
});

test("a method that trains nothing has no seconds per token", () => {
  const still = run({ topics: [{ seconds: 1, tokens: 0 }] });
  expect(trainingSeconds(still)).toBeNull();
  const one = trainingSeconds(run());
  expect(byMethod({ a: run(), b: still }, trainingSeconds)).toEqual({ value: 2, methods: { a: one, b: null } });
  expect(byMethod({ b: still }, trainingSeconds)).toEqual({
    value: null,
    reason: "no method has it",
    methods: { b: null },
  });
});

test("the value is the median over the methods that have one", () => {
  const runs = { a: run({ answering: [3] }), b: run({ answering: [9] }), c: run({ answering: [4.5] }) };
  expect(byMethod(runs, questionSeconds).value).toBe(3);
});

test("an unknown measure is refused before anything runs", async () => {
  await expect(labBench.run({ only: ["loadMs"] })).rejects.toThrow(
    "bench lab: expected measures among secondsPer1000TrainingTokens, secondsPer100Questions, outsideRuntimeShare, " +
      "batchSpeedup, got loadMs; correct the name",
  );
});

test("the stream has more than 100 questions, and every method can be made with fewer passes", async () => {
  const { questions, topics } = await createLabTask();
  expect(questions.length).toBeGreaterThanOrEqual(100);
  expect(topics).toHaveLength(3);
  expect(Object.values(methods).some(({ options }) => "epochs" in options.shape)).toBe(true);
});
