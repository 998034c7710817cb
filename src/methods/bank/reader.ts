/**
 * A module of bank compression at work on its base: texts to slots, questions to latents, latents to what the base is
 * told. Everything is compiled on first use. Letters as in shape.ts.
 */
import { UserError } from "../../errors.ts";
import { type Condition, memoryConditions } from "../../models/condition.ts";
import { lazyProgram } from "../../models/instance.ts";
import type { LoadedModel } from "../../models/load.ts";
import { paramsOf, weightInputs } from "../../nn/params.ts";
import { type Lazy, lazy } from "../../runtime/lazy.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { languageFace, type LanguageFace } from "../language.ts";
import { aggregated } from "./aggregator.ts";
import { fastRead, projectedCodes } from "./fast.ts";
import { adaptedModel, adaptersOf, type BankModule } from "./module.ts";
import { prefixOf } from "./prefix.ts";
import type { TextInputs } from "./slot-encoder.ts";

type Ids = readonly number[];

export interface Reader {
  /** θ_amort: N texts of at most `context` tokens -> [N, T, D]. */
  slots(texts: readonly Ids[], options?: { readonly signal?: AbortSignal }): Promise<Float32Array>;
  /** θ_input: N questions -> [N, T, D]; longer ones are read to the encoder's context. */
  questions(texts: readonly Ids[]): Promise<Float32Array>;
  /**
   * ψ: questions [G, Q, T, D] over banks [G, N, T, D], with the bias of each entry for each question [G, Q, N] -> latents
   * [G, Q, T, D], and how much each question attends to each entry [G, Q, N]. G is 1 unless given.
   */
  aggregate(
    questions: Float32Array,
    bank: Float32Array,
    bias: Float32Array,
    groups?: number,
  ): Promise<{ latents: Float32Array; weights: Float32Array }>;
  /** ψ over a whole bank of one code for a slot: questions [Q, T, D], how often each code stands in each slot [T, K]. */
  readCodes(questions: Float32Array, counts: Float32Array, codes: Float32Array): Promise<Float32Array>;
  /** Latents [Q, T, D] -> what the base is told before each question. */
  conditions(latents: Float32Array): Promise<Condition[]>;
  /** The base with its adapters, told conditions. */
  readonly face: LanguageFace;
  dispose(): Promise<void>;
}

/** Texts in one run. */
const AT_ONCE = 32;

export interface ReaderOptions {
  readonly runtime: Runtime;
  readonly base: LoadedModel;
  readonly module: BankModule;
  /** false while the module is being fitted: then every change shows at once. */
  readonly frozen?: boolean;
}

