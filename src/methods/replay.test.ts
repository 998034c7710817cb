/** Replay: the exact share of past rows, passes that miss nothing, runs that resume to the same bits. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { smallTexts, textModel } from "../../tests/support/text-model.ts";
import { documentsOf, learn, lossesOf, savedState } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { loadModel } from "../models/load.ts";
import { bitsPerByte, createScorer } from "../models/score.ts";
import { cutRows } from "./batches.ts";
import { finetune } from "./finetune.ts";
import type { Method } from "./method.ts";
import { replay, replayBatches } from "./replay.ts";

const { runtime, root } = workbench("replay");
const base = await textModel(join(root, "base"));

const quick = { epochs: 12, batchSize: 4, contextLength: 32, learningRate: 5e-3, warmupSteps: 2 };
const create = (options: Record<string, unknown> = {}): Promise<Method> =>
  replay.create(base, { ...quick, ...options }, { runtime, seed: 3 });
const [harbour, oven] = [documentsOf(smallTexts.harbour), documentsOf(smallTexts.oven)];
const score = async (method: Method, text: string): Promise<number> => bitsPerByte(await method.score("", text));

describe("replayBatches", () => {
  // New rows hold tokens below 100 and start with their number; past rows hold tokens from 100 on
  const T = 3;
  const rows = (count: number) =>
    cutRows(
      Int32Array.from({ length: count * T + 1 }, (_, i) => 1 + Math.floor(i / T)),
      T,
    );
  const past = (count: number): Int32Array[] =>
    Array.from({ length: count }, (_, i) => new Int32Array(T + 1).fill(100 + i));
  const served = (
    steps: number,
    options: { share: number; batchSize?: number; seed?: number; count?: number; kept?: number },
  ) => {
    const { share, batchSize = 2, seed = 1, count = 9, kept = 4 } = options;
    const batches = replayBatches(rows(count), past(kept), { share, batchSize, eosId: 0, seed });
    return Array.from({ length: steps }, (_, step) => {
      const { ids } = batches.batchAt(step);
      return Array.from({ length: batches.batchSize }, (_, b) => ids[b * T]);
    });
  };

  it("a share of 0.1 in batches of two is one past row in every fifth batch", () => {
    const steps = served(500, { share: 0.1 });
    const with100 = steps.flatMap((batch, step) => (batch.some((first) => first >= 100) ? [step] : []));
    expect(with100).toHaveLength(100);
    expect(new Set(with100.slice(1).map((step, i) => step - with100[i]))).toEqual(new Set([5]));
    expect(steps.every((batch) => batch.filter((first) => first >= 100).length <= 1)).toBe(true);
  });

  it("of any first n rows, within one of n * share are past ones, and n * share in the mean over seeds", () => {
    for (const share of [0.05, 0.1, 0.25, 1 / 3, 0.5, 0.77]) {
      let total = 0;
      const seeds = 400;
      for (let seed = 0; seed < seeds; seed++) {
        const flat = served(20, { share, seed }).flat();
        let replayed = 0;
        for (const [n, first] of flat.entries()) {
          if (first >= 100) replayed++;
          expect(Math.abs(replayed - (n + 1) * share)).toBeLessThan(1);
        }
        total += flat.slice(0, 37).filter((first) => first >= 100).length;
      }
      // A count between two whole numbers has a deviation of at most 1/2: five standard errors of the mean
      expect(Math.abs(total / seeds - 37 * share)).toBeLessThan((5 * 0.5) / Math.sqrt(seeds));
    }
  });

  it("passes over new and past rows each in turn: none is left out, none comes twice in a pass", () => {
    const flat = served(180, { share: 0.25 }).flat();
    const fresh = flat.filter((first) => first < 100);
    const old = flat.filter((first) => first >= 100);
    for (let pass = 0; (pass + 1) * 9 <= fresh.length; pass++)
      expect(fresh.slice(9 * pass, 9 * pass + 9).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (let pass = 0; (pass + 1) * 4 <= old.length; pass++)
      expect(old.slice(4 * pass, 4 * pass + 4).sort()).toEqual([100, 101, 102, 103]);
  });

  it("is a pure function of seed and step", () => {
    const make = (seed: number) => replayBatches(rows(9), past(4), { share: 0.3, batchSize: 3, eosId: 0, seed });
    const [one, two] = [make(5), make(5)];
    const forward = Array.from({ length: 30 }, (_, step) => one.batchAt(step));
    for (const step of [29, 2, 17, 0]) expect(two.batchAt(step)).toEqual(forward[step]);
    expect(make(6).batchAt(0)).not.toEqual(forward[0]);
    expect(one).toMatchObject({ rowCount: 9, batchSize: 3, rowsPerEpoch: 9 / 0.7 });
  });
});

describe("the method", () => {
  it("learns its first observation as fine-tuning does, and then keeps what it forgot", async () => {
    const options = { ...quick, epochs: 40 };
    const plain = await finetune.create(base, options, { runtime, seed: 3 });
    const method = await create({ epochs: 40, share: 0.5 });
    const start = await score(method, smallTexts.oven);
    const [a, b] = [await learn(plain, harbour), await learn(method, harbour)];
    expect(lossesOf(b.events)).toEqual(lossesOf(a.events));
    const learned = await score(method, smallTexts.harbour);
    expect(await score(plain, smallTexts.harbour)).toBe(learned);
    const [c, d] = [await learn(plain, oven), await learn(method, oven)];
    // As many new rows as without replay
    expect(d.receipt.steps).toBe(2 * c.receipt.steps);
    const [forgot, kept] = [await score(plain, smallTexts.harbour), await score(method, smallTexts.harbour)];
    expect(forgot - learned).toBeGreaterThan(1);
    expect(kept - learned).toBeLessThan(0.2 * (forgot - learned));
    expect(await score(method, smallTexts.oven)).toBeLessThan(0.5 * start);
    await plain.dispose();
    await method.dispose();
  });

  it("keeps rows up to its capacity, counts their bytes, and restores them", async () => {
    const method = await create({ epochs: 1, capacity: 5 });
    const empty = method.bytes();
    await learn(method, harbour);
    expect(method.bytes()).toBeGreaterThan(empty);
    expect(method.bytes()).toBeLessThanOrEqual(empty + 5 * 33 * 4);
    const state = await method.state();
    expect(state.tensors["replay.rows"].shape).toEqual([5, 33]);
    const other = await create({ epochs: 1, capacity: 5 });
    await other.restore(state);
    expect(await other.state()).toEqual(state);
    const [a, b] = [await learn(method, oven), await learn(other, oven)];
    expect(lossesOf(a.events)).toEqual(lossesOf(b.events));
    expect(a.receipt.id).toBe(b.receipt.id);
    expect(await other.state()).toEqual(await method.state());
    const small = await create({ epochs: 1, capacity: 4 });
    await expect(small.restore(state)).rejects.toThrow(/^replay: expected the state of a reservoir of 4 rows, got 5/);
    const short = await create({ epochs: 1, capacity: 5, contextLength: 16 });
    await expect(short.restore(state)).rejects.toThrow("expected kept rows of at most 17 tokens, got 33");
    for (const each of [method, other, small, short]) await each.dispose();
  });

  it("stopped in its second observation and resumed by a fresh method gives the very numbers", async () => {
    const options = { epochs: 6, share: 0.3, capacity: 6 };
    const one = await create(options);
    await learn(one, harbour);
    const past = await one.state();
    const [whole, broken] = [join(root, "whole"), join(root, "broken")];
    const unbroken = await learn(one, oven, { checkpoint: whole });
    const losses: [number, number][] = [];
    for (const stopAt of [1, 4, undefined]) {
      const method = await create(options);
      await method.restore(past);
      const { events, receipt } = await learn(method, oven, { checkpoint: broken, stopAt });
      losses.push(...lossesOf(events));
      if (stopAt === undefined) {
        expect({ ...receipt, seconds: 0 }).toEqual({ ...unbroken.receipt, seconds: 0 });
        expect(await method.state()).toEqual(await one.state());
      } else {
        // What was not learned whole is not in the reservoir
        expect((await method.state()).tensors["replay.rows"]).toEqual(past.tensors["replay.rows"]);
      }
      await method.dispose();
    }
    expect(losses).toEqual(lossesOf(unbroken.events));
    expect(await savedState(broken)).toEqual(await savedState(whole));
    await one.dispose();
  });

  it("saves a model without its reservoir", async () => {
    const method = await create({ epochs: 2 });
    await learn(method, harbour);
    const folder = join(root, "saved");
    await replay.save(method, base, folder, quick);
    const loaded = await loadModel(folder, { checkWeights: true });
    const scorer = await createScorer(runtime, loaded, loaded.tokenizer);
    expect(await scorer.scoreText("", smallTexts.oven)).toEqual(await method.score("", smallTexts.oven));
    await scorer.dispose();
    await method.dispose();
  });
});
