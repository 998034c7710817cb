/** A real checkpoint, trained by others, against numbers computed in float64 (../shared/models/stories260K/README.md). */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, greedy, nextLogits, repositoryFile } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { loadCheckpoint } from "./load.ts";

interface Case {
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly last_logits_first8: readonly number[];
  readonly last_argmax: number;
  readonly last_max_logit: number;
  readonly mean_nll_nats: number;
  readonly greedy_ids: readonly number[];
}

const folder = repositoryFile("../shared/models/stories260K");
const there = existsSync(`${folder}/model.safetensors`);
if (!there) console.log("stories260k.test: skipped, ../shared/models/stories260K is not there");

const cases: readonly Case[] = there ? JSON.parse(readFileSync(`${folder}/reference.json`, "utf8")).cases : [];
const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** Mean of -ln p(ids[i] | ids[0..i-1]) over 1..n-1, in float64 from the logits. */
function meanLoss(logits: Float32Array, ids: readonly number[]): number {
  const V = logits.length / ids.length;
  let total = 0;
  for (let i = 1; i < ids.length; i++) {
    const row = logits.subarray((i - 1) * V, i * V);
    const top = Math.max(...row);
    total += top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0)) - row[ids[i]];
  }
  return total / (ids.length - 1);
}

describe.skipIf(!there)("stories260K", () => {
  test("five prompts are there", () => expect(cases.length).toBe(5));

  test.each(cases.map((c) => [c.prompt.slice(0, 30), c] as const))("%s", async (_, c) => {
    const model = decoderOf(await loadCheckpoint(folder));
    const { all, last } = await (await nextLogits(runtime, model))(c.ids);
    // Logits reach 20 and pass through five layers in float32: about 1e-4; ten times that is asked for
    const top = [...last.subarray(0, 8), last[c.last_argmax]];
    expectClose("logits", top, [...c.last_logits_first8, c.last_max_logit], { absolute: 1e-3, relative: 0 });
    expect(Math.abs(meanLoss(all, c.ids) - c.mean_nll_nats)).toBeLessThan(1e-4);
    expect(await greedy(runtime, model, c.ids, c.greedy_ids.length)).toEqual(c.greedy_ids);
  });
});
