import { afterAll, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, readTensors, repositoryFile } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { createInspector } from "./inspect.ts";
import { loadCheckpoint } from "./load.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

test.each(["llama", "gpt2"])(
  "%s: hidden states and attention weights of chosen layers equal the reference",
  async (name) => {
    const folder = repositoryFile(`tests/fixtures/${name}`);
    const model = decoderOf(await loadCheckpoint(folder));
    const reference = await readTensors(`${folder}/reference.safetensors`);
    const { data, shape } = reference.get("input_ids") as { data: Int32Array; shape: readonly number[] };
    const rows = Array.from({ length: shape[0] }, (_, b) =>
      Array.from(data.subarray(b * shape[1], (b + 1) * shape[1])),
    );
    const inspector = await createInspector(runtime, model, { hidden: [0, 2], attentions: [1] });
    const { hidden, attentions } = await inspector.inspect(rows);
    expect([...hidden.keys(), ...attentions.keys()]).toEqual([0, 2, 1]);
    const close = { absolute: 1e-4, relative: 1e-4 };
    for (const layer of [0, 2])
      expectClose(
        `hidden ${layer}`,
        hidden.get(layer)?.data ?? [],
        reference.get(`hidden.${layer}`)?.data as Float32Array,
        close,
      );
    expectClose("attention", attentions.get(1)?.data ?? [], reference.get("attention.1")?.data as Float32Array, close);
    await expect(inspector.inspect([[1, 56]])).rejects.toThrow(
      "inspect: expected token ids from 0 to 55, got 56 in row 0",
    );
    await expect(inspector.inspect([[1, 2], [3]])).rejects.toThrow("rows of one length");
    await expect(createInspector(runtime, model, { attentions: [2] })).rejects.toThrow("attentions from 0 to 1, got 2");
  },
);
