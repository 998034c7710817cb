/**
 * Trains a byte-level BPE vocabulary (byte-pair encoding, Sennrich et al. 2016, arXiv 1508.07909; over bytes as in
 * GPT-2). Words are counted once; each merge then touches only the words that hold the merged pair, and a heap gives
 * the next most frequent pair. Ties go to the pair with the smaller ids, as in the Rust library `tokenizers`, whose
 * merges these are. Written here because that library's npm package exposes no configurable trainer.
 */
import { UserError } from "../errors.ts";
import { byteCharacters, wordPattern } from "./byte-level.ts";

/** What `tokenizer.json` holds for a byte-level BPE model. */
export interface TokenizerJson {
  readonly version: "1.0";
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: true }[];
  readonly model: {
    readonly type: "BPE";
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly string[];
    readonly [key: string]: unknown;
  };
  readonly [key: string]: unknown;
}

export interface TrainBpeOptions {
  /** Tokens in all: special tokens, 256 bytes, merges. Fewer come out when the texts have too few pairs. */
  vocabSize: number;
  /** They get the ids from 0 in this order. */
  specialTokens?: readonly string[];
  /** Pairs seen less often are not merged. */
  minFrequency?: number;
  /** Called after each text and each 256th merge. */
  onProgress?: (progress: { characters: number; merges: number }) => void;
}

/** Trains on texts as they come (one text never merges into the next) and returns the content of tokenizer.json. */
export async function trainBpe(
  texts: AsyncIterable<string> | Iterable<string>,
  { vocabSize, specialTokens = [], minFrequency = 2, onProgress }: TrainBpeOptions,
): Promise<TokenizerJson> {
  const smallest = specialTokens.length + 256;
  if (!Number.isInteger(vocabSize) || vocabSize < smallest || vocabSize > 1 << 24) {
    throw new UserError(
      `trainBpe: expected a vocabulary of ${smallest} (special tokens and bytes) to 2^24, got ${vocabSize}`,
    );
  }
  if (new Set(specialTokens).size !== specialTokens.length || specialTokens.includes("")) {
    throw new UserError(`trainBpe: expected distinct, non-empty special tokens, got ${specialTokens.join(", ")}`);
  }
  const counts = new Map<string, number>();
  let characters = 0;
  for await (const text of texts) {
    countWords(text, counts);
    characters += text.length;
    onProgress?.({ characters, merges: 0 });
  }
  if (counts.size === 0)
    throw new UserError("trainBpe: expected at least one non-empty text, got none; name another corpus");

  const tokens = [...specialTokens, ...[...byteCharacters].sort()];
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const byteIds = byteCharacters.map((character) => ids.get(character) as number);
  const words = [...counts].map(([word, count]) => ({
    ids: Array.from(Buffer.from(word), (byte) => byteIds[byte]),
    count,
  }));
  const merges: string[] = [];
  const table = pairTable(words);
  while (tokens.length < vocabSize) {
    const best = table.pop(minFrequency);
    if (best === undefined) break;
    const [left, right] = best;
    const token = tokens[left] + tokens[right];
    // Two merges may spell one token ("a"+"bc", "ab"+"c"): it keeps its id.
    let id = ids.get(token);
    if (id === undefined) {
      id = tokens.push(token) - 1;
      ids.set(token, id);
    }
    merges.push(`${tokens[left]} ${tokens[right]}`);
    table.merge(left, right, id);
    if (merges.length % 256 === 0) onProgress?.({ characters, merges: merges.length });
  }
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges,
    },
  };
}

/** Adds the words of `text` to `counts`; long texts a piece at a time, cut before a space, to bound the memory. */
function countWords(text: string, counts: Map<string, number>): void {
  const piece = 1 << 20;
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + piece, text.length);
    if (to < text.length) {
      const space = text.lastIndexOf(" ", to);
      // A piece without a space: cut anywhere, but not within a surrogate pair.
      if (space > from) to = space;
      else if ((text.charCodeAt(to) & 0xfc00) === 0xdc00) to--;
    }
    for (const word of text.slice(from, to).match(wordPattern) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
    from = to;
  }
}

