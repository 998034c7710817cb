/**
 * Keys of facts and of questions, by the three ways of addressing of Larimar (https://arxiv.org/abs/2403.11901, section
 * 3 and appendix E). "gaussian" (Eqs. 7-8, reference rows the written prompts, α -> 0): a question takes the key of the
 * fact whose prompt is nearest. "reference": keys through a random reference memory, w = e(prompt) R⁺. "memory":
 * Algorithm 1, w = z M⁺, which filters a latent and tells no facts apart.
 *
 * We differ in "gaussian": a row's key is not a unit vector but a random one of length one, drawn from the number of the
 * fact. It is the same key wherever the fact lies, any K of them are independent, and none needs to be kept.
 */
import { type Addressing, memoryAddressing, randomReference, referenceAddressing } from "../../memory/addressing.ts";
import type { EpisodicMemory } from "../../memory/episodic.ts";
import { packFloats, unpackFloats } from "../../memory/episodes-store.ts";
import { norm, type Numbers } from "../../memory/matrix.ts";
import { randomStream } from "../../tensor/random.ts";

export const addressings = ["gaussian", "reference", "memory"] as const;

/** Letters: K numbers in a key, C in a latent. */
export interface Keys {
  /** Does it need the latents of prompts? */
  readonly usesLatents: boolean;
  /** Bytes of a key that have to be kept. */
  readonly bytes: number;
  /** What is kept of the key of a fact whose prompt has this latent [C]. */
  keep(latent: Numbers): Uint8Array;
  /** The key of a written fact: from its number, what was kept, its value [C]. */
  written(fact: number, kept: Uint8Array, value: Float32Array): Float32Array;
  /** The key of a question with this latent that is about this fact; `memory` is the one that is read. */
  asked(fact: number, latent: Numbers, memory: EpisodicMemory): Float64Array;
  /** Keys of what was read, for reading again; undefined where that gives the same. */
  readonly again?: (memory: EpisodicMemory) => (latents: Numbers) => Float64Array;
}

/** A random key of length one, drawn from the number of a fact. */
function factKey(fact: number, slots: number): Float32Array {
  const key = randomStream(0, "larimar-key", String(fact)).fillNormal(new Float32Array(slots));
  const length = norm(Float64Array.from(key));
  return key.map((value) => value / length);
}

const nothing = new Uint8Array();

export function keysFor(kind: (typeof addressings)[number], slots: number, width: number): Keys {
  if (kind === "gaussian") {
    return {
      usesLatents: false,
      bytes: 0,
      keep: () => nothing,
      written: (fact) => factKey(fact, slots),
      asked: (fact) => Float64Array.from(factKey(fact, slots)),
    };
  }
  if (kind === "memory") {
    const addressing = (memory: EpisodicMemory): Addressing => memoryAddressing(memory.matrix());
    return {
      usesLatents: true,
      bytes: 0,
      keep: () => nothing,
      // W0 = Z M0⁺ with M0 = [I 0], as in the released configuration
      written: (_fact, _kept, value) => value.slice(0, slots),
      asked: (_fact, latent, memory) => addressing(memory).keys(latent),
      again: (memory) => addressing(memory).keys,
    };
  }
  let made: Addressing | undefined;
  // Inverting takes seconds at 512 by 768: only when it is asked for
  const reference = (): Addressing =>
    (made ??= referenceAddressing(randomReference(slots, width, randomStream(0, "larimar-reference"))));
  return {
    usesLatents: true,
    bytes: 4 * slots,
    keep: (latent) => packFloats(reference().keys(latent)),
    written: (_fact, kept) => unpackFloats(kept),
    asked: (_fact, latent) => reference().keys(latent),
    again: () => reference().keys,
  };
}
