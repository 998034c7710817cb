/** Where the adapters of a module sit: on keys and values, or queries too, of the last layers of a base. */
import { describe, expect, it } from "vitest";
import { textModel } from "../../../tests/support/text-model.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { attentionAdapters } from "./adapters.ts";
import { join } from "node:path";

const { root } = workbench("bank-adapters");

/** Outputs of each adapted layer, in order. Widths of 16, 4 heads and, but for gpt2, 2 key/value heads of 4. */
const separate = (layer: number, names: Record<string, number>): [string, number][] =>
  Object.entries(names).map(([name, outputs]) => [`model.layers.${layer}.self_attn.${name}_proj`, outputs]);
const KV = { k: 8, v: 8 };
const QKV = { q: 16, ...KV };

describe("attentionAdapters", () => {
  it.each([
    ["llama", "kv", 3, [0, 1, 2].flatMap((layer) => separate(layer, KV))],
    ["llama", "qkv", 1, separate(2, QKV)],
    ["qwen2", "kv", 2, [1, 2].flatMap((layer) => separate(layer, KV))],
    ["qwen2", "qkv", 9, [0, 1, 2].flatMap((layer) => separate(layer, QKV))],
    ["gpt2", "kv", 2, [1, 2].map((layer): [string, number] => [`transformer.h.${layer}.attn.c_attn`, 32])],
    ["gpt2", "qkv", 1, [["transformer.h.2.attn.c_attn", 48]]],
    ["llama", "kv", 0, []],
  ] as const)("%s, %s, the last %i layers", async (architecture, beside, layers, want) => {
    const base = await textModel(join(root, architecture), { architecture, width: 16, layers: 3 });
    const adapters = attentionAdapters(base, { rank: 2, layers, beside }, 1);
    expect(Object.entries(adapters).map(([name, { shape }]) => [name, shape])).toEqual(
      want.flatMap(([path, outputs]) => [
        [`${path}.lora_A.weight`, [2, 16]],
        [`${path}.lora_B.weight`, [outputs, 2]],
      ]),
    );
    for (const [name, { data }] of Object.entries(adapters))
      expect(
        data.some((value) => value !== 0),
        name,
      ).toBe(name.endsWith("lora_A.weight"));
    expect(attentionAdapters(base, { rank: 0, layers, beside }, 1)).toEqual({});
  });
});
