/**
 * What a bank counts while entries come and go: for each codebook version how often each code is in use, which is all
 * that attention over the whole bank needs to know (a code's count is a bias of its logarithm), and the bits of every
 * part. Both are sums over the live entries, so taking one out leaves them as if it had never been there.
 */
import { internal } from "../errors.ts";
import type { EntryBits } from "./bank-entry.ts";
import { bookOf, type Quantizer } from "./codebook.ts";

export interface BankTally {
  /** Makes a version known. */
  open(version: number, quantizer: Quantizer): void;
  /** Adds (1) or takes out (-1) an entry; its indices matter only where the version has bins. */
  count(sign: 1 | -1, version: number, indices: Uint32Array, bits: EntryBits): void;
  /** How often each code is in use, [B, K]: the array itself, which changes as entries come and go. */
  histogram(version: number): Float64Array;
  /** Live entries, of one version or of all. */
  entries(version?: number): number;
  bits(): Readonly<EntryBits>;
}

export function createTally(): BankTally {
  const versions = new Map<number, { quantizer: Quantizer; counts: Float64Array; entries: number }>();
  const sums = { indices: 0, keys: 0, ids: 0, times: 0, all: 0 };
  const known = (version: number) => versions.get(version) ?? internal(`bank: no codebook ${version} to count`);
  return {
    open(version, quantizer) {
      versions.set(version, { quantizer, counts: new Float64Array(quantizer.bins), entries: 0 });
    },
    count(sign, version, indices, bits) {
      const one = known(version);
      const { bins, codebook } = one.quantizer;
      one.entries += sign;
      if (bins > 0) {
        for (let p = 0; p < indices.length; p++) one.counts[bookOf(codebook, p) * codebook.codes + indices[p]] += sign;
      }
      for (const part of Object.keys(sums) as (keyof EntryBits)[]) sums[part] += sign * bits[part];
    },
    histogram: (version) => known(version).counts,
    entries: (version) =>
      version === undefined
        ? [...versions.values()].reduce((sum, { entries }) => sum + entries, 0)
        : known(version).entries,
    bits: () => sums,
  };
}
