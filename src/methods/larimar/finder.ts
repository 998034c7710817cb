/**
 * Which written fact is a text about? The one whose prompt, or another way to say it, is nearest by a sentence encoder;
 * of a text of several sentences the nearest one counts. Its cosine against a threshold is the scope detector.
 * Larimar, https://arxiv.org/abs/2403.11901, section 4 (external detector).
 */
import { createFactIndex } from "../../memory/fact-index.ts";

/** N texts -> [N, width], rows of length 1. */
export type EmbedTexts = (texts: readonly string[]) => Promise<Float32Array>;

interface FoundFact {
  readonly fact: number;
  readonly similarity: number;
}

export interface FactFinder {
  write(facts: readonly { readonly fact: number; readonly texts: readonly string[] }[]): Promise<void>;
  forget(fact: number): void;
  /** The nearest fact to each text; undefined while there is none. */
  find(texts: readonly string[]): Promise<(FoundFact | undefined)[]>;
  bytes(): number;
}

/** Whole text and its sentences, if there are several. */
function partsOf(text: string): string[] {
  const sentences = text.split(/(?<=[.!?]["'’”)]?)\s+/u).filter((part) => part.trim() !== "");
  return sentences.length > 1 ? [text, ...sentences] : [text.trim() === "" ? "?" : text];
}

export function createFactFinder(width: number, embed: EmbedTexts): FactFinder {
  const index = createFactIndex(width);
  /** Numbers of a fact's texts in the index. */
  const entries = new Map<number, number[]>();
  let next = 1;
  return {
    async write(facts) {
      const vectors = await embed(facts.flatMap(({ texts }) => texts));
      let at = 0;
      for (const { fact, texts } of facts) {
        const own = texts.map(() => {
          const entry = next++;
          index.add({ fact: entry, memory: fact, print: [0, 0] }, vectors.subarray(at * width, (at + 1) * width));
          at++;
          return entry;
        });
        entries.set(fact, own);
      }
    },
    forget(fact) {
      for (const entry of entries.get(fact) ?? []) index.remove(entry);
      entries.delete(fact);
    },
    async find(texts) {
      if (index.size() === 0) return texts.map(() => undefined);
      const parts = texts.map(partsOf);
      const vectors = await embed(parts.flat());
      let at = 0;
      return parts.map((own) => {
        let best: FoundFact | undefined;
        for (let i = 0; i < own.length; i++, at++) {
          const found = index.nearest(vectors.subarray(at * width, (at + 1) * width));
          if (found && found.similarity > (best?.similarity ?? -2))
            best = { fact: found.memory, similarity: found.similarity };
        }
        return best;
      });
    },
    bytes: () => index.bytes(),
  };
}