interface Word {
  readonly ids: number[];
  readonly count: number;
}

/** Pairs are keyed by one number: ids are below 2^25, so that the key is exact and sorts like the pair. */
const stride = 2 ** 26;

/** How often each pair occurs, in which words, and which is the most frequent. */
function pairTable(words: readonly Word[]): {
  pop(minFrequency: number): readonly [number, number] | undefined;
  merge(left: number, right: number, id: number): void;
} {
  const counts = new Map<number, number>();
  const places = new Map<number, Set<number>>();
  const heap = pairHeap();

  const add = (key: number, word: number, count: number): void => {
    counts.set(key, (counts.get(key) ?? 0) + count);
    const at = places.get(key);
    if (at === undefined) places.set(key, new Set([word]));
    else at.add(word);
  };
  words.forEach(({ ids, count }, word) => {
    for (let i = 1; i < ids.length; i++) add(ids[i - 1] * stride + ids[i], word, count);
  });
  for (const [key, count] of counts) heap.push(key, count);

  /** The most frequent pair now. Heap entries may be stale: counts only fall, so a stale one is put back lower. */
  const pop = (minFrequency: number): readonly [number, number] | undefined => {
    for (let top = heap.pop(); top !== undefined; top = heap.pop()) {
      const count = counts.get(top.key) ?? 0;
      if (count < Math.max(1, minFrequency)) continue;
      if (count === top.count) return [Math.floor(top.key / stride), top.key % stride];
      heap.push(top.key, count);
    }
    return undefined;
  };

  const merge = (left: number, right: number, id: number): void => {
    const merged = left * stride + right;
    const touched = places.get(merged) ?? new Set<number>();
    places.delete(merged);
    const grown = new Set<number>();
    for (const word of touched) {
      const { ids, count } = words[word];
      let write = 0;
      for (let read = 0; read < ids.length; read++) {
        if (ids[read] !== left || ids[read + 1] !== right || read + 1 >= ids.length) {
          ids[write++] = ids[read];
          continue;
        }
        // (before, left, right, after) becomes (before, id, after).
        if (write > 0) {
          const before = ids[write - 1];
          lower(before * stride + left, count);
          add(before * stride + id, word, count);
          grown.add(before * stride + id);
        }
        if (read + 2 < ids.length) {
          const after = ids[read + 2];
          lower(right * stride + after, count);
          add(id * stride + after, word, count);
          grown.add(id * stride + after);
        }
        ids[write++] = id;
        read++;
      }
      ids.length = write;
    }
    counts.delete(merged);
    for (const key of grown) heap.push(key, counts.get(key) ?? 0);
  };

  const lower = (key: number, count: number): void => {
    const now = counts.get(key);
    if (now !== undefined) counts.set(key, now - count);
  };
  return { pop, merge };
}

/** A binary heap: highest count first, then smallest key. */
function pairHeap(): { push(key: number, count: number): void; pop(): { key: number; count: number } | undefined } {
  const entries: { key: number; count: number }[] = [];
  const before = (a: number, b: number): boolean =>
    entries[a].count > entries[b].count || (entries[a].count === entries[b].count && entries[a].key < entries[b].key);
  const swap = (a: number, b: number): void => {
    [entries[a], entries[b]] = [entries[b], entries[a]];
  };
  return {
    push(key, count) {
      let at = entries.push({ key, count }) - 1;
      for (let parent = (at - 1) >> 1; at > 0 && before(at, parent); parent = (at - 1) >> 1) {
        swap(at, parent);
        at = parent;
      }
    },
    pop() {
      if (entries.length === 0) return undefined;
      swap(0, entries.length - 1);
      const top = entries.pop();
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        const right = left + 1;
        let first = at;
        if (left < entries.length && before(left, first)) first = left;
        if (right < entries.length && before(right, first)) first = right;
        if (first === at) return top;
        swap(at, first);
        at = first;
      }
    },
  };
}
