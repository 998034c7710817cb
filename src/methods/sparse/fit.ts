/**
 * What a memory needs of ordinary text once: its background, counted over batches of texts and worlds. The model itself
 * stays as it is; it must have a memory.
 */
import { z } from "zod";
import { UserError } from "../../errors.ts";
import { joinDocuments, packTokens } from "../batches.ts";
import { defineFit } from "../definition.ts";
import { makeFolder } from "../folders.ts";
import type { Document } from "../method.ts";
import { countBackground, saveBackground } from "./background.ts";
import { endOf, memoryOf } from "./model.ts";
import { createPasses } from "./passes.ts";
import type { Background } from "./ranking.ts";

const options = z.object({
  batches: z.int().positive().default(1000).describe("batches of ordinary text that are counted"),
  batchSize: z.int().positive().default(8).describe("rows in each"),
  contextLength: z.int().min(8).default(64).describe("tokens in a row"),
});

/** Of all that batches read, the part that the most read slots have: hubs are slots that everything reads. */
function hubShare({ frequencies }: Background, part: number): number {
  const sorted = Float64Array.from(frequencies).sort().reverse();
  const sum = (of: Float64Array): number => of.reduce((total, one) => total + one, 0);
  return sum(sorted.subarray(0, Math.max(1, Math.round(part * sorted.length)))) / sum(sorted);
}

async function idsOf(documents: AsyncIterable<Document>, encode: (text: string) => number[]): Promise<number[][]> {
  const ids: number[][] = [];
  for await (const { text } of documents) ids.push(encode(text));
  if (ids.length > 0) return ids;
  throw new UserError("fit: expected texts to count what they read, got none; name some with --data, or `world`");
}

export const sparseMemoryFit = defineFit("fit sparse-memory", {
  practises: "documents",
  options,
  async *run(base, { batches: count, batchSize, contextLength }, { runtime, seed, documents, signal }) {
    const { tokenizer, geometry } = base;
    const memory = memoryOf(base);
    const eosId = endOf(base);
    const started = performance.now();
    const stream = joinDocuments(
      await idsOf(documents, (text) => tokenizer.encode(text, { addSpecialTokens: false })),
      { eosId, bosId: tokenizer.bosId },
    );
    const T = Math.min(contextLength, geometry.context);
    const { batchAt, batchSize: B } = packTokens(stream, { contextLength: T, batchSize, eosId, seed });
    const background = countBackground(memory.slots);
    const passes = createPasses(runtime, base, memory.table);
    let tokens = 0;
    try {
      while (background.batches < count && !signal?.aborted) {
        const began = performance.now();
        const { ids, mask, targetCount } = batchAt(background.batches);
        background.add(await passes.read(ids, mask, B));
        tokens += targetCount;
        const tokensPerSecond = (1000 * targetCount) / (performance.now() - began);
        const step = background.batches;
        yield { type: "step", step, steps: count, tokens, loss: 0, learningRate: 0, tokensPerSecond };
      }
    } finally {
      await passes.dispose();
    }
    const read = background.frequencies.reduce((sum, df) => sum + (df > 0 ? 1 : 0), 0);
    return {
      result: {
        steps: background.batches,
        tokens,
        seconds: (performance.now() - started) / 1000,
        finalLoss: 0,
        stopped: signal?.aborted ? "interrupted" : "done",
      },
      measured: {
        slotsRead: read / memory.slots,
        hubs1: hubShare(background, 0.01),
        hubs5: hubShare(background, 0.05),
      },
      async save(folder) {
        await makeFolder(folder);
        const path = await saveBackground(folder, background, await base.hash());
        return `background of the memory, for --background or beside the model: ${path}`;
      },
    };
  },
});
