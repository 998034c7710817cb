/**
 * A module of Larimar at work on its base: texts to latents, latents to answers. Everything is compiled on first use.
 */
import { UserError } from "../../errors.ts";
import { type Condition, slotConditions } from "../../models/condition.ts";
import { lazyProgram } from "../../models/instance.ts";
import type { LoadedModel } from "../../models/load.ts";
import { paramsOf, weightInputs } from "../../nn/params.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import type { EncodeOptions } from "../fact-face.ts";
import { languageFace, type LanguageFace } from "../language.ts";
import { adaptersOf, decoderModel, type LarimarModule } from "./module.ts";
import { conditionsOf, latentsOf } from "./nets.ts";

/** A text with its answer: tokens, of which the first `before` are the prompt (all where no answer is marked). */
export interface MarkedText {
  readonly ids: readonly number[];
  readonly before: number;
}

export interface Reader {
  /** e: N texts -> [N, C], each of length sqrt(C). */
  latents(texts: readonly MarkedText[], options?: EncodeOptions): Promise<Float32Array>;
  /** What N latents tell the decoder; of zeros nothing, in the joint variant its path without memory. */
  conditions(latents: Float32Array): Promise<Condition[]>;
  /** The decoder that is told conditions. */
  readonly face: LanguageFace;
  dispose(): Promise<void>;
}

/** Texts in one run. */
const AT_ONCE = 64;

export interface ReaderOptions {
  readonly runtime: Runtime;
  readonly base: LoadedModel;
  readonly module: LarimarModule;
  /** false while the module is being fitted: then every change shows at once. */
  readonly frozen?: boolean;
}

export function createReader({ runtime, base, module, frozen = true }: ReaderOptions): Reader {
  const { config, weights: own } = module;
  const { definition, geometry } = base;
  const { latent } = config;
  const weights: Readonly<Record<string, HostTensor>> = { ...base.weights, ...own };
  const C = latent.width;
  const params = () =>
    paramsOf(
      weightInputs(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape]))),
      adaptersOf(config),
    );
  const compiled = (outputs: () => Record<string, Tensor>) =>
    lazyProgram(runtime, outputs, { weights, frozen, spin: false });
  const encoding = compiled(() => {
    const p = params();
    const ids = input("ids", "int32", ["B", "T"]);
    const words = definition.forward(p, base.config, { ids }).hidden[0];
    const [offsets, mask] = ["offsets", "mask"].map((name) => input(name, "int32", ["B", "T"]));
    return { latents: latentsOf(p, latent, { words, offsets, mask }) };
  });
  const telling = compiled(() => ({
    ...conditionsOf(params(), latent, geometry, input("latents", "float32", ["B", C])),
  }));
  const face = languageFace({
    runtime,
    model: decoderModel(base, module),
    tokenizer: base.tokenizer,
    eosIds: base.eosIds,
    frozen,
    conditioned: slotConditions,
  });

  const encode = async (texts: readonly MarkedText[]): Promise<Float32Array> => {
    const T = Math.max(...texts.map(({ ids }) => ids.length));
    const shape = [texts.length, T];
    const [ids, offsets, mask] = Array.from({ length: 3 }, () => new Int32Array(texts.length * T));
    for (const [b, text] of texts.entries()) {
      ids.set(text.ids, b * T);
      mask.fill(1, b * T, b * T + text.ids.length);
      for (let t = text.before; t < text.ids.length; t++) offsets[b * T + t] = t - text.before + 1;
    }
    const found = await encoding.run({
      ids: int32Host(shape, ids),
      offsets: int32Host(shape, offsets),
      mask: int32Host(shape, mask),
    });
    return found.latents.data as Float32Array;
  };

  return {
    face,
    async latents(texts, { nameOf = (i: number) => `fact ${i + 1}`, signal, onProgress } = {}) {
      for (const [i, { ids }] of texts.entries()) {
        if (ids.length > 0 && ids.length <= latent.encoderContext) continue;
        throw new UserError(
          `larimar: expected a fact of 1 to ${latent.encoderContext} tokens, got ${ids.length} in ${nameOf(i)}; ` +
            "shorten its prompt or its answer",
        );
      }
      const all = new Float32Array(texts.length * C);
      for (let start = 0; start < texts.length; start += AT_ONCE) {
        signal?.throwIfAborted();
        all.set(await encode(texts.slice(start, start + AT_ONCE)), start * C);
        onProgress?.(Math.min(start + AT_ONCE, texts.length), texts.length);
      }
      const wrong = all.findIndex((value) => !Number.isFinite(value));
      if (wrong >= 0)
        throw new UserError(
          `larimar: expected finite latents, got ${all[wrong]} for ${nameOf(Math.floor(wrong / C))}; the module is ` +
            "damaged, fit it again",
        );
      return all;
    },
    async conditions(latents) {
      const N = latents.length / C;
      const { slots, added } = await telling.run({ latents: float32Host([N, C], latents) });
      const part = ({ data }: HostTensor, i: number): Float32Array =>
        (data as Float32Array).slice((i * data.length) / N, ((i + 1) * data.length) / N);
      return Array.from({ length: N }, (_, i) => ({ slots: part(slots, i), added: part(added, i) }));
    },
    async dispose() {
      await encoding.release();
      await telling.release();
      await face.dispose();
    },
  };
}
