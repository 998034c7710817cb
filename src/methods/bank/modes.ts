/** The modes of bank compression: what a document is kept as, and how many a question reads. */
import type { Codebook } from "../../memory/codebook.ts";
import { fullPrecision } from "../../memory/full-precision.ts";
import { type BankModule, codebookNames } from "./module.ts";

export const modeNames = ["mac", "mbc", "mbc-topk", "mbc-residual", "mbc-online"] as const;
export type ModeName = (typeof modeNames)[number];

export interface Mode {
  /** What an entry's numbers become; `depth`: of the residual codes. */
  codebook(module: BankModule, depth: number): Codebook;
  /** Entries that a question reads: the nearest by key; 0 for all. */
  readonly topK: number;
  /** Least cosine, by key, of a question that the bank is read for; -1 for every one, as published. */
  readonly threshold: number;
  /** Has residual codes, of which there may be fewer. */
  readonly isDeep?: boolean;
  /** Needs no fitted module: adapters and codebooks learn from the stream. */
  readonly online?: boolean;
}

/** Between questions about what is in a bank of a world (95% above) and about another world (85% below). */
const SCOPE = 0.4;

const dataOf = ({ weights }: BankModule, name: string): Float32Array => weights[name].data as Float32Array;

const single = (module: BankModule): Codebook => {
  const { shape, codes } = module.config;
  const data = dataOf(module, codebookNames.single);
  return { kind: "token", tokens: shape.slots, width: shape.width, codes, books: 1, data };
};

/** Several codes that add up, for each place of a slot. */
const residual: Mode = {
  codebook(module, depth) {
    const { shape, codes } = module.config;
    const width = shape.width / shape.places;
    const data = dataOf(module, codebookNames.residual).subarray(0, depth * codes * width);
    return { kind: "residual", tokens: shape.slots * shape.places, width, codes, books: depth, data };
  },
  topK: 4,
  threshold: SCOPE,
  isDeep: true,
};

export const modes: Readonly<Record<ModeName, Mode>> = {
  /** MAC (https://arxiv.org/abs/2403.04317): full precision. */
  mac: {
    codebook: ({ config: { shape } }) => fullPrecision(shape.slots, shape.width),
    topK: 0,
    threshold: -1,
  },
  /** As published: one code for a slot, the whole bank read. */
  mbc: { codebook: single, topK: 0, threshold: -1 },
  "mbc-topk": { codebook: single, topK: 4, threshold: SCOPE },
  "mbc-residual": residual,
  "mbc-online": { ...residual, online: true },
};
