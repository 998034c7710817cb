/**
 * Keys of facts and of questions, by the three ways of addressing of Larimar (https://arxiv.org/abs/2403.11901, section
 * 3 and appendix E). "gaussian" (Eqs. 7-8, reference rows the written prompts, α -> 0): a question takes the key of the
 * fact whose prompt is nearest. "reference": keys through a random reference memory, w = e(prompt) R⁺. "memory":
 * Algorithm 1, w = z M⁺, which filters a latent and tells no facts apart.
 *
 * We differ in "gaussian": a row's key is not a unit vector but a random one of length one, drawn from the prompt. It is
 * the same key wherever the fact lies, and any K of them are independent.
 */
import { type Addressing, memoryAddressing, randomReference, referenceAddressing } from "../../memory/addressing.ts";
import type { EpisodicMemory } from "../../memory/episodic.ts";
import { norm, type Numbers } from "../../memory/matrix.ts";
import { randomStream } from "../../tensor/random.ts";

export const addressings = ["gaussian", "reference", "memory"] as const;

/** A fact or a question, as keys are made of it. */
interface Addressed {
  /** The prompt; of a question, that of the nearest fact. */
  readonly prompt: string;
  /** Latent of the prompt [C]; of a fact's value in `written`. */
  readonly latent: Numbers;
  readonly value?: Numbers;
}

export interface Keys {
  /** Does it need the latents of prompts? */
  readonly usesLatents: boolean;
  written(fact: Addressed): Float32Array;
  /** `memory` is the one that is read. */
  asked(question: Addressed, memory: EpisodicMemory): Float64Array;
  /** Keys of what was read, for reading again; undefined where that gives the same. */
  readonly again?: (memory: EpisodicMemory) => (latents: Numbers) => Float64Array;
}

/** A random key of length one, drawn from a prompt. */
function promptKey(prompt: string, slots: number): Float32Array {
  const key = randomStream(0, "larimar-key", prompt).fillNormal(new Float32Array(slots));
  const length = norm(Float64Array.from(key));
  return key.map((value) => value / length);
}

export function keysFor(kind: (typeof addressings)[number], slots: number, width: number): Keys {
  if (kind === "gaussian") {
    return {
      usesLatents: false,
      written: ({ prompt }) => promptKey(prompt, slots),
      asked: ({ prompt }) => Float64Array.from(promptKey(prompt, slots)),
    };
  }
  if (kind === "memory") {
    const addressing = (memory: EpisodicMemory): Addressing => memoryAddressing(memory.matrix());
    return {
      usesLatents: true,
      // W0 = Z M0⁺ with M0 = [I 0], as in the released configuration
      written: ({ value = [] }) => Float32Array.from(value).slice(0, slots),
      asked: ({ latent }, memory) => addressing(memory).keys(latent),
      again: (memory) => addressing(memory).keys,
    };
  }
  let made: Addressing | undefined;
  // Inverting takes seconds at 512 by 768: only when it is asked for
  const reference = (): Addressing =>
    (made ??= referenceAddressing(randomReference(slots, width, randomStream(0, "larimar-reference"))));
  return {
    usesLatents: true,
    written: ({ latent }) => Float32Array.from(reference().keys(latent)),
    asked: ({ latent }) => reference().keys(latent),
    again: () => reference().keys,
  };
}
