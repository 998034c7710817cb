import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { embeddedFolder } from "../models/embedded.ts";
import { scopeBench } from "./scope.ts";

test("a measure of a file that is not given says so, and files nobody knows are refused", async () => {
  const { counterfact, zsre, worldQuestions } = await scopeBench.run({ only: ["counterfact", "zsre"] });
  expect([counterfact, zsre, worldQuestions]).toEqual([
    { value: null, reason: "no file: give one with --data counterfact=FILE" },
    { value: null, reason: "no file: give one with --data zsre=FILE" },
    undefined,
  ]);
  await expect(scopeBench.run({ only: [], data: { squad: "x" } })).rejects.toThrow(
    "bench scope: expected data among counterfact, zsre, got squad; correct the name",
  );
  await expect(scopeBench.run({ only: ["zsre"], data: { zsre: "absent.jsonl" } })).rejects.toThrow("absent.jsonl");
});

const embedder = join(embeddedFolder, "mneme-embed", "model.safetensors");
if (!existsSync(embedder)) console.log("skipped: scope detectors of a small world need models/mneme-embed");

test.skipIf(!existsSync(embedder))(
  "a small world: the external detector errs at most once in twenty",
  async () => {
    const lines: string[] = [];
    const results = await scopeBench.run({ only: ["worldQuestions"], quick: true, log: (line) => lines.push(line) });
    const { value, detectors } = results.worldQuestions as { value: number; detectors: Record<string, unknown> };
    expect(value).toBeLessThanOrEqual(0.05);
    expect(Object.keys(detectors)).toEqual(["external", "named", "residual", "classifier"]);
    expect(lines).toHaveLength(5);
  },
  300_000,
);
