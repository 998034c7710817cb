/** Bank compression on tiny bases: what is kept is read, what is forgotten never was, an empty bank is the base. */
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { fitSmall } from "../../tests/support/small-bank.ts";
import { textModel } from "../../tests/support/text-model.ts";
import { learn } from "../../tests/support/training.ts";
import { workbench } from "../../tests/support/workbench.ts";
import { openBank } from "../memory/bank.ts";
import { createMemoryBank } from "../memory/memory-bank.ts";
import type { LoadedModel } from "../models/load.ts";
import { modeNames, modes } from "./bank/modes.ts";
import { adaptedModel, loadModule } from "./bank/module.ts";
import { createReader } from "./bank/reader.ts";
import { bankCompression } from "./bank-compression.ts";
import { documentFaceOf } from "./document-face.ts";
import { keptOptions } from "./fact-face.ts";
import type { Document, Method, Query } from "./method.ts";
import { none } from "./none.ts";
import { promptOf } from "./prompt.ts";
import { promptIdsOf } from "./stated.ts";

const { runtime, root, natsOf } = workbench("bank-compression");

const documents: Document[] = ["Ada counts salt.", "Bo mends the nets.", "Cy bakes bread.", "Di keeps gulls."].map(
  (text, i) => ({ id: `d${i}`, text, time: i }),
);
const queries: Query[] = [{ text: "What does Ada count?" }, { text: "Who mends the nets?" }];
const pairs = queries.map((query) => ({ query, answer: "salt" }));
const long: Document = { id: "long", text: Array.from({ length: 9 }, (_, i) => `Day ${i}: rain again.`).join(" ") };

const bases = {} as Record<"llama" | "gpt2", LoadedModel>;
const moduleOf = (architecture: string): string => join(root, `${architecture}-module`);
beforeAll(async () => {
  for (const architecture of ["llama", "gpt2"] as const) {
    bases[architecture] = await textModel(join(root, architecture), { architecture, context: 96 });
    const options = { steps: 4, quantizeFrom: 0.25, learningRate: 1e-2 };
    const { result } = await fitSmall(runtime, bases[architecture], { options });
    await result.save(moduleOf(architecture));
  }
});

async function use(
  options: Record<string, unknown>,
  work: (method: Method) => Promise<void>,
  architecture: keyof typeof bases = "llama",
): Promise<void> {
  const given = { module: moduleOf(architecture), ...options };
  const method = await bankCompression.create(bases[architecture], given, { runtime, seed: 0 });
  try {
    await work(method);
  } finally {
    await method.dispose();
  }
}
const textOf = async (pieces: AsyncIterable<string>): Promise<string> => {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
};
/** Everything that a method says. */
const saidBy = async (method: Pick<Method, "answer" | "rate" | "score" | "generate">) => ({
  answers: await method.answer(queries, { maxTokens: 4 }),
  ratings: await method.rate(pairs),
  score: await method.score(promptOf(queries[0]), " salt"),
  text: await textOf(method.generate(promptOf(queries[0]), { maxTokens: 4 })),
});

