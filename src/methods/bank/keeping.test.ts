/** Bank compression under a budget, on a tiny base: every policy, what it says it did, and what it refuses. */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { fitSmall, smallDocuments } from "../../../tests/support/small-bank.ts";
import { textModel } from "../../../tests/support/text-model.ts";
import { learn } from "../../../tests/support/training.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { createMemoryBank, type MemoryBank } from "../../memory/memory-bank.ts";
import type { LoadedModel } from "../../models/load.ts";
import { bankCompression } from "../bank-compression.ts";
import { documentFaceOf } from "../document-face.ts";
import type { Method, Receipt } from "../method.ts";

const { runtime, root } = workbench("keeping");
const module = join(root, "module");
let base: LoadedModel;
/** Bytes of codebooks and settings, and of room for about six documents. */
let budget = 0;
beforeAll(async () => {
  base = await textModel(join(root, "base"), { architecture: "llama", context: 96 });
  const { result } = await fitSmall(runtime, base, { options: { steps: 4, quantizeFrom: 0.25, learningRate: 1e-2 } });
  await result.save(module);
  await use({ policy: "store" }, async (method) => {
    budget = Math.ceil(await bytesOf(method)) + 6 * 520;
  });
});

async function use(options: Record<string, unknown>, work: (method: Method) => Promise<void>): Promise<void> {
  const method = await bankCompression.create(base, { module, ...options }, { runtime, seed: 0 });
  try {
    await work(method);
  } finally {
    await method.dispose();
  }
}
const pairs = smallDocuments.slice(0, 4).map(({ facts = [] }) => ({ query: facts[0].prompt, answer: facts[0].target }));
const bytesOf = async (method: Method): Promise<number> =>
  (await (documentFaceOf(method).bank as MemoryBank).size()).total / 8;
const steps = [0, 8, 16, 24].map((at) => smallDocuments.slice(at, at + 8));

test.each(["bandit", "random", "oldest", "merge"])(
  "%s: the bank stays below its budget, and the receipt says what became of each document",
  async (policy) => {
    await use({ policy, budget }, async (method) => {
      const held = new Set<string>();
      for (const documents of steps) {
        const { receipt, events } = await learn(method, documents);
        const { became = [] } = receipt;
        expect(became.map(({ document }) => document)).toEqual(documents.map(({ id }) => id));
        for (const { document, deed, into, gone } of became) {
          for (const other of gone) held.delete(other);
          if (deed !== "drop" && into === undefined) held.add(document);
        }
        const { bank } = documentFaceOf(method);
        // Groups have the name of their first, which may be gone from the log only with the whole group
        for (const document of bank.documents()) expect(held).toContain(document);
        expect(bank.count()).toBeGreaterThan(0);
        expect(await bytesOf(method)).toBeLessThanOrEqual(budget);
        expect(events[0]).toMatchObject({ type: "note", message: expect.stringMatching(/^8 documents: \d/) });
      }
      expect(method.canForget).toBe(false);
      await expect(method.forget?.("x")).rejects.toThrow(/expected a bank without a policy to forget a receipt in/);
      const { bank, use: take } = documentFaceOf(method);
      await expect(take(createMemoryBank({ module: bank.module, keys: bank.keys }))).rejects.toThrow(
        /expected no policy and no budget for a bank in a folder, .* leave out --policy and --budget/,
      );
    });
  },
);

test("a bandit that is saved and restored goes on to the same bank and the same answers", async () => {
  const options = { policy: "bandit", budget, kind: "mbc-residual" };
  const fates = (receipt: Receipt) => receipt.became;
  await use(options, async (whole) => {
    const all: Receipt["became"][] = [];
    for (const documents of steps) all.push(fates((await learn(whole, documents)).receipt));
    await use(options, async (first) => {
      const found: Receipt["became"][] = [];
      for (const documents of steps.slice(0, 2)) found.push(fates((await learn(first, documents)).receipt));
      await use(options, async (second) => {
        await second.restore(await first.state());
        for (const documents of steps.slice(2)) found.push(fates((await learn(second, documents)).receipt));
        expect(found).toEqual(all);
        expect(await second.rate(pairs)).toEqual(await whole.rate(pairs));
        expect((await second.state()).tensors).toEqual((await whole.state()).tensors);
      });
    });
    await use({}, async (other) => {
      await expect(other.restore(await whole.state())).rejects.toThrow(/restore it with the options it was made with/);
    });
  });
});

test("what is stopped leaves all as it was", async () => {
  await use({ policy: "bandit", budget }, async (method) => {
    await learn(method, steps[0]);
    const before = await method.state();
    const stop = new AbortController();
    let last: Receipt | undefined;
    for await (const event of method.observe(stopsAfter(steps[1], stop), { signal: stop.signal }))
      if (event.type === "receipt") last = event.receipt;
    expect(last?.stopped).toBe("interrupted");
    expect(last?.became).toBeUndefined();
    expect(await method.state()).toEqual(before);
  });
});

test("chance fits codebooks again and updates adapters now and then; old entries are read with the new codebook", async () => {
  const notes: string[] = [];
  await use({ policy: "random", budget }, async (method) => {
    for (const documents of steps) {
      for (const event of (await learn(method, documents)).events) if (event.type === "note") notes.push(event.message);
      const { bank } = documentFaceOf(method);
      expect(bank.versions()).toHaveLength(1);
      for (const number of [...bank.documents()].flatMap((document) => bank.numbersOf(document)))
        expect((await bank.read([number]))[0].version).toBe(bank.versions()[0]);
    }
  });
  expect(notes.filter((note) => note.includes("codebook fitted again"))).not.toHaveLength(0);
  const updates: number[] = [];
  await use({ kind: "mbc-online", policy: "random", mostEntries: 6, updates: 2 }, async (method) => {
    for (const documents of steps) updates.push((await learn(method, documents)).receipt.steps);
    expect(documentFaceOf(method).bank.count()).toBeLessThanOrEqual(6);
  });
  expect(new Set(updates)).toEqual(new Set([0, 2]));
});

test("a budget alone lets the oldest go; one below the codebooks is refused; a bandit without questions says so", async () => {
  await use({ budget }, async (method) => {
    for (const documents of steps) await learn(method, documents);
    const kept = [...documentFaceOf(method).bank.documents()];
    expect(kept).toEqual(smallDocuments.slice(-kept.length).map(({ id }) => id));
  });
  await expect(use({ budget: 100 }, async () => undefined)).rejects.toThrow(
    /expected a budget above the \d+ bytes of codebooks and settings, got 100/,
  );
  await use({ policy: "bandit", mostEntries: 2 }, async (method) => {
    const { events } = await learn(method, [{ id: "a", text: "Ada counts salt." }]);
    expect(events).toContainEqual({
      type: "note",
      message: "the documents bring no questions, so the bandit learns nothing from them",
    });
  });
});

/** Documents of which the last aborts once it is looked at. */
function stopsAfter(documents: typeof smallDocuments, stop: AbortController): typeof smallDocuments {
  const facts = documents.at(-1)?.facts;
  return [
    ...documents.slice(0, -1),
    {
      ...(documents.at(-1) as (typeof documents)[number]),
      get facts() {
        stop.abort();
        return facts;
      },
    },
  ];
}
