/** What a bank says of itself: entries, bits and codes that are counted by hand. */
import { expect, test } from "vitest";
import { createMemoryBank } from "../../memory/memory-bank.ts";
import { fullPrecision } from "../../memory/full-precision.ts";
import { figuresOfBank } from "./figures.ts";

const entry = (document: string, version: number, indices: readonly number[]) => ({
  document,
  time: 0,
  key: Float32Array.of(1, 0),
  version,
  indices: Uint32Array.from(indices),
});

test("documents, megabytes and how each codebook is used", async () => {
  const bank = createMemoryBank({ module: "m", keys: { width: 2, bits: 32 } });
  const data = new Float32Array(2 * 4 * 1);
  const version = await bank.addCodebook({ kind: "residual", tokens: 2, width: 1, codes: 4, books: 2, data });
  // Places of a token beside each other: its code of depth 1, then of depth 2
  await bank.append(["a", "a", "b"].map((document) => entry(document, version, [0, 3, 1, 3])));
  expect(figuresOfBank(bank, { version, bits: 16e6 })).toEqual({
    "in the bank": { documents: 2, entries: 3 },
    "MB of the bank": { "with its codebooks": 2 },
    "share of codes in use": { "depth 1": 0.5, "depth 2": 0.25 },
    "perplexity of codes": { "depth 1": expect.closeTo(2, 12), "depth 2": 1 },
  });
  await bank.delete("b");
  expect(figuresOfBank(bank, { version, bits: 0 })["in the bank"]).toEqual({ documents: 1, entries: 2 });
});

test("full precision has no codes", async () => {
  const bank = createMemoryBank({ module: "m", keys: { width: 2, bits: 32 } });
  const version = await bank.addCodebook(fullPrecision(2, 1));
  expect(Object.keys(figuresOfBank(bank, { version, bits: 8 }))).toEqual(["in the bank", "MB of the bank"]);
});