describe.each(["llama", "gpt2"] as const)("%s", (architecture) => {
  it.each(modeNames)("%s reads what it keeps; with an empty bank it is the base, to the last bit", async (kind) => {
    const base = bases[architecture];
    const bare = await none.create(base, {}, { runtime, seed: 0 });
    const asBase = await saidBy(bare);
    await bare.dispose();
    const work = async (method: Method): Promise<void> => {
      const { look, without } = documentFaceOf(method);
      expect(await saidBy(method)).toEqual(asBase);
      expect(await look(queries)).toEqual([{ read: [] }, { read: [] }]);
      const { receipt } = await learn(method, documents);
      expect(receipt).toMatchObject({
        documents: ["d0", "d1", "d2", "d3"],
        stopped: "done",
        steps: modes[kind].online ? 4 : 0,
      });
      const said = await saidBy(method);
      expect(said.ratings).not.toEqual(asBase.ratings);
      expect(said.text).not.toEqual(asBase.text);
      // Asked in either way it is the same question, behind the same documents
      expect(said.score.nats).toBeCloseTo(said.ratings[0].nats, 4);
      expect(await without.rate(pairs)).toEqual(asBase.ratings);
      expect(await without.answer(queries, { maxTokens: 4 })).toEqual(asBase.answers);
      for (const { read } of await look(queries)) {
        expect(read).toHaveLength(kind === "mbc-topk" ? 2 : 4);
        expect(read.reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(1, 5);
        expect(read).toEqual(read.toSorted((a, b) => b.weight - a.weight));
      }
      await method.forget?.(receipt.id);
      expect(await saidBy(method)).toEqual(asBase);
    };
    await use({ kind, ...(kind === "mbc-topk" && { topK: 2 }) }, work, architecture);
  });
});

describe("the bank", () => {
  it("forgets a receipt as if it had never been, in a restored state too", async () => {
    await use({}, async (method) => {
      await learn(method, documents.slice(0, 2));
      const [before, kept] = [await method.rate(pairs), await method.state()];
      const { receipt } = await learn(method, [...documents.slice(2), long]);
      expect(await method.rate(pairs)).not.toEqual(before);
      const whole = await method.state();
      await use({}, async (other) => {
        await other.restore(whole);
        expect(await other.rate(pairs)).toEqual(await method.rate(pairs));
        for (const one of [method, other]) {
          await one.forget?.(receipt.id);
          expect(await one.rate(pairs)).toEqual(before);
          const { tensors, json } = await one.state();
          expect([tensors, json.bank]).toEqual([kept.tensors, kept.json.bank]);
          await expect(one.forget?.(receipt.id)).rejects.toThrow(
            /expected the id of a receipt to forget, got "[\w-]+"; the last one is [\w-]+/,
          );
        }
        await expect(other.restore({ tensors: {}, json: {} })).rejects.toThrow(/bank-compression: expected a state/);
        expect(await other.rate(pairs)).toEqual(before);
      });
    });
  });

  it("puts a document in the place of the one of its id", async () => {
    const changed = { ...documents[0], text: "Ada counts boats." };
    await use({}, async (method) => {
      const first = await learn(method, documents);
      const second = await learn(method, [changed]);
      const { bank } = documentFaceOf(method);
      expect([bank.count(), [...bank.documents()]]).toEqual([4, ["d1", "d2", "d3", "d0"]]);
      await use({}, async (fresh) => {
        await learn(fresh, [...documents.slice(1), changed]);
        expect((await method.state()).tensors).toEqual((await fresh.state()).tensors);
        expect(await method.rate(pairs)).toEqual(await fresh.rate(pairs));
      });
      // What was written again since stays
      await method.forget?.(first.receipt.id);
      expect([...bank.documents()]).toEqual(["d0"]);
      await method.forget?.(second.receipt.id);
      expect(bank.count()).toBe(0);
      await expect(method.forget?.("x")).rejects.toThrow(/got "x"; nothing is kept/);
    });
  });

  it("takes long documents in chunks, says how many, and reads them as one", async () => {
    await use({ topK: 0 }, async (method) => {
      const { events, receipt } = await learn(method, [documents[0], long]);
      const { bank, look } = documentFaceOf(method);
      const chunks = bank.numbersOf("long").length;
      expect(chunks).toBeGreaterThan(2);
      expect(events).toContainEqual({
        type: "note",
        message: `2 documents in ${chunks + 1} chunks of at most 40 tokens`,
      });
      expect(receipt.tokens).toBeGreaterThan(40 * (chunks - 1) * 0.5);
      const [{ read }] = await look([queries[0]]);
      expect(read.map(({ document }) => document).sort()).toEqual(["d0", "long"]);
      expect(read[0].weight + read[1].weight).toBeCloseTo(1, 5);
      expect((await learn(method, documents)).events.map(({ type }) => type)).toEqual(["receipt"]);
    });
  });

  it("finds what a later chunk says of a name that only the first one has", async () => {
    const people = ["Kesto Marvin", "Lira Vance", "Odo Brand"];
    const lives: Document[] = people.map((name) => ({
      id: name,
      text: `${name} was born in May. The baker is known for bread of rye. The house has a garden. The mother was a sailor.`,
    }));
    await use({ topK: 1, threshold: -1 }, async (method) => {
      await learn(method, lives);
      const { bank, look, encode } = documentFaceOf(method);
      const last = await bank.read(people.flatMap((name) => bank.numbersOf(name).slice(-1)));
      for (const name of people) {
        expect(bank.numbersOf(name).length).toBeGreaterThan(2);
        const text = `What was the mother of ${name}?`;
        const [{ read }] = await look([{ text }]);
        expect(read.map(({ document }) => document)).toEqual([name]);
        // What the last chunks say of the mother is the same for all
        const [{ entries }] = await encode([{ id: "question", text }]);
        const near = last.map(({ key }) => key.reduce((sum, value, i) => sum + value * entries[0].key[i], 0));
        const own = near[people.indexOf(name)];
        for (const other of near) expect(other === own || own > other + 0.02).toBe(true);
        expect(near.filter((other) => other === own)).toHaveLength(1);
      }
    });
  });

  it("keeps the newest documents where it is limited", async () => {
    await use({ mostEntries: 2 }, async (method) => {
      const went = [];
      for (const document of documents) went.push((await learn(method, [document])).receipt.evicted);
      expect([...documentFaceOf(method).bank.documents()]).toEqual(["d2", "d3"]);
      expect(went).toEqual([undefined, undefined, ["d0"], ["d1"]]);
      // More at once than there is room for: the same as one after another
      const { events, receipt } = await learn(method, documents);
      expect([...documentFaceOf(method).bank.documents()]).toEqual(["d2", "d3"]);
      expect(receipt.evicted).toEqual(["d2", "d3", "d0", "d1"]);
      expect(events).toContainEqual({
        type: "note",
        message: "no room left: 4 of the oldest documents went (d2, d3, d0, ...)",
      });
    });
  });

  it("remembers the options it was made with", async () => {
    for (const kind of [{ kind: "mbc-residual", depth: 1 }, { kind: "mbc" }, { kind: "mac" }]) {
      const made = { ...kind, names: 0.25, nameWidth: 64, keyBits: "16" };
      await use(made, async (method) => {
        const { identity } = documentFaceOf(method);
        expect(keptOptions(bankCompression, identity)).toEqual(made);
      });
    }
  });

  it("may lie in a folder, and answers the same", async () => {
    await use({}, async (method) => {
      const face = documentFaceOf(method);
      await learn(method, documents);
      const said = await method.rate(pairs);
      const { module, keys } = face.bank;
      const bank = await openBank(join(root, "bank"), { module, keys });
      await face.use(bank);
      expect(await method.rate(pairs)).not.toEqual(said);
      await learn(method, documents);
      expect(await method.rate(pairs)).toEqual(said);
      await expect(method.state()).rejects.toThrow(/expected a bank in RAM to save, got one in a folder/);
      for (const other of [
        createMemoryBank({ module: "x", keys }),
        createMemoryBank({ module, keys: { ...keys, bits: 16 } }),
        createMemoryBank({ module, keys: { ...keys, width: 3 } }),
      ]) {
        await expect(face.use(other)).rejects.toThrow(/bank-compression: expected a bank of module .* open it with/);
      }
      expect(face.bank).toBe(bank);
      await bank.close();
    });
  });
});

describe("reading", () => {
  it("goes on with a question's prompt as it answers the question", async () => {
    await use({}, async (method) => {
      await learn(method, documents);
      const { answers, text } = await saidBy(method);
      expect(text.split("\n")[0].trim()).toBe(answers[0]);
    });
  });

  it("mbc: over codes as over all entries, whatever codebook they are of", async () => {
    const all = [...documents, long];
    await use({ kind: "mbc" }, async (fast) => {
      await learn(fast, all);
      await use({ kind: "mbc", together: 1000 }, async (naive) => {
        await learn(naive, all);
        const [ours, theirs] = [await fast.rate(pairs), await naive.rate(pairs)];
        for (const [i, { nats }] of ours.entries()) expect(nats).toBeCloseTo(theirs[i].nats, 4);
      });
      // Entries of another codebook are not in the histogram
      await use({ kind: "mac" }, async (mac) => {
        await learn(mac, all);
        await fast.restore(await mac.state());
        expect(await fast.rate(pairs)).toEqual(await mac.rate(pairs));
        await learn(fast, documents.slice(0, 1));
        expect(await fast.rate(pairs)).not.toEqual(await mac.rate(pairs));
      });
    });
  });

  it("more entries than go together: over what comes of each part", async () => {
    const base = bases.llama;
    const together = 2;
    const module = await loadModule(base, moduleOf("llama"));
    const reader = createReader({ runtime, base, module });
    const all = [...documents, { id: "d4", text: "Ed rows." }];
    const idsOf = ({ text }: Document): number[] => base.tokenizer.encode(text, { addSpecialTokens: false });
    const slots = await reader.slots(all.map(idsOf));
    const size = slots.length / all.length;
    const asked = await reader.questions([promptIdsOf(base.tokenizer, queries[0])]);
    const over = async (...banks: Float32Array[]): Promise<Float32Array> => {
      const bank = Float32Array.from(banks.flatMap((one) => [...one]));
      return (await reader.aggregate(asked, bank, new Float32Array(bank.length / size))).latents;
    };
    const part = (from: number, to: number): Float32Array => slots.subarray(from * size, to * size);
    // 5 entries -> 3 latents -> 2 -> 1
    const [a, b, c] = [await over(part(0, 2)), await over(part(2, 4)), await over(part(4, 5))];
    const latents = await over(await over(a, b), await over(c));
    const [condition] = await reader.conditions(latents);
    const expected = await reader.face.rate([{ prompt: promptOf(queries[0], [""]), answer: "salt", condition }]);
    await reader.dispose();
    await use({ kind: "mac", together }, async (method) => {
      await learn(method, all);
      const [{ nats }] = await method.rate(pairs.slice(0, 1));
      expect(nats).toBeCloseTo(expected[0].nats, 5);
    });
    await use({ kind: "mac" }, async (method) => {
      await learn(method, all);
      const [{ nats }] = await method.rate(pairs.slice(0, 1));
      expect(Math.abs(nats - expected[0].nats)).toBeGreaterThan(1e-4);
    });
  });

  it("control adapters: the base with its adapters, whatever is kept", async () => {
    const base = bases.llama;
    const adapted = adaptedModel(base, await loadModule(base, moduleOf("llama")));
    const prompt = promptOf(queries[0]);
    await use({ control: "adapters" }, async (method) => {
      await learn(method, documents);
      const first = await method.rate(pairs);
      const whole = await natsOf(adapted, base, `${prompt} salt`);
      expect(first[0].nats).toBeCloseTo(whole - (await natsOf(adapted, base, prompt)), 3);
      await learn(method, [long]);
      expect(await method.rate(pairs)).toEqual(first);
    });
  });
});

describe("refused", () => {
  it("are an empty document, before anything is written", async () => {
    await use({}, async (method) => {
      await learn(method, documents.slice(0, 1));
      await expect(learn(method, [documents[1], { id: "blank", text: " \n" }])).rejects.toThrow(
        "bank-compression: expected a text, got an empty one in document 2; leave it out",
      );
      expect([...documentFaceOf(method).bank.documents()]).toEqual(["d0"]);
      expect((await learn(method, [])).receipt).toMatchObject({ documents: [], tokens: 0 });
    });
  });

  it.each([
    [{ depth: 3 }, "bank-compression: expected a depth of at most 2 (the module's codebooks), got 3"],
    [
      { kind: "mac", depth: 1 },
      "bank-compression: expected no depth with kind mac, which has no residual codes, got 1",
    ],
    [{ module: "no/such" }, "bank-compression: expected the folder of a module, got no/such; fit one with"],
    [{ kind: "mbx" }, /bank-compression: expected valid options, got kind/],
    [{ mostEntries: 0 }, /got mostEntries/],
    [{ nameWidth: 1e12 }, /got nameWidth/],
  ])("is %j", async (options, message) => {
    await expect(use(options, async () => undefined)).rejects.toThrow(message);
  });
});

it("learns online from documents that are longer than the base reads at once", async () => {
  const text = Array.from({ length: 60 }, (_, i) => `Day ${i}: rain again.`).join(" ");
  await use({ kind: "mbc-online", updates: 1 }, async (method) => {
    const { receipt } = await learn(method, [...documents, { id: "days", text }]);
    expect(receipt.stopped).toBe("done");
    expect(documentFaceOf(method).bank.numbersOf("days").length).toBeGreaterThan(1);
  });
});

it("names an empty document by its place among all", async () => {
  const many = Array.from({ length: 70 }, (_, i): Document => ({ id: `n${i}`, text: i === 66 ? " " : "Gulls." }));
  await use({}, async (method) => {
    await expect(learn(method, many)).rejects.toThrow(/got an empty one in document 67; leave it out/);
  });
});

it("makes a codebook of the stream's own follow its first documents, and keeps it", async () => {
  const many: Document[] = Array.from({ length: 130 }, (_, i) => ({
    id: `m${i}`,
    text: `Hut ${i} has ${i % 7} goats.`,
  }));
  const errors: number[] = [];
  for (const codebook of ["module", "stream"]) {
    await use({ codebook }, async (method) => {
      const { bank } = documentFaceOf(method);
      const before = bank.quantizer(bank.versions()[0]).codebook.data.slice();
      await learn(method, many);
      expect(bank.versions()).toHaveLength(1);
      const own = bank.quantizer(bank.versions()[0]).codebook;
      expect(isDeepStrictEqual(own.data, before)).toBe(codebook === "module");
      const encoded = await documentFaceOf(method).encode(many.slice(0, 20));
      errors.push(encoded.reduce((sum, { error = Number.NaN }) => sum + error, 0));
      const said = await saidBy(method);
      const state = await method.state();
      await use({ codebook }, async (again) => {
        await again.restore(state);
        expect(await saidBy(again)).toEqual(said);
        expect(await documentFaceOf(again).encode(many.slice(0, 20))).toEqual(encoded);
      });
    });
  }
  expect(errors[1]).toBeLessThan(0.9 * errors[0]);
  await use({ codebook: "stream" }, async (method) => {
    const { bank, use: take } = documentFaceOf(method);
    const made = async () => (await learn(method, many)).receipt.id;
    const dataOf = () => bank.quantizer(bank.versions().at(-1) as number).codebook.data.slice();
    const stop = new AbortController();
    for await (const { type } of method.observe(many, { signal: stop.signal })) if (type === "note") stop.abort();
    expect(bank.count()).toBe(0);
    const stopped = dataOf();
    const id = await made();
    expect(dataOf()).toEqual(stopped);
    await method.forget?.(id);
    await made();
    expect(dataOf()).toEqual(stopped);
    await expect(take(createMemoryBank({ module: bank.module, keys: bank.keys }))).rejects.toThrow(
      /expected codebook module for a bank in a folder, .* got stream; leave out --codebook/,
    );
  });
  await expect(use({ kind: "mbc-online", codebook: "stream" }, async () => undefined)).rejects.toThrow(
    "bank-compression: expected codebook module with mbc-online, whose codebook learns by itself, got stream; leave it out",
  );
});