export function createReader({ runtime, base, module, frozen = true }: ReaderOptions): Reader {
  const { config, weights: own, encoder } = module;
  const { shape } = config;
  const { slots: T, width: D } = shape;
  const weights: Readonly<Record<string, HostTensor>> = { ...base.weights, ...encoder.weights, ...own };
  const params = (adapted: boolean) =>
    paramsOf(
      weightInputs(Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [name, tensor.shape]))),
      adapted ? adaptersOf(config) : undefined,
    );
  const compiled = (outputs: () => Record<string, Tensor>) => lazyProgram(runtime, outputs, { weights, frozen });
  const texts = (): TextInputs => ({
    ids: input("ids", "int32", ["B", "N"]),
    mask: input("mask", "int32", ["B", "N"]),
  });
  const reading = compiled(() => ({ slots: encoder.documents(params(false), texts()) }));
  const asking = compiled(() => ({ slots: encoder.questions(params(false), texts()) }));
  const aggregating = compiled(() => ({
    ...aggregated(params(false), shape, input("questions", "float32", ["G", "Q", T, D]), {
      slots: input("bank", "float32", ["G", "N", T, D]),
      bias: input("bias", "float32", ["G", "Q", "N"]),
    }),
  }));
  const { blocks, blockHeads: heads } = shape;
  const projecting = compiled(() => {
    const made = projectedCodes(params(false), shape, input("codes", "float32", ["K", D]));
    return Object.fromEntries(
      made.flatMap(({ keys, values }, block) => [
        [`keys.${block}`, keys],
        [`values.${block}`, values],
      ]),
    );
  });
  const fastReading = compiled(() => {
    const projected = (name: string): Tensor => input(name, "float32", [1, heads, "K", D / heads]);
    const codes = Array.from({ length: blocks }, (_, block) => ({
      keys: projected(`keys.${block}`),
      values: projected(`values.${block}`),
    }));
    const counts = input("counts", "float32", [T, "K"]);
    return { latents: fastRead(params(false), shape, input("questions", "float32", ["Q", T, D]), counts, codes) };
  });
  /** Of the codebook that was read last. */
  let projected: { codes: Float32Array; parts: Lazy<Record<string, HostTensor>> } | undefined;
  const telling = compiled(() => ({
    memory: prefixOf(params(false), shape, base, input("latents", "float32", ["B", T, D])),
  }));
  const face = languageFace({
    runtime,
    model: adaptedModel(base, module),
    tokenizer: base.tokenizer,
    eosIds: base.eosIds,
    frozen,
    conditioned: memoryConditions,
  });

  const encode = async (program: typeof reading, texts: readonly Ids[]): Promise<Float32Array> => {
    const N = Math.max(...texts.map(({ length }) => length));
    const dims = [texts.length, N];
    const [ids, mask] = [new Int32Array(texts.length * N), new Int32Array(texts.length * N)];
    for (const [b, text] of texts.entries()) {
      ids.set(text, b * N);
      mask.fill(1, b * N, b * N + text.length);
    }
    const found = await program.run({ ids: int32Host(dims, ids), mask: int32Host(dims, mask) });
    return found.slots.data as Float32Array;
  };

  /** In lots of texts of like length, as padding costs what text costs. */
  const encodeAll = async (
    program: typeof reading,
    texts: readonly Ids[],
    signal?: AbortSignal,
  ): Promise<Float32Array> => {
    const all = new Float32Array(texts.length * T * D);
    const order = [...texts.keys()].sort((a, b) => texts[a].length - texts[b].length);
    for (let start = 0; start < texts.length; start += AT_ONCE) {
      signal?.throwIfAborted();
      const lot = order.slice(start, start + AT_ONCE);
      const found = await encode(
        program,
        lot.map((i) => texts[i]),
      );
      for (const [k, i] of lot.entries()) all.set(found.subarray(k * T * D, (k + 1) * T * D), i * T * D);
    }
    return all;
  };

  return {
    face,
    async slots(texts, { signal } = {}) {
      for (const { length } of texts) {
        if (length > 0 && length <= encoder.context) continue;
        throw new UserError(
          `bank-compression: expected a text of 1 to ${encoder.context} tokens, got ${length}; cut it into chunks`,
        );
      }
      const all = await encodeAll(reading, texts, signal);
      const wrong = all.findIndex((value) => !Number.isFinite(value));
      if (wrong >= 0) {
        throw new UserError(
          `bank-compression: expected finite slots, got ${all[wrong]} in text ${Math.floor(wrong / (T * D)) + 1}; ` +
            "the module is damaged, fit it again",
        );
      }
      return all;
    },
    questions: (texts) =>
      encodeAll(
        asking,
        texts.map((text) => text.slice(-encoder.context)),
      ),
    async aggregate(questions, bank, bias, G = 1) {
      const Q = questions.length / (G * T * D);
      const N = bank.length / (G * T * D);
      const { latents, weights: seen } = await aggregating.run({
        questions: float32Host([G, Q, T, D], questions),
        bank: float32Host([G, N, T, D], bank),
        bias: float32Host([G, Q, N], bias),
      });
      return { latents: latents.data as Float32Array, weights: seen.data as Float32Array };
    },
    async readCodes(questions, counts, codes) {
      const Q = questions.length / (T * D);
      const K = codes.length / D;
      if (projected?.codes !== codes)
        projected = { codes, parts: lazy(() => projecting.run({ codes: float32Host([K, D], codes) })) };
      const { latents } = await fastReading.run({
        questions: float32Host([Q, T, D], questions),
        counts: float32Host([T, K], counts),
        ...(await projected.parts.get()),
      });
      return latents.data as Float32Array;
    },
    async conditions(latents) {
      const B = latents.length / (T * D);
      const { memory } = await telling.run({ latents: float32Host([B, T, D], latents) });
      const size = memory.data.length / B;
      const data = memory.data as Float32Array;
      return Array.from({ length: B }, (_, b) => ({ memory: data.slice(b * size, (b + 1) * size) }));
    },
    async dispose() {
      for (const program of [reading, asking, aggregating, projecting, fastReading, telling]) await program.release();
      await face.dispose();
    },
  };
}
