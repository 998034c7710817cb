import { expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { parseStreamConfig } from "./config.ts";
import { lossPoints } from "./events.ts";
import type { RunEvent } from "./events.ts";
import { machineInfo, versionInfo } from "./machine.ts";

test("defaults are filled in", () => {
  expect(parseStreamConfig({ model: "m", method: "lora", files: ["a.txt"], out: "runs/1" })).toEqual({
    kind: "stream",
    model: "m",
    method: "lora",
    methodOptions: {},
    files: ["a.txt"],
    seed: 0,
    holdout: 0.1,
    columns: "all",
    baseline: true,
    byteCost: 0.01,
    out: "runs/1",
  });
});

test("faults are named, all in one line", () => {
  const wrong = { model: "m", method: "lora", files: [], out: "x", holdout: 0.9, sed: 1 };
  const error = (() => {
    try {
      return parseStreamConfig(wrong, "config.json");
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as Error;
  for (const part of ["in config.json", "files: ", "holdout: ", "sed"]) expect(message).toContain(part);
  expect(message).not.toContain("\n");
});

test("the loss curve of a resumed run has each step once, from the last sitting", () => {
  const step = (topic: number, at: number, loss: number): RunEvent => ({
    type: "method",
    topic,
    event: { type: "step", step: at, steps: 9, tokens: 1, loss, learningRate: 1, tokensPerSecond: 1 },
    time: 0,
  });
  const events = [
    step(0, 0, 5),
    step(0, 1, 4),
    step(1, 0, 5),
    step(1, 1, 4),
    step(1, 2, 3),
    step(1, 1, 4.5),
    step(1, 2, 3.5),
  ];
  expect(lossPoints(events).map(({ topic, step: at, loss }) => [topic, at, loss])).toEqual([
    [0, 0, 5],
    [0, 1, 4],
    [1, 0, 5],
    [1, 1, 4.5],
    [1, 2, 3.5],
  ]);
});

test("machine and versions", () => {
  expect(machineInfo()).toMatchObject({ platform: `${process.platform} ${process.arch}` });
  expect(machineInfo().cores).toBeGreaterThanOrEqual(1);
  expect(versionInfo()).toMatchObject({
    node: process.version,
    "onnxruntime-node": expect.stringMatching(/^\d+\.\d+\.\d+/),
  });
  expect(versionInfo().mneme).toMatch(/^\d+\.\d+\.\d+/);
});
