/** Curves of bank compression: what looks at the codebooks see while a module is fitted, and what a bank holds. */
import { usesOfBooks } from "../../memory/codebook-usage.ts";
import type { EntryStore } from "../document-face.ts";
import type { Figures } from "../method.ts";
import type { Looked } from "./codebooks.ts";

const names = { used: "share of codes in use", perplexity: "perplexity of codes" } as const;

/** A line for each codebook: those of residual codes by their depth. */
const byBook = (values: readonly number[], { isDeep }: { readonly isDeep: boolean }): Record<string, number> =>
  Object.fromEntries(values.map((value, r) => [isDeep ? `depth ${r + 1}` : "one code for a slot", value]));

export function figuresOfLook({ single, residual }: Looked): Figures {
  const lines = (pick: (seen: Looked["single"]) => number): Record<string, number> => ({
    ...byBook([pick(single)], { isDeep: false }),
    ...byBook(residual.map(pick), { isDeep: true }),
  });
  return {
    "quantisation loss": lines(({ error }) => error),
    [names.used]: lines(({ used }) => used),
    [names.perplexity]: lines(({ perplexity }) => perplexity),
  };
}

/** A bank of so many bits; `version`: its newest codebook. */
export function figuresOfBank(
  bank: Pick<EntryStore, "documentCount" | "count" | "quantizer" | "histogram">,
  { version, bits }: { readonly version: number; readonly bits: number },
): Figures {
  const figures = {
    "in the bank": { documents: bank.documentCount(), entries: bank.count() },
    "MB of the bank": { "with its codebooks": bits / 8e6 },
  };
  const { codebook, bins } = bank.quantizer(version);
  // Full precision: no codes to count
  if (bins === 0) return figures;
  const uses = usesOfBooks(bank.histogram(version), codebook);
  const shape = { isDeep: codebook.kind === "residual" };
  return {
    ...figures,
    [names.used]: byBook(
      uses.map(({ dead }) => 1 - dead / codebook.codes),
      shape,
    ),
    [names.perplexity]: byBook(
      uses.map(({ perplexity }) => perplexity),
      shape,
    ),
  };
}
