/**
 * What Larimar keeps of its facts: episodic memories of keys and values, and the vectors by which questions find a fact.
 * As bytes, a fact's key is what addressing has to keep of it, then one vector for each of its texts in float16; its
 * value is the latent in float32. With them alone the memory can be filled again, so forgetting needs no model.
 */
import { createHash } from "node:crypto";
import { float16ToFloat32, float32ToFloat16 } from "../../checkpoint/half.ts";
import { UserError } from "../../errors.ts";
import { createEpisodes, type Episodes } from "../../memory/episodes.ts";
import { createEpisodesStore, packFloats, unpackFloats } from "../../memory/episodes-store.ts";
import type { Numbers } from "../../memory/matrix.ts";
import type { MemoryStore, PlacedFact, StoredFact } from "../../memory/memory-store.ts";
import { type MemoryState, underPrefix, withPrefix } from "../../memory/packed.ts";
import { createVectorStore, type VectorStore } from "../../memory/vector-store.ts";
import type { EncodedFact } from "../fact-face.ts";
import { type addressings, type Keys, keysFor } from "./addressing.ts";

export interface LarimarStoreOptions {
  /** K and C. */
  readonly slots: number;
  readonly width: number;
  /** Numbers in a vector of a text. */
  readonly textWidth: number;
  readonly addressing: (typeof addressings)[number];
  readonly ridge: number;
  readonly growth: boolean;
  /** Facts to a memory. Default: as createEpisodes has it. */
  readonly perMemory?: number;
}

export interface LarimarStore extends MemoryStore {
  readonly keys: Keys;
  readonly episodes: Episodes;
  readonly vectors: VectorStore;
  /** A fact as bytes: latents of its prompt and of itself, vectors of its texts. */
  pack(fact: { readonly prompt: Numbers; readonly value: Numbers; readonly texts: Numbers }): EncodedFact;
  bytes(): number;
}

const packHalves = (numbers: Numbers): Uint8Array =>
  new Uint8Array(float32ToFloat16(Float32Array.from(numbers)).buffer);
const unpackHalves = (bytes: Uint8Array): Float32Array =>
  float16ToFloat32(new Uint16Array(Uint8Array.from(bytes).buffer));

const part = ({ tensors, json }: MemoryState, name: string): MemoryState => ({
  tensors: underPrefix(`${name}.`, tensors),
  json: (json[name] ?? {}) as MemoryState["json"],
});

/** An empty store. */
export function createLarimarStore(options: LarimarStoreOptions): LarimarStore {
  const { slots, width, textWidth, addressing, ridge, growth, perMemory } = options;
  const keys = keysFor(addressing, slots, width);
  const episodes = createEpisodes({ slots, width, ridge, growth, limit: perMemory, routeWidth: 0 });
  const inner = createEpisodesStore(episodes, { slots });
  const vectors = createVectorStore(textWidth);

  const opened = ({ fact, key, value }: StoredFact): StoredFact => {
    const texts = key.length - keys.bytes;
    if (value.length !== 4 * width || texts <= 0 || texts % (2 * textWidth) !== 0) {
      throw new UserError(
        `larimar: expected a fact with a value of ${4 * width} bytes and texts of ${2 * textWidth} each, got ` +
          `${value.length} and ${texts} in fact ${fact}; use the module and the encoder that it was written with`,
      );
    }
    const own = keys.written(fact, key.subarray(0, keys.bytes), unpackFloats(value));
    return { fact, key: packFloats(own), value };
  };
  const placed = (facts: readonly PlacedFact[]): PlacedFact[] =>
    facts.map((fact) => ({ ...opened(fact), placement: fact.placement }));
  const textsOf = ({ key }: StoredFact): Float32Array => unpackHalves(key.subarray(keys.bytes));

  /** Puts facts into the memories by `work`, and their texts in; all or none. */
  const put = <T>(facts: readonly StoredFact[], work: () => T, undo: (done: T) => void): T => {
    const texts = facts.map(textsOf);
    const done = work();
    const added: number[] = [];
    try {
      for (const [i, { fact }] of facts.entries()) {
        vectors.add(fact, texts[i]);
        added.push(fact);
      }
    } catch (error) {
      for (const fact of added) vectors.remove(fact);
      undo(done);
      throw error;
    }
    return done;
  };

  return {
    keys,
    episodes,
    vectors,
    pack: ({ prompt, value, texts }) => ({
      key: Buffer.concat([keys.keep(prompt), packHalves(texts)]),
      value: packFloats(value),
    }),
    apply(facts) {
      const own = facts.map(opened);
      const places = (numbers: readonly number[]): PlacedFact[] =>
        own.map((fact, i) => ({ ...fact, placement: numbers[i] }));
      return put(
        facts,
        () => inner.apply(own),
        (numbers) => inner.remove(places(numbers)),
      );
    },
    replay(facts) {
      const own = placed(facts);
      put(
        facts,
        () => inner.replay(own),
        () => inner.remove(own),
      );
    },
    remove(facts) {
      inner.remove(placed(facts));
      for (const { fact } of facts) vectors.remove(fact);
    },
    snapshot() {
      const [own, texts] = [inner.snapshot(), vectors.state()];
      return {
        tensors: { ...withPrefix("episodes.", own.tensors), ...withPrefix("texts.", texts.tensors) },
        json: { episodes: own.json, texts: texts.json },
      };
    },
    restore(state) {
      const [before, textsBefore] = [inner.snapshot(), vectors.state()];
      try {
        inner.restore(part(state, "episodes"));
        vectors.restore(part(state, "texts"));
        const facts = vectors.facts();
        if (facts.length !== episodes.count() || facts.some((fact) => episodes.memoryOf(fact) === undefined)) {
          throw new UserError("larimar: expected texts of each fact in the memories, got others; the file is damaged");
        }
      } catch (error) {
        inner.restore(before);
        vectors.restore(textsBefore);
        throw error;
      }
    },
    fingerprint() {
      const hash = createHash("sha256").update(inner.fingerprint());
      for (const [name, { data }] of Object.entries(vectors.state().tensors)) {
        hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
      return hash.digest("hex");
    },
    bytes: () => episodes.bytes() + vectors.bytes(),
  };
}
