/**
 * What a bank counts while entries come and go: for each codebook version how often each code is in use at each position
 * of an entry, which is all that attention over the whole bank needs to know (a code's count is a bias of its logarithm),
 * and the bits of every part. Both are sums over the live entries, so taking one out leaves them as if it had never been
 * there.
 */
import { internal } from "../errors.ts";
import type { EntryBits } from "./bank-entry.ts";
import { bookOf, type Quantizer } from "./codebook.ts";

export interface HistogramOptions {
  /** Tells the positions of an entry apart, such as its tokens; without it those that share a codebook are summed. */
  readonly byPosition?: boolean;
}

export interface BankTally {
  /** Makes a version known. */
  open(version: number, quantizer: Quantizer): void;
  /** Adds (1) or takes out (-1) an entry; its indices matter only where the version has bins. */
  count(sign: 1 | -1, version: number, indices: Uint32Array, bits: EntryBits): void;
  /** How often each code is in use, [B, K], or at each position of an entry, [positions, K]: a copy. */
  histogram(version: number, options?: HistogramOptions): Float64Array;
  /** Live entries, of one version or of all. */
  entries(version?: number): number;
  bits(): Readonly<EntryBits>;
}

export function createTally(): BankTally {
  // By position alone: the histogram is its sum, and a copy of that costs the same however many entries there are
  const versions = new Map<number, { quantizer: Quantizer; counts: Uint32Array; entries: number }>();
  const sums = { indices: 0, keys: 0, ids: 0, times: 0, all: 0 };
  const known = (version: number) => versions.get(version) ?? internal(`bank: no codebook ${version} to count`);
  return {
    open(version, quantizer) {
      const { bins, positions, codebook } = quantizer;
      const counts = new Uint32Array(bins > 0 ? positions * codebook.codes : 0);
      versions.set(version, { quantizer, counts, entries: 0 });
    },
    count(sign, version, indices, bits) {
      const one = known(version);
      const { bins, codebook } = one.quantizer;
      one.entries += sign;
      if (bins > 0) for (let p = 0; p < indices.length; p++) one.counts[p * codebook.codes + indices[p]] += sign;
      for (const part of Object.keys(sums) as (keyof EntryBits)[]) sums[part] += sign * bits[part];
    },
    histogram(version, { byPosition = false } = {}) {
      const { quantizer, counts } = known(version);
      if (byPosition) return Float64Array.from(counts);
      const { bins, positions, codebook } = quantizer;
      const histogram = new Float64Array(bins);
      for (let p = 0; bins > 0 && p < positions; p++) {
        const [from, to] = [p * codebook.codes, bookOf(codebook, p) * codebook.codes];
        for (let code = 0; code < codebook.codes; code++) histogram[to + code] += counts[from + code];
      }
      return histogram;
    },
    entries: (version) =>
      version === undefined
        ? [...versions.values()].reduce((sum, { entries }) => sum + entries, 0)
        : known(version).entries,
    bits: () => sums,
  };
}
