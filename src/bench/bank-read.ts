/**
 * What it costs to read a whole bank of one code for a slot: from how often each code is in use, which takes the same
 * time for a thousand documents and for a million, and is what attention over every entry gives.
 */
import { loadModule } from "../methods/bank/module.ts";
import { createReader, type Reader } from "../methods/bank/reader.ts";
import { createTally, type BankTally } from "../memory/bank-tally.ts";
import { modes } from "../methods/bank/modes.ts";
import { createQuantizer } from "../memory/quantizers.ts";
import type { Quantizer } from "../memory/codebook.ts";
import { loadModel } from "../models/load.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import { ofBankModule } from "./bank-module.ts";
import { settle, timed } from "./measure.ts";
import { median, spread } from "./stats.ts";

/** The version of the codebook, which is the only one. */
const VERSION = 1;
const NO_BITS = { indices: 0, keys: 0, ids: 0, times: 0, all: 0 };
/** How much more often low codes are drawn than high ones: use is never even. */
const SKEW = 2;

/** The codes of an entry, drawn. */
function drawnEntry({ positions, codebook }: Quantizer, random: Random): Uint32Array {
  return Uint32Array.from({ length: positions }, () => Math.floor(codebook.codes * random.uniform() ** SKEW));
}

/** Counts of a bank of so many entries, and the first `kept` of those as they were. */
function filledTally(
  quantizer: Quantizer,
  entries: number,
  kept: number,
): { readonly tally: BankTally; readonly first: Uint32Array[] } {
  const tally = createTally();
  tally.open(VERSION, quantizer);
  const random = randomStream(0, "bench", "bank", entries);
  const first: Uint32Array[] = [];
  for (let i = 0; i < entries; i++) {
    const own = drawnEntry(quantizer, random);
    tally.count(1, VERSION, own, NO_BITS);
    if (i < kept) first.push(own);
  }
  return { tally, first };
}

/** As the method reads a bank: its counts, copied, and the read itself. */
const readOnce = (reader: Reader, { codebook }: Quantizer, tally: BankTally, question: Float32Array) =>
  reader.readCodes(question, Float32Array.from(tally.histogram(VERSION, { byPosition: true })), codebook.data);

/** Largest difference of the fast read to attention over all entries, in parts of the largest number. */
async function differenceOf(
  reader: Reader,
  quantizer: Quantizer,
  question: Float32Array,
  entries: number,
): Promise<{ difference: number; ms: number }> {
  const { tally, first } = filledTally(quantizer, entries, entries);
  const indices = new Uint32Array(entries * quantizer.positions);
  for (const [i, own] of first.entries()) indices.set(own, i * quantizer.positions);
  const slots = quantizer.decode(indices);
  const bias = new Float32Array(entries);
  const naive = (await reader.aggregate(question, slots, bias)).latents;
  const fast = await readOnce(reader, quantizer, tally, question);
  const ms = await timed(() => reader.aggregate(question, slots, bias));
  let [most, size] = [0, 0];
  for (let i = 0; i < naive.length; i++) {
    most = Math.max(most, Math.abs(naive[i] - fast[i]));
    size = Math.max(size, Math.abs(naive[i]));
  }
  return { difference: most / size, ms };
}

/** `value`: the median read of the largest bank over that of the smallest. */
export const readGrowth = ofBankModule(async (folder, { quick, model, log, signal }) => {
  const base = await loadModel(model);
  const module = await loadModule(base, folder);
  const runtime = createRuntime();
  const reader = createReader({ runtime, base, module });
  const quantizer = createQuantizer(modes.mbc.codebook(module, 1));
  const sizes = quick ? [100, 1000] : [1000, 10_000, 1_000_000];
  const naiveAt = quick ? 100 : 1000;
  try {
    const question = await reader.questions([module.encoder.questionIds({ text: "Who counts the boats?" })]);
    const banks = sizes.map((entries) => {
      const { tally } = filledTally(quantizer, entries, 0);
      log(`readGrowth: filled with ${entries} documents`);
      return { entries, tally, times: [] as number[] };
    });
    const { difference, ms: naiveMs } = await differenceOf(reader, quantizer, question, naiveAt);
    await settle();
    // In turns, so that what else the machine does falls on all of them
    for (let round = -2; round < (quick ? 3 : 51); round++) {
      signal?.throwIfAborted();
      for (const { tally, times } of banks) {
        const ms = await timed(() => readOnce(reader, quantizer, tally, question));
        if (round >= 0) times.push(ms);
      }
    }
    const points = banks.map(({ entries, times }) => ({ documents: entries, readMs: spread(times) }));
    const [few, many] = [banks[0], banks[banks.length - 1]].map(({ times }) => median(times));
    return { value: many / few, points, naive: { documents: naiveAt, ms: naiveMs, difference } };
  } finally {
    await reader.dispose();
    await runtime.dispose();
  }
});
