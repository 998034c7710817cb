/** curves.jsonl: what is kept of a fit that is stopped in the middle of a line and goes on. */
import { mkdtempSync, rmSync } from "node:fs";
import { appendFile, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { MethodEvent } from "../methods/method.ts";
import { openFitLog } from "./fit-log.ts";

const root = mkdtempSync(join(tmpdir(), "mneme-fit-log-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const step = (number: number, loss: number): MethodEvent => ({
  type: "step",
  step: number,
  steps: 4,
  tokens: number,
  loss,
  learningRate: 1,
  tokensPerSecond: 1,
});

test("a fit goes on behind its last whole line, and steps that it repeats count once", async () => {
  let log = await openFitLog(root);
  for (const event of [step(1, 5), { type: "note", message: "not drawn" } as const, step(2, 4), step(3, 9)]) {
    await log.add(event);
  }
  await log.close();
  const path = join(root, "curves.jsonl");
  expect((await readFile(path, "utf8")).split("\n")).toHaveLength(4);
  await appendFile(path, '{"type":"step","st');
  log = await openFitLog(root);
  for (const event of [step(3, 3), { type: "figures", step: 3, figures: { use: { a: 1 } } } as const, step(4, 2)]) {
    await log.add(event);
  }
  const { losses, figures } = await log.curves();
  expect(losses.map(({ x, y }) => [x, y])).toEqual([
    [1, 5],
    [2, 4],
    [3, 3],
    [4, 2],
  ]);
  expect(figures).toEqual([{ x: 3, figures: { use: { a: 1 } } }]);
  await log.close();
});
