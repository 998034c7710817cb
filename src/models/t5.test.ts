/** From a folder to states: T5 as its callers meet it. Its numbers against PyTorch are in architectures.test.ts. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { expectClose, type Tolerance } from "../../tests/support/close.ts";
import { readTensors, repositoryFile, weightGraph } from "../../tests/support/model-fixture.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { paramsOf } from "../nn/params.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../tensor/dtype.ts";
import { input, mul } from "../tensor/functions.ts";
import { randomStream } from "../tensor/random.ts";
import { loadCheckpoint, loadEncoderDecoder } from "./load.ts";

const runtime = createRuntime({ threads: 1 });
const scratch = mkdtempSync(join(tmpdir(), "mneme-t5-"));
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await runtime.dispose();
});

const folder = repositoryFile("tests/fixtures/t5");
/** Two orders of the same float32 sums. */
const SAME: Tolerance = { absolute: 1e-5, relative: 1e-5 };
const PROMPTS = 4;

/** The small checkpoint, compiled: rows of ids to what the decoder makes of them, [B, S, C], and its cross-attention. */
async function reader() {
  const { definition, config, weights, geometry, tokenizer } = await loadEncoderDecoder(folder);
  const { p } = weightGraph(weights);
  const [ids, mask] = ["ids", "mask"].map((name) => input(name, "int32", ["B", "T"]));
  const embeddings = input("embeddings", "float32", ["B", PROMPTS, geometry.width]);
  const states = definition.encode(p, config, { ids, mask }).final;
  const { final, crossAttentions } = definition.decode(p, config, { embeddings, states, mask });
  const program = await runtime.compile({ states, final, cross: crossAttentions[0] }, weights);
  const prompts = new Float32Array(PROMPTS * geometry.width);
  randomStream(3, "prompts").fillNormal(prompts);
  const read = (rows: number[][], masks: number[][], given: Float32Array = prompts) =>
    program.run({
      ids: int32Host([rows.length, rows[0].length], rows.flat()),
      mask: int32Host([rows.length, rows[0].length], masks.flat()),
      embeddings: float32Host(
        [rows.length, PROMPTS, geometry.width],
        rows.flatMap(() => [...given]),
      ),
    });
  return { read, tokenizer, prompts, width: geometry.width };
}

describe("reading", () => {
  test("what stands in padding, and on which side it is, changes nothing", async () => {
    const { read, tokenizer, width } = await reader();
    const ids = tokenizer.encode("the cats sat");
    const alone = await read([ids], [ids.map(() => 1)]);
    const padded = await read(
      [
        [...ids, 0, 0, 0],
        [...ids, 9, 17, 30],
        [5, 21, 8, ...ids],
      ],
      [
        [...ids.map(() => 1), 0, 0, 0],
        [...ids.map(() => 1), 0, 0, 0],
        [0, 0, 0, ...ids.map(() => 1)],
      ],
    );
    const [states, cross] = [alone.states.data as Float32Array, padded.cross.data as Float32Array];
    for (const row of [0, 1, 2]) {
      const size = PROMPTS * width;
      const got = (padded.final.data as Float32Array).subarray(row * size, (row + 1) * size);
      expectClose(`decoder, row ${row}`, got, alone.final.data as Float32Array, SAME);
      const start = (row * (ids.length + 3) + (row === 2 ? 3 : 0)) * width;
      const own = (padded.states.data as Float32Array).subarray(start, start + states.length);
      expectClose(`encoder, row ${row}`, own, states, SAME);
    }
    // [B, H, S, T]: 3 rows, 2 heads, 4 prompts, 9 keys
    const hidden = cross.filter((_, i) => (i < 144 ? i % 9 >= 6 : i % 9 < 3));
    expect(hidden).toHaveLength(72);
    expect(Math.max(...hidden)).toBe(0);
  });

  test("an embedding sees those before it, not those after", async () => {
    const { read, tokenizer, prompts, width } = await reader();
    const ids = tokenizer.encode("the cats");
    const other = Float32Array.from(prompts, (x, i) => (i < 2 * width ? x : -x));
    const rows = async (given: Float32Array): Promise<Float32Array> =>
      (await read([ids], [ids.map(() => 1)], given)).final.data as Float32Array;
    const [a, b] = [await rows(prompts), await rows(other)];
    expect(b.subarray(0, 2 * width)).toEqual(a.subarray(0, 2 * width));
    expect(b.subarray(2 * width)).not.toEqual(a.subarray(2 * width));
  });

  test("several live below paths of their own, and what a method adds reaches every linear layer", async () => {
    const { definition, config, weights } = await loadEncoderDecoder(folder);
    const touched: string[] = [];
    const { inputs } = weightGraph(
      Object.fromEntries(Object.entries(weights).map(([name, value]) => [`document.${name}`, value])),
    );
    const p = paramsOf(inputs, {
      linear(own, _, y) {
        touched.push(own.path);
        return mul(y, 1);
      },
    });
    const [ids, mask] = ["ids", "mask"].map((name) => input(name, "int32", [1, 3]));
    const states = definition.encode(p.at("document"), config, { ids, mask }).final;
    const embeddings = input("embeddings", "float32", [1, PROMPTS, 16]);
    definition.decode(p.at("document"), config, { embeddings, states, mask });
    expect(touched.sort()).toEqual(
      definition
        .linearPaths(config)
        .map((path) => `document.${path}`)
        .sort(),
    );
  });
});

