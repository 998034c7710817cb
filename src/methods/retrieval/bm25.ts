/**
 * BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, Eq. 3.15), exact, over an inverted index:
 * score(q, d) = sum over terms t of q of idf(t) tf (k1 + 1) / (tf + k1 (1 - b + b dl / avdl)), dl in terms.
 * Differs: idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative (theirs, Eq. 3.3, is for frequent
 * terms). Terms are runs of letters and digits, lower case, without stemming or stop words.
 */

interface Found {
  /** The key under which it was added. */
  readonly key: number;
  /** Larger is better; over 0. */
  readonly score: number;
}

export interface Bm25 {
  /** Keys are numbers of the caller's choice, each added once. */
  add(key: number, text: string): void;
  remove(key: number): void;
  /** The k best that share a term with the query; of equals, the larger key. */
  search(query: string, k: number): Found[];
  /** 8 per posting (key and count), and the terms. */
  bytes(): number;
}

/** Lower-case runs of letters and digits. */
export const termsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];

export function createBm25({ k1 = 1.2, b = 0.75 }: { k1?: number; b?: number } = {}): Bm25 {
  /** term -> key -> how often. */
  const postings = new Map<string, Map<number, number>>();
  const lengths = new Map<number, number>();
  const termsByKey = new Map<number, string[]>();
  let total = 0;
  return {
    add(key, text) {
      const terms = termsOf(text);
      lengths.set(key, terms.length);
      total += terms.length;
      const distinct = [...new Set(terms)];
      termsByKey.set(key, distinct);
      for (const term of terms) {
        let posting = postings.get(term);
        if (!posting) postings.set(term, (posting = new Map()));
        posting.set(key, (posting.get(key) ?? 0) + 1);
      }
    },
    remove(key) {
      for (const term of termsByKey.get(key) ?? []) {
        const posting = postings.get(term);
        posting?.delete(key);
        if (posting?.size === 0) postings.delete(term);
      }
      total -= lengths.get(key) ?? 0;
      lengths.delete(key);
      termsByKey.delete(key);
    },
    search(query, k) {
      const count = lengths.size;
      const average = total / count;
      const scores = new Map<number, number>();
      for (const term of termsOf(query)) {
        const posting = postings.get(term);
        if (!posting) continue;
        const idf = Math.log(1 + (count - posting.size + 0.5) / (posting.size + 0.5));
        for (const [key, tf] of posting) {
          const length = lengths.get(key) as number;
          const gain = (idf * tf * (k1 + 1)) / (tf + k1 * (1 - b + (b * length) / average));
          scores.set(key, (scores.get(key) ?? 0) + gain);
        }
      }
      return [...scores]
        .map(([key, score]) => ({ key, score }))
        .sort((x, y) => y.score - x.score || y.key - x.key)
        .slice(0, k);
    },
    bytes() {
      let sum = 0;
      for (const [term, posting] of postings) sum += Buffer.byteLength(term) + 8 * posting.size;
      return sum;
    },
  };
}
