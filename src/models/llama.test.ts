/** Turning keys: by hand, there and back, and as the models turn them themselves. */
import { afterAll, describe, expect, it } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { decoderOf, repositoryFile, weightGraph } from "../../tests/support/model-fixture.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, int32Host } from "../tensor/dtype.ts";
import { input } from "../tensor/functions.ts";
import { randomStream } from "../tensor/random.ts";
import { loadCheckpoint } from "./load.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const IDS = [3, 17, 8, 41, 5, 22, 30, 11];
const CLOSE = { absolute: 1e-5, relative: 1e-5 };

/** `rotated` of a fixture as a program: keys [1, K, S, D] at positions [S]. */
async function turning(name: string) {
  const base = decoderOf(await loadCheckpoint(repositoryFile(`tests/fixtures/${name}`)));
  const { definition, config } = base;
  const { kvHeads: K, headDim: D } = definition.geometry(config);
  const keys = input("keys", "float32", [1, K, "S", D]);
  const turned = definition.rotated?.(config, keys, input("positions", "int32", ["S"]));
  if (!turned) throw new Error(`${name} does not turn keys`);
  const program = await runtime.compile({ turned });
  return {
    base,
    K,
    D,
    async rotated(data: Float32Array, positions: readonly number[]): Promise<Float32Array> {
      const S = positions.length;
      const found = await program.run({ keys: float32Host([1, K, S, D], data), positions: int32Host([S], positions) });
      return found.turned.data as Float32Array;
    },
  };
}

describe.each(["llama", "llama-scaled", "mistral", "qwen2", "qwen3"])("rotated keys of %s", (name) => {
  it("turned by p and then by -p are what they were, and turns add up", async () => {
    const { rotated, K, D } = await turning(name);
    const positions = [0, 1, 2, 5, 17, 63, -1, -30];
    const keys = randomStream(1, "keys").fillNormal(new Float32Array(K * positions.length * D), 0, 1);
    const there = await rotated(keys, positions);
    expectClose(
      "back",
      await rotated(
        there,
        positions.map((p) => -p),
      ),
      keys,
      CLOSE,
    );
    expect(there).not.toEqual(keys);
    const further = await rotated(
      there,
      positions.map(() => 3),
    );
    expectClose(
      "further",
      further,
      await rotated(
        keys,
        positions.map((p) => p + 3),
      ),
      CLOSE,
    );
  });

  it("are the keys that the model makes at those positions", async () => {
    const { base, rotated } = await turning(name);
    const { definition, config, weights } = base;
    const { present } = definition.forward(weightGraph(weights).p, config, {
      ids: input("ids", "int32", [1, IDS.length]),
      positions: input("positions", "int32", [IDS.length]),
    });
    // Of the first layer, whose tokens have not seen each other yet
    const program = await runtime.compile({ key: present[0].key }, weights);
    const keysAt = async (positions: readonly number[]): Promise<Float32Array> => {
      const ids = int32Host([1, IDS.length], IDS);
      const { key } = await program.run({ ids, positions: int32Host([IDS.length], positions) });
      return key.data as Float32Array;
    };
    const unturned = await keysAt(IDS.map(() => 0));
    const positions = [...IDS.keys()];
    expectClose("present", await rotated(unturned, positions), await keysAt(positions), CLOSE);
  });
});

describe("a turn", () => {
  it("is by position / theta^(2i / D) in the plane of numbers i and i + D / 2", async () => {
    const { rotated, K, D } = await turning("llama");
    const positions = [4, -7];
    const keys = randomStream(2, "keys").fillNormal(new Float32Array(K * 2 * D), 0, 1);
    const want = keys.map((value, at) => {
      const [d, start] = [at % D, at - (at % D)];
      const half = D / 2;
      const angle = positions[Math.floor(at / D) % 2] / 10000 ** ((2 * (d % half)) / D);
      const other = keys[start + ((d + half) % D)];
      return Math.cos(angle) * value + (d < half ? -1 : 1) * Math.sin(angle) * other;
    });
    expectClose("turned", await rotated(keys, positions), want, CLOSE);
  });
});
