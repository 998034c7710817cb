/** A T5 as encoder, from its tokens to a module that is fitted, kept, and read with no other T5. */
import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { stirred, tinyBank } from "../../../tests/support/bank-module.ts";
import { expectClose } from "../../../tests/support/close.ts";
import { repositoryFile, weightGraph } from "../../../tests/support/model-fixture.ts";
import { fitSmall, type SmallFit } from "../../../tests/support/small-bank.ts";
import { textModel } from "../../../tests/support/text-model.ts";
import { learn, lossesOf, savedState } from "../../../tests/support/training.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { writeSafetensors } from "../../checkpoint/safetensors.ts";
import { loadEncoderDecoder, type LoadedEncoderDecoder, type LoadedModel, type Weights } from "../../models/load.ts";
import { float32Host, int32Host } from "../../tensor/dtype.ts";
import { broadcastTo, constant, input } from "../../tensor/functions.ts";
import { bankCompression } from "../bank-compression.ts";
import { documentFaceOf } from "../document-face.ts";
import type { Document } from "../method.ts";
import { loadModule, saveModule } from "./module.ts";
import { createReader } from "./reader.ts";
import type { BankShape } from "./shape.ts";
import { t5Encoder, t5Sizes, type TrainedPart } from "./t5-encoder.ts";

const { runtime, root } = workbench("t5-encoder");

/** A small T5 that comes with the tests; the gated one has the tokenizer of the other. */
async function smallT5(name: string): Promise<LoadedEncoderDecoder> {
  const folder = join(root, name);
  await cp(repositoryFile("tests/fixtures/t5"), folder, { recursive: true });
  await cp(repositoryFile(`tests/fixtures/${name}`), folder, { recursive: true });
  return loadEncoderDecoder(folder);
}

const fixtures = {} as Record<"t5" | "t5-gated", LoadedEncoderDecoder>;
let base: LoadedModel;
beforeAll(async () => {
  for (const name of ["t5", "t5-gated"] as const) fixtures[name] = await smallT5(name);
  base = await textModel(join(root, "base"), { context: 96 });
});

const shapeFor = (t5: LoadedEncoderDecoder): BankShape => ({ ...tinyBank, ...t5Sizes(t5), context: 24 });

/** Its encoder with prompts and projections away from where they begin, and all weights that it reads. */
function opened(name: keyof typeof fixtures, part: TrainedPart) {
  const t5 = fixtures[name];
  const shape = shapeFor(t5);
  const encoder = t5Encoder(t5, shape, part);
  const fresh = stirred(encoder.fresh(1), 4, /^bank\.(document|question|slots)/);
  return { t5, shape, encoder, fresh, weights: { ...encoder.weights, ...fresh } };
}

const TEXTS = ["the cats sat, and at the sea the boats.", "a cat", "s", "the other boats"];

/** Linear layer of rows: x [n, I], W [O, I] -> [n, O]. */
function projected(x: readonly number[][], { data, shape: [O, I] }: Weights[string]): number[][] {
  return x.map((row) =>
    Array.from({ length: O }, (_, o) => row.reduce((sum, value, i) => sum + value * data[o * I + i], 0)),
  );
}

