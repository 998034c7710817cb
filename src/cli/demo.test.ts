/** What `npm start` does with the folder of an earlier demo: one that was stopped goes on, others make room. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { beginEvaluation } from "../runs/evaluation.ts";
import { clear, demoPlans } from "./commands/demo.ts";

const root = mkdtempSync(join(tmpdir(), "mneme-demo-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test("a demo that was stopped stays, a finished, another or a damaged one goes, foreign files are refused", async () => {
  const plans = demoPlans({ model: "mneme-base", seed: 0 });
  expect(plans.map(({ method }) => method)).toEqual(["finetune", "lora", "replay", "rag"]);
  const begin = () => beginEvaluation(join(root, "finetune"), plans[0]);
  const left = async (asked = plans) => {
    await clear(root, asked);
    return readdirSync(root);
  };
  await begin();
  expect(await left()).toEqual(["finetune"]);
  expect(await left(demoPlans({ model: "mneme-base", seed: 1 }))).toEqual([]);
  await begin();
  writeFileSync(join(root, "report.html"), "");
  expect(await left()).toEqual([]);
  await begin();
  writeFileSync(join(root, "finetune", "run.json"), "{");
  expect(await left()).toEqual([]);
  writeFileSync(join(root, "letter.txt"), "mine");
  await expect(left()).rejects.toThrow(/expected a folder of an earlier demo, got .* with letter\.txt/);
  expect(readdirSync(root)).toEqual(["letter.txt"]);
});
