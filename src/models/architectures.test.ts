/** Every architecture against PyTorch: outputs, loss, hidden states, attention weights, gradients of all parameters. */
import { afterAll, describe, expect, test } from "vitest";
import { expectClose, type Tolerance } from "../../tests/support/close.ts";
import {
  allOutputs,
  decoderGraph,
  decoderOf,
  encoderDecoderGraph,
  encoderDecoderOf,
  encoderGraph,
  encoderOf,
  type Fixture,
  greedy,
  readFixture,
  runFixture,
} from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/dtype.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

/** A checkpoint, and the folder of its outputs where that is another's: the same model in another layout. */
const decoders: readonly (readonly [name: string, outputs: string])[] = [
  ["gpt2", "gpt2"],
  ["gpt2-hub", "gpt2"],
  ["llama", "llama"],
  ["llama-tied", "llama-tied"],
  ["llama-scaled", "llama-scaled"],
  ["mistral", "mistral"],
  ["qwen2", "qwen2"],
  ["qwen3", "qwen3"],
  ["gpt2-memory", "gpt2-memory"],
  ["llama-memory", "llama-memory"],
  ["qwen2-memory", "qwen2-memory"],
  ["qwen3-memory", "qwen3-memory"],
];
const encoders = ["bert", "xlm-roberta"] as const;
const encoderDecoders = ["t5", "t5-gated"] as const;

/**
 * The reference is exact, so all error is float32's own: 6e-8 of the numbers on the way, added up over rows of products
 * and two layers. Those are up to 10 in hidden states and logits (errors of 3e-6 were measured), and in gradients sums
 * over 18 tokens of up to 1 in decoders and 23 in encoders that cancel in part (6e-6).
 */
const OUTPUTS: Tolerance = { absolute: 1e-5, relative: 1e-5 };
const GRADIENTS: Tolerance = { absolute: 2e-5, relative: 2e-5 };
const toleranceOf = (name: string): Tolerance => (name.startsWith("grad.") ? GRADIENTS : OUTPUTS);

/** Compare everything that both sides have, after checking that neither lacks a tensor. */
function compare(got: Readonly<Record<string, HostTensor>>, { reference }: Fixture, apart: RegExp): void {
  const wanted = [...reference.keys()].filter((name) => !apart.test(name));
  expect(Object.keys(got).sort()).toEqual(wanted.sort());
  for (const name of wanted) {
    const want = reference.get(name) as HostTensor;
    expect(got[name].shape, name).toEqual(want.shape);
    expectClose(name, got[name].data, want.data, toleranceOf(name));
  }
}

describe.each(decoders)("decoder %s", (name, outputs) => {
  test("logits, loss, states, attentions and all gradients equal PyTorch's", async () => {
    const fixture = decoderOf(await readFixture(name, outputs));
    const shape = fixture.reference.get("input_ids")?.shape ?? [];
    compare(
      await runFixture(runtime, allOutputs(decoderGraph(fixture, shape)), fixture),
      fixture,
      /^(input_ids|loss_mask|greedy_ids|(beam|group)\..*)$/,
    );
  });

  test("frozen weights give the same logits, and the greedy continuation is PyTorch's", async () => {
    const fixture = decoderOf(await readFixture(name, outputs));
    const ids = fixture.reference.get("input_ids") as HostTensor;
    const { logits } = decoderGraph(fixture, ids.shape).heads;
    const frozen = await runFixture(runtime, { logits }, fixture, { frozen: true });
    expectClose("logits", frozen.logits.data, fixture.reference.get("logits")?.data ?? [], OUTPUTS);
    const prompt = Array.from(ids.data.subarray(0, ids.shape[1]), Number);
    expect(await greedy(runtime, fixture, prompt, 12)).toEqual([...(fixture.reference.get("greedy_ids")?.data ?? [])]);
  });
});

describe.each(encoders)("encoder %s", (name) => {
  test("states, attentions, pooler and all gradients equal PyTorch's", async () => {
    const fixture = encoderOf(await readFixture(name));
    const shape = fixture.reference.get("input_ids")?.shape ?? [];
    compare(
      await runFixture(runtime, allOutputs(encoderGraph(fixture, shape)), fixture),
      fixture,
      /^(input_ids|attention_mask|token_type_ids|cotangent|embedding)$/,
    );
  });
});

describe.each(encoderDecoders)("encoder-decoder %s", (name) => {
  test("states, attentions and all gradients of both sides equal PyTorch's", async () => {
    const fixture = encoderDecoderOf(await readFixture(name));
    const shapeOf = (input: string) => fixture.reference.get(input)?.shape ?? [];
    compare(
      await runFixture(
        runtime,
        allOutputs(encoderDecoderGraph(fixture, shapeOf("input_ids"), shapeOf("embeddings"))),
        fixture,
      ),
      fixture,
      /^(input_ids|attention_mask|embeddings|cotangent|buckets\..*)$/,
    );
  });

  test("axes that only the run knows give the same states", async () => {
    const fixture = encoderDecoderOf(await readFixture(name));
    const width = fixture.definition.geometry(fixture.config).width;
    const { finals } = encoderDecoderGraph(fixture, ["B", "T"], ["B", "S", width]);
    const got = await runFixture(runtime, finals, fixture, { frozen: true });
    for (const [output, { data }] of Object.entries(got))
      expectClose(output, data, fixture.reference.get(output)?.data ?? [], OUTPUTS);
  });
});