/** Slots of one text without padding: the model's own decoder, then projection and finishing network by hand. */
async function expected(name: keyof typeof fixtures, text: string, role: "document" | "question"): Promise<number[]> {
  const { t5, shape, weights } = opened(name, "decoder");
  const { slots: T, encoderWidth: E } = shape;
  const { definition, config, tokenizer } = t5;
  const { p } = weightGraph(t5.weights);
  const ids = tokenizer.encode(text);
  const [idsOf, mask] = ["ids", "mask"].map((one) => input(one, "int32", [1, ids.length]));
  const states = definition.encode(p, config, { ids: idsOf, mask }).final;
  const prompts = weights[`bank.${role}.prompts.weight`].data;
  const embeddings = broadcastTo(constant(float32Host([1, T, E], prompts)), [1, T, E]);
  const { final } = definition.decode(p, config, { embeddings, states, mask });
  const program = await runtime.compile({ final }, t5.weights);
  const shaped = [1, ids.length];
  const found = await program.run({
    ids: int32Host(shaped, ids),
    mask: int32Host(
      shaped,
      ids.map(() => 1),
    ),
  });
  const rows = Array.from({ length: T }, (_, t) => [
    ...(found.final.data as Float32Array).subarray(t * E, (t + 1) * E),
  ]);
  const slots = projected(rows, weights[`bank.${role}.output.weight`]);
  const { data: told } = weights[`bank.${role}.slots.weight`];
  const { data: gains } = weights["bank.slots.norm.weight"];
  const seen = slots.map((slot, t) => {
    const size = Math.sqrt(slot.reduce((sum, value) => sum + value ** 2, 0) / slot.length + 1e-6);
    return slot.map((value, i) => (value / size) * gains[i] + told[t * slot.length + i]);
  });
  const inner = projected(seen, weights["bank.slots.up.weight"]).map((row) =>
    row.map((x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))),
  );
  const added = projected(inner, weights["bank.slots.down.weight"]);
  return slots.flatMap((slot, t) => slot.map((value, i) => value + added[t][i]));
}

describe.each(["t5", "t5-gated"] as const)("slots by %s", (name) => {
  it("are the model's states over the prompts, projected and finished; padding and other texts change nothing", async () => {
    const { shape, encoder, weights } = opened(name, "decoder");
    const { p } = weightGraph(weights);
    const texts = { ids: input("ids", "int32", ["B", "N"]), mask: input("mask", "int32", ["B", "N"]) };
    const outputs = { document: encoder.documents(p, texts), question: encoder.questions(p, texts) };
    const program = await runtime.compile(outputs, weights);
    const size = shape.slots * shape.width;
    const rows = TEXTS.map(encoder.documentIds);
    for (const [members, more, pad] of [
      [[0, 1, 2, 3], 0, 0],
      [[3, 0], 7, 21],
      [[2], 0, 0],
      [[2, 1, 3], 30, 5],
    ] as const) {
      const N = Math.max(...members.map((i) => rows[i].length)) + more;
      const [ids, mask] = [new Int32Array(members.length * N).fill(pad), new Int32Array(members.length * N)];
      for (const [b, i] of members.entries()) {
        ids.set(rows[i], b * N);
        mask.fill(1, b * N, b * N + rows[i].length);
      }
      const found = await program.run({
        ids: int32Host([members.length, N], ids),
        mask: int32Host([members.length, N], mask),
      });
      for (const role of ["document", "question"] as const) {
        for (const [b, i] of members.entries()) {
          const got = (found[role].data as Float32Array).subarray(b * size, (b + 1) * size);
          const want = Float32Array.from(await expected(name, TEXTS[i], role));
          expectClose(`${role} ${i} of ${N}`, got, want, { absolute: 1e-5, relative: 1e-5 });
        }
      }
    }
  });

  it.each([
    ["none", /^$/],
    ["decoder", /^bank\.t5\.decoder\./],
    ["all", /^bank\.t5\./],
  ] as const)("with %s of it trained, all else stays as it was loaded", (part, trained) => {
    const { t5, shape, encoder, fresh } = opened(name, part);
    const names = Object.keys(t5.weights).map((one) => `bank.t5.${one}`);
    const own = Object.keys(fresh).filter((one) => one.startsWith("bank.t5."));
    expect(own).toEqual(names.filter((one) => trained.test(one)));
    expect(Object.keys(encoder.weights)).toEqual(names.filter((one) => !trained.test(one)));
    for (const one of own) {
      const loaded = t5.weights[one.slice("bank.t5.".length)];
      expect(fresh[one]).toEqual(loaded);
      // A fit writes into the module and leaves what was loaded
      expect(fresh[one].data).not.toBe(loaded.data);
    }
    // Prompts begin as embeddings of tokens, others for each role
    const E = shape.encoderWidth;
    const table = t5.weights["shared.weight"].data;
    const begun = encoder.fresh(1);
    const [documents, questions] = ["document", "question"].map((role) => begun[`bank.${role}.prompts.weight`].data);
    for (let t = 0; t < shape.slots; t++) {
      const rows = Array.from({ length: table.length / E }, (_, v) => table.subarray(v * E, (v + 1) * E));
      expect(rows).toContainEqual(documents.slice(t * E, (t + 1) * E));
    }
    expect(documents).not.toEqual(questions);
    expect(encoder.fresh(2)["bank.document.prompts.weight"].data).not.toEqual(documents);
  });
});

