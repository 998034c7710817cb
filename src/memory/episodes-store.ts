/**
 * Episodic memories under a ledger: keys and values as the bytes of float32 numbers, the routing latent behind the key.
 * The memories round what they are given before they add it (statistics.ts), so facts can be replayed in any order.
 */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import type { Episodes } from "./episodes.ts";
import type { Numbers } from "./matrix.ts";
import type { MemoryStore, PlacedFact, StoredFact } from "./memory-store.ts";

/** Float32 numbers of key and routing latent, one after another, as the ledger keeps them. */
export const packFloats = (...parts: readonly Numbers[]): Uint8Array => {
  const floats = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    floats.set(part, at);
    at += part.length;
  }
  return new Uint8Array(floats.buffer);
};

export const unpackFloats = (bytes: Uint8Array): Float32Array => new Float32Array(Uint8Array.from(bytes).buffer);

/** `slots`: numbers in a key. Bytes of a key past them are the routing latent; without them the key routes. */
export function createEpisodesStore(episodes: Episodes, { slots }: { readonly slots: number }): MemoryStore {
  const rows = (facts: readonly StoredFact[], part: (fact: StoredFact) => Float32Array): Float32Array => {
    const all = facts.map(part);
    const out = new Float32Array(all.reduce((sum, row) => sum + row.length, 0));
    let at = 0;
    for (const row of all) {
      out.set(row, at);
      at += row.length;
    }
    return out;
  };
  const floats = ({ fact, key }: StoredFact): Float32Array => {
    if (key.length % 4 === 0 && key.length >= 4 * slots) return unpackFloats(key);
    throw new UserError(
      `episodes: expected a key of ${slots} float32 numbers, got ${key.length} bytes in fact ${fact}; use the module ` +
        "that the fact was written with",
    );
  };
  const keysOf = (facts: readonly StoredFact[]) => rows(facts, (fact) => floats(fact).subarray(0, slots));
  const routesOf = (facts: readonly StoredFact[]) => rows(facts, (fact) => floats(fact).subarray(slots));
  const valuesOf = (facts: readonly StoredFact[]) => rows(facts, ({ value }) => unpackFloats(value));

  const write = (facts: readonly StoredFact[], memories?: readonly number[]): readonly number[] => {
    if (facts.length === 0) return [];
    const routes = routesOf(facts);
    return episodes
      .write(keysOf(facts), valuesOf(facts), {
        facts: facts.map(({ fact }) => fact),
        ...(routes.length > 0 && { routes }),
        ...(memories && { memories }),
      })
      .map(({ memory }) => memory);
  };
  const replay = (facts: readonly PlacedFact[]): void =>
    void write(
      facts,
      facts.map(({ placement }) => placement),
    );
  return {
    apply: (facts) => write(facts),
    replay,
    remove(facts) {
      let gone = 0;
      try {
        for (; gone < facts.length; gone++) {
          const one = facts.slice(gone, gone + 1);
          episodes.forget(one[0].fact, keysOf(one), valuesOf(one));
        }
      } catch (error) {
        replay(facts.slice(0, gone));
        throw error;
      }
    },
    snapshot: () => episodes.state(),
    restore: (state) => episodes.restore(state),
    fingerprint() {
      const { tensors } = episodes.state();
      const hash = createHash("sha256");
      // A memory that has become empty is as good as none
      const used = episodes.memories().flatMap((memory, i) => (memory.count() > 0 ? [i] : []));
      const names = used.flatMap((i) => ["c", "s", "energy"].map((name) => `memories.${i}.${name}`));
      for (const name of ["facts", "places", "routes", ...names]) {
        const { data } = tensors[name];
        hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
      return hash.digest("hex");
    },
  };
}
