/** Texts to slots: padding is not there, whatever stands in it, and places begin where they should. */
import { afterAll, describe, expect, it } from "vitest";
import { tinyBank, tinyNetworks } from "../../../tests/support/bank-module.ts";
import { expectClose } from "../../../tests/support/close.ts";
import { decoderOf, repositoryFile, weightGraph } from "../../../tests/support/model-fixture.ts";
import { loadCheckpoint } from "../../models/load.ts";
import { createRuntime } from "../../runtime/runtime.ts";
import { int32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import { centresOf, documentSlots, questionSlots, statesOf } from "./encoder.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const TEXTS = [[3, 17, 8, 41, 5, 22, 30, 11, 9, 40, 2], [7, 7, 50], [12], [1, 44, 28, 33, 6, 19, 2, 31]];

/** Encoders beside a fixture: texts, padded to N with a token, to the slots of each. */
async function encoders(name: string) {
  const base = decoderOf(await loadCheckpoint(repositoryFile(`tests/fixtures/${name}`)));
  const { definition, config } = base;
  const { weights, params } = tinyNetworks(definition.geometry(config));
  const ids = input("ids", "int32", ["B", "N"]);
  const states = statesOf(definition.forward(weightGraph(base.weights).p, config, { ids }).hidden);
  const texts = { states, mask: input("mask", "int32", ["B", "N"]) };
  const program = await runtime.compile(
    {
      document: documentSlots(params, tinyBank, texts),
      question: questionSlots(params, tinyBank, texts),
    },
    { ...base.weights, ...weights },
  );
  return async (some: readonly (readonly number[])[], N: number, pad: number) => {
    const [tokens, mask] = [new Int32Array(some.length * N).fill(pad), new Int32Array(some.length * N)];
    for (const [b, text] of some.entries()) {
      tokens.set(text, b * N);
      mask.fill(1, b * N, b * N + text.length);
    }
    const found = await program.run({
      ids: int32Host([some.length, N], tokens),
      mask: int32Host([some.length, N], mask),
    });
    return { document: found.document.data as Float32Array, question: found.question.data as Float32Array };
  };
}

describe.each(["llama", "gpt2", "qwen2"])("slots of texts that %s reads", (name) => {
  it("are those of each text alone, however much padding of whatever token is behind it", async () => {
    const encode = await encoders(name);
    const size = tinyBank.slots * tinyBank.width;
    const alone = [];
    for (const text of TEXTS) alone.push(await encode([text], text.length, 0));
    // 30 is longer than the table of positions
    for (const [N, pad] of [
      [11, 0],
      [11, 55],
      [17, 21],
      [30, 3],
    ]) {
      const together = await encode(TEXTS, N, pad);
      for (const role of ["document", "question"] as const) {
        for (const b of TEXTS.keys()) {
          const got = together[role].subarray(b * size, (b + 1) * size);
          expectClose(`${role} ${b} of ${N}`, got, alone[b][role], { absolute: 2e-5, relative: 1e-5 });
        }
      }
    }
    // Else all of this would say nothing
    expect(alone[0].document).not.toEqual(alone[1].document);
    expect(alone[0].question).not.toEqual(alone[1].question);
    expect(alone[0].question).not.toEqual(alone[0].document);
  });
});

describe("centresOf", () => {
  it.each([
    [4, 4, [0, 1, 2, 3]],
    [8, 4, [0, 2, 4, 6]],
    [10, 4, [0, 2, 5, 7]],
    [2, 6, [0, 0, 0, 1, 1, 1]],
    [1, 3, [0, 0, 0]],
    [5, 3, [0, 1, 3]],
    // Quotients that are almost whole
    [511, 512, Array.from({ length: 512 }, (_, m) => Math.floor((m * 511) / 512))],
  ])("of %i tokens at %i places", async (N, M, want) => {
    const program = await runtime.compile({ centres: centresOf(input("mask", "int32", [2, "N"]), M) });
    const mask = [...Array.from({ length: N }, () => 1), 0, 0, 1, ...Array.from({ length: N + 1 }, () => 0)];
    const { centres } = await program.run({ mask: int32Host([2, N + 2], mask) });
    expect([...centres.data]).toEqual([...want, ...want.map(() => 0)]);
  });
});