describe("files", () => {
  let counter = 0;
  /** The small checkpoint with changed tensors and configuration. */
  async function variant(
    change: (tensors: Record<string, HostTensor>) => void,
    fields: Record<string, unknown> = {},
  ): Promise<string> {
    const to = mkdtempSync(join(scratch, `${counter++}-`));
    const tensors = Object.fromEntries(await readTensors(`${folder}/model.safetensors`));
    change(tensors);
    await writeSafetensors(join(to, "model.safetensors"), tensors);
    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    writeFileSync(join(to, "config.json"), JSON.stringify({ ...config, ...fields }));
    copyFileSync(join(folder, "tokenizer.json"), join(to, "tokenizer.json"));
    return to;
  }

  test("sizes, and the tensors that are read", async () => {
    const { definition, config, geometry, weights, eosIds } = await loadEncoderDecoder(
      repositoryFile("tests/fixtures/t5"),
    );
    const sizes = { layers: 2, width: 16, vocabulary: 40, context: 512, heads: 2, kvHeads: 2, headDim: 6 };
    expect(geometry).toEqual({ ...sizes, decoderLayers: 2 });
    expect(Object.keys(weights).filter((name) => /embed_tokens|EncDecAttention\.relative/.test(name))).toEqual([]);
    expect([Object.keys(weights).length, definition.padId(config), eosIds]).toEqual([47, 0, [1]]);
    const gated = await loadCheckpoint(repositoryFile("tests/fixtures/t5-gated"));
    expect(gated.geometry).toMatchObject({ layers: 1, decoderLayers: 2, headDim: 8 });
    expect(gated.weights["lm_head.weight"]).toBeUndefined();
  });

  test("embeddings stored under the decoder's name alone are the same model", async () => {
    const moved = await variant((tensors) => {
      delete tensors["shared.weight"];
      delete tensors["encoder.embed_tokens.weight"];
    });
    expect((await loadEncoderDecoder(moved)).weights).toEqual((await loadEncoderDecoder(folder)).weights);
  });

  test.each([
    ["decoder.block.1.layer.1.EncDecAttention.v.weight", "[12, 16]"],
    ["decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "[8, 2]"],
    ["encoder.block.0.layer.1.layer_norm.weight", "[16]"],
  ])("a file without %s is refused", async (name, shape) => {
    await expect(loadEncoderDecoder(await variant((tensors) => delete tensors[name]))).rejects.toThrow(
      `expected tensor "${name}" of shape ${shape}, got none`,
    );
  });

  test.each([
    [{ feed_forward_proj: "gated-gelu" }, 'expected tensor "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"'],
    [{ num_decoder_layers: 3 }, 'expected tensor "decoder.block.2.layer.0.SelfAttention.q.weight"'],
    [{ d_kv: 8 }, 'SelfAttention.q.weight" of shape [16, 16], got [12, 16]'],
    [{ vocab_size: 39 }, 'expected tensor "shared.weight" of shape [39, 16], got [40, 16]'],
  ])("%j and the weights disagree", async (fields, message) => {
    await expect(loadEncoderDecoder(await variant(() => {}, fields))).rejects.toThrow(message);
  });
});
