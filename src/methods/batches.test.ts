import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packDocuments, packTokens } from "./batches.ts";
import type { Batch } from "./batches.ts";

const eosId = 0;
/** Pairs (token, next token) that the mask lets count. */
function pairs({ ids, targets, mask }: Batch): string[] {
  return [...mask].flatMap((m, i) => (m === 1 ? [`${ids[i]}>${targets[i]}`] : []));
}

describe("packDocuments", () => {
  it("joins, cuts and pads (worked by hand)", () => {
    const batches = packDocuments([[11, 12, 13], [], [21, 22]], {
      contextLength: 3,
      batchSize: 8,
      eosId,
      seed: 1,
      shuffle: false,
    });
    // 0 11 12 13 0 21 22 0: seven targets in rows of three.
    expect(batches).toMatchObject({ rowCount: 3, batchSize: 3, targetCount: 7, stepsPerEpoch: 1 });
    expect(batches.batchAt(0)).toEqual({
      ids: Int32Array.of(0, 11, 12, 13, 0, 21, 22, 0, 0),
      targets: Int32Array.of(11, 12, 13, 0, 21, 22, 0, 0, 0),
      mask: Float32Array.of(1, 1, 1, 1, 1, 1, 1, 0, 0),
      targetCount: 7,
    });
  });

  it("starts every document with bosId where there is one", () => {
    const options = { contextLength: 8, batchSize: 1, eosId: 2, bosId: 1, seed: 1 };
    const batch = packDocuments([[7, 8], [9]], options).batchAt(0);
    expect([...batch.ids]).toEqual([1, 7, 8, 2, 1, 9, 2, 2]);
    expect([...batch.targets]).toEqual([7, 8, 2, 1, 9, 2, 2, 2]);
    expect([...batch.mask]).toEqual([1, 1, 1, 1, 1, 1, 0, 0]);
  });

  it("learns a short document as one padded row", () => {
    const document = Int32Array.from({ length: 60 }, (_, i) => 100000 + i); // beyond 16 bits
    const batches = packDocuments([document], { contextLength: 256, batchSize: 8, eosId, seed: 1 });
    expect(batches.batchSize).toBe(1);
    const batch = batches.batchAt(5);
    expect(batch.targetCount).toBe(61);
    expect(batch.mask.reduce((a, b) => a + b, 0)).toBe(61);
    expect(batch.targets.subarray(0, 61)).toEqual(Int32Array.of(...document, eosId));
  });

  it("covers every target exactly once in each epoch, and no epoch is ordered as the one before", () => {
    const documents = fc.array(fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 40 }), {
      minLength: 1,
      maxLength: 6,
    });
    const dials = fc.record({
      contextLength: fc.integer({ min: 1, max: 12 }),
      batchSize: fc.integer({ min: 1, max: 5 }),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(documents, dials, (docs, options) => {
        const stream = [eosId, ...docs.flatMap((ids) => [...ids, eosId])];
        const all = stream.slice(1).map((next, i) => `${stream[i]}>${next}`);
        const batches = packDocuments(docs, { ...options, eosId });
        // As many steps as rows: that is batchSize whole epochs.
        const seen = Array.from({ length: batches.rowCount }, (_, step) => pairs(batches.batchAt(step))).flat();
        const wanted = Array.from({ length: batches.batchSize }, () => all).flat();
        expect(seen.sort()).toEqual(wanted.sort());
      }),
    );
    const long = packDocuments([Array.from({ length: 400 }, (_, i) => i + 1)], {
      contextLength: 4,
      batchSize: 1,
      eosId,
      seed: 1,
    });
    const epoch = (e: number): number[] =>
      Array.from({ length: long.rowCount }, (_, i) => long.batchAt(e * long.rowCount + i).ids[0]);
    expect(epoch(0)).not.toEqual(epoch(1));
    expect(epoch(0)).not.toEqual(epoch(0).sort((a, b) => a - b));
  });

  it("is a pure function of the step: any order of asking, a fresh object, the same batch", () => {
    const documents = [Array.from({ length: 97 }, (_, i) => i + 1)];
    const options = { contextLength: 5, batchSize: 4, eosId, seed: 12 };
    const forward = packDocuments(documents, options);
    const inOrder = Array.from({ length: 30 }, (_, step) => forward.batchAt(step));
    const fresh = packDocuments(documents, options);
    for (const step of [29, 3, 17, 0, 28, 5]) expect(fresh.batchAt(step)).toEqual(inOrder[step]);
    expect(packDocuments(documents, { ...options, seed: 13 }).batchAt(0)).not.toEqual(inOrder[0]);
  });

  it("serves a joined stream without copying it", () => {
    const stream = Uint16Array.from({ length: 1001 }, (_, i) => i % 7);
    const batches = packTokens(stream, { contextLength: 10, batchSize: 3, eosId, seed: 1, shuffle: false });
    stream[1] = 65535;
    expect(batches.batchAt(0).targets[0]).toBe(65535);
    expect(batches).toMatchObject({ rowCount: 100, stepsPerEpoch: 34 });
  });

  it("refuses nothing to learn and senseless sizes", () => {
    const options = { contextLength: 4, batchSize: 2, eosId, seed: 1 };
    expect(() => packDocuments([[], []], options)).toThrow("packDocuments: expected at least one token, got none");
    expect(() => packDocuments([[1]], { ...options, contextLength: 0 })).toThrow("got 0 and 2");
    expect(() => packDocuments([[1]], options).batchAt(-1)).toThrow("batchAt: expected a step from 0, got -1");
  });
});