it("texts are tokens of the T5, with its own at the end; of a long question the end is read", () => {
  const { encoder } = opened("t5", "none");
  expect(encoder.documentIds(" the cats\n")).toEqual([4, 5, 6, 1]);
  expect(encoder.questionIds({ text: "the cats" })).toEqual([4, 5, 6, 1]);
  const long = encoder.questionIds({
    text: Array.from({ length: 30 }, () => "the")
      .join(" ")
      .concat(" cats"),
  });
  expect(long).toHaveLength(24);
  expect(long.slice(-4)).toEqual([4, 5, 6, 1]);
});

const people = ["ada", "bo", "cy", "di", "ed", "flo", "gus", "hal"];
const things = ["salt", "milk", "rope", "chalk"];
const documents: Document[] = people.flatMap((name, i) =>
  things.map((_, k) => {
    const thing = things[(i + k) % things.length];
    const facts = [{ prompt: { text: `what does ${name} count?` }, target: thing }];
    return { id: `${name}-${k}`, text: `${name} counts ${thing}.`, facts };
  }),
);

const fitT5 = ({ options, ...more }: SmallFit = {}) =>
  fitSmall(runtime, base, { documents, ...more, options: { encoder: join(root, "t5"), context: 24, ...options } });

describe("a fit", () => {
  it("goes down and, stopped, on to the same numbers; its module reads with that T5 alone", async () => {
    const place = (name: string): string => join(root, name);
    const options = { steps: 8, learningRate: 1e-2 };
    const whole = await fitT5({ options, checkpoint: place("whole") });
    const losses = lossesOf(whole.events);
    expect(losses.at(-1)?.[1]).toBeLessThan(losses[0][1] - 0.3);
    const parts = [];
    for (const stopAt of [5, undefined]) {
      const controller = new AbortController();
      const part = await fitT5({
        options,
        checkpoint: place("parts"),
        signal: controller.signal,
        onEvent: (event) => {
          if (event.type === "step" && event.step === stopAt) controller.abort();
        },
      });
      parts.push(...lossesOf(part.events));
    }
    expect(parts).toEqual(losses);
    expect(await savedState(place("parts"))).toEqual(await savedState(place("whole")));

    await whole.result.save(place("module"));
    const module = await loadModule(base, place("module"));
    expect(module.config).toMatchObject({
      encoder: { name: place("t5"), sha256: await fixtures.t5.hash(), trained: "decoder" },
      shape: { encoderWidth: 16, encoderLayers: 2, encoderHeads: 2, context: 24 },
    });
    // What was frozen is not in the folder; what was trained is, and has moved
    const file = (await readFile(join(place("module"), "model.safetensors"))).toString("latin1");
    expect(file).toContain("bank.t5.decoder.block.0");
    expect(file).not.toMatch(/bank\.t5\.(shared|encoder)/);
    const cross = "decoder.block.1.layer.1.EncDecAttention.v.weight";
    expect(module.weights[`bank.t5.${cross}`]).not.toEqual(fixtures.t5.weights[cross]);
    expect(await loadEncoderDecoder(place("t5"))).toMatchObject({ weights: fixtures.t5.weights });

    // Kept again and read by another T5, elsewhere, or none
    await saveModule(module, place("again"));
    const slotsOf = async (folder: string, encoder?: string): Promise<Float32Array> => {
      const loaded = await loadModule(base, folder, { encoder });
      const reader = createReader({ runtime, base, module: loaded });
      const slots = await reader.slots(TEXTS.map(loaded.encoder.documentIds));
      await reader.dispose();
      return slots;
    };
    await cp(place("t5"), place("moved"), { recursive: true });
    expect(await slotsOf(place("again"), place("moved"))).toEqual(await slotsOf(place("module")));
    await cp(place("t5"), place("other"), { recursive: true });
    const other = stirred({ ...fixtures.t5.weights }, 9, /wo\.weight$/);
    await writeSafetensors(join(place("other"), "model.safetensors"), other);
    await expect(loadModule(base, place("module"), { encoder: place("other") })).rejects.toThrow(
      new RegExp(
        `bank-compression: expected the encoder ${await fixtures.t5.hash()} that the module in .*module was fitted ` +
          "with, got [0-9a-f]{64} in .*other; say with --encoder where that one is, or fit a module",
      ),
    );
    await expect(loadModule(base, place("module"), { encoder: place("nowhere") })).rejects.toThrow(
      /expected the encoder .*nowhere that the module in .*module was fitted with, got no T5 \(.*\); put it there, or say/,
    );
    await expect(loadModule(base, place("module"), { encoder: place("base") })).rejects.toThrow(
      /expected an encoder-decoder in .*base, got llama/,
    );
  });

  it("learns from what documents say: without that its answers stay unlikely", { timeout: 180_000 }, async () => {
    const options = {
      trainEncoder: "all",
      steps: 250,
      quantizeFrom: 1,
      learningRate: 5e-3,
      retrieved: 1,
      mostRetrieved: 1,
      unanswerable: 0,
    };
    const mute = documents.map((document) => ({ ...document, text: "he counts." }));
    const [told, untold] = [await fitT5({ options }), await fitT5({ options, documents: mute })].map(({ events }) => {
      const last = lossesOf(events).slice(-50);
      return last.reduce((sum, [, loss]) => sum + loss, 0) / last.length;
    });
    // One of four things; an answer has some five tokens
    expect(untold - told).toBeGreaterThan(Math.log(4) / 10);
  });

  it.each([
    ["t5", "none"],
    ["t5-gated", "all"],
  ] as const)("of %s with %s of it trained feels all that it trains", async (name, trainEncoder) => {
    const { result } = await fitT5({
      options: { encoder: join(root, name), trainEncoder, steps: 3, quantizeFrom: 1, learningRate: 1e-2, rank: 0 },
    });
    const folder = join(root, `${name}-${trainEncoder}`);
    await result.save(folder);
    const { weights, encoder } = await loadModule(base, folder);
    const begun = encoder.fresh(1);
    const still = Object.keys(begun).filter((one) => {
      const { data } = weights[one];
      const before = begun[one].data;
      // Beyond what halves round off
      return data.every((value, i) => Math.abs(value - before[i]) <= 1e-3 * Math.abs(before[i]) + 1e-6);
    });
    expect(still).toEqual([]);
  });

  it("refuses what is no T5, and a T5 for a module that has an encoder of its own", async () => {
    await expect(fitT5({ options: { encoder: join(root, "base") } })).rejects.toThrow(
      /loadEncoderDecoder: expected an encoder-decoder in .*base, got llama, a causal language model; choose a T5/,
    );
    const { result } = await fitSmall(runtime, base, { options: { steps: 1, quantizeFrom: 1 } });
    const folder = join(root, "own");
    await result.save(folder);
    await expect(loadModule(base, folder, { encoder: join(root, "t5") })).rejects.toThrow(
      /expected a module that was fitted with a T5 to go with the encoder .*t5, got one with an encoder of its own in/,
    );
  });
});

it("the method keeps documents and answers with it, long ones in chunks of its tokens", async () => {
  const { result } = await fitT5({ options: { steps: 4, quantizeFrom: 0.25 } });
  const folder = join(root, "used");
  await result.save(folder);
  const method = await bankCompression.create(base, { module: folder }, { runtime, seed: 0 });
  const face = documentFaceOf(method);
  expect(face.identity).toMatchObject({ encoder: await fixtures.t5.hash() });
  const long: Document = { id: "long", text: Array.from({ length: 9 }, () => "the boats are at sea.").join(" ") };
  const encoded = await face.encode([documents[0], long]);
  expect(encoded.map(({ entries }) => entries.length)).toEqual([1, 9]);
  await learn(method, [documents[0], long]);
  expect(face.bank.count()).toBe(10);
  const query = { text: "what does ada count?" };
  const [{ read }] = await face.look([query]);
  expect(read[0].document).toBe(documents[0].id);
  expect(await method.answer([query])).toHaveLength(1);
  await method.dispose();
});
