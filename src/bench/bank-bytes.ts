/**
 * Bytes of a bank by part, for every mode, beside the full precision of MAC; and what the same code would need at the
 * widths of the papers. Entries of one mode are of one length, so a few of them, in a real bank, tell about any number.
 */
import { createMemoryBank } from "../memory/memory-bank.ts";
import { type BankModule, codebookNames, loadModule } from "../methods/bank/module.ts";
import { type ModeName, modes } from "../methods/bank/modes.ts";
import { loadModel } from "../models/load.ts";
import { createRuntime } from "../runtime/runtime.ts";
import { float32Host, sizeOf } from "../tensor/dtype.ts";
import type { KeyFormat } from "../memory/bank.ts";
import { fittedModes, ofBankModule, openMethod } from "./bank-module.ts";

const DOCUMENTS = 10_000;
/** Entries that are really written. */
const WRITTEN = 4;
/** D and T of the papers' banks: DistilGPT2, GPT2-Large, GPT2-XL, LLaMA-2; and a narrow and a wide one between. */
const PAPERS = [
  [768, 12],
  [1024, 12],
  [1280, 24],
  [1600, 24],
  [4096, 24],
] as const;

/** Bytes of each part. */
interface Parts {
  readonly indices: number;
  readonly keys: number;
  readonly ids: number;
  readonly times: number;
  readonly frames: number;
  readonly settings: number;
  readonly codebooks: number;
  readonly total: number;
}

/** What a bank of so many documents weighs, an entry each. */
async function partsOf(module: BankModule, kind: ModeName, depth: number, keys: KeyFormat): Promise<Parts> {
  const bank = createMemoryBank({ module: "0".repeat(64), keys });
  const version = await bank.addCodebook(modes[kind].codebook(module, depth));
  const { positions } = bank.quantizer(version);
  await bank.append(
    Array.from({ length: WRITTEN }, (_, i) => ({
      document: `981/person-${100 + i}`,
      time: 0,
      key: new Float32Array(keys.width),
      version,
      indices: new Uint32Array(positions),
    })),
  );
  const { indices, keys: keyBits, ids, times, frames, settings, codebooks } = await bank.size();
  const all = (bits: number): number => (bits / 8 / WRITTEN) * DOCUMENTS;
  const parts = {
    indices: all(indices),
    keys: all(keyBits),
    ids: all(ids),
    times: all(times),
    frames: all(frames),
    settings: settings / 8,
    codebooks: codebooks.reduce((sum, { bits }) => sum + bits, 0) / 8,
  };
  return { ...parts, total: Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

/** A module of these sizes, as far as a bank needs it. */
function sizedModule(module: BankModule, width: number, slots: number): BankModule {
  const { config } = module;
  const { codes, depth, shape } = config;
  const zeros = (dims: number[]) => float32Host(dims, new Float32Array(sizeOf(dims)));
  return {
    ...module,
    config: { ...config, shape: { ...shape, width, slots } },
    weights: {
      [codebookNames.single]: zeros([codes, width]),
      [codebookNames.residual]: zeros([depth, codes, width / shape.places]),
    },
  };
}

interface Row {
  readonly kind: ModeName;
  readonly depth?: number;
  readonly perDocument: number;
  /** Of the bank in full precision with the same keys. */
  readonly share: number;
  readonly bytes: Parts;
}

/** Every mode of a module, and every depth of residual codes. */
async function rowsOf(module: BankModule, keys: KeyFormat): Promise<Row[]> {
  const full = (await partsOf(module, "mac", 1, keys)).total;
  const deepest = module.config.depth;
  const rows: Row[] = [];
  for (const kind of fittedModes) {
    // Only residual codes differ by depth
    const { books } = modes[kind].codebook(module, deepest);
    const depths = books > 1 ? Array.from({ length: deepest }, (_, i) => i + 1) : [undefined];
    for (const depth of depths) {
      const bytes = await partsOf(module, kind, depth ?? 1, keys);
      rows.push({
        kind,
        ...(depth !== undefined && { depth }),
        perDocument: bytes.total / DOCUMENTS,
        share: bytes.total / full,
        bytes,
      });
    }
  }
  return rows;
}

/** `value`: all bytes of the deepest residual codes over all bytes of full precision, at 10,000 documents. */
export const bytes = ofBankModule(async (folder, { model }) => {
  const base = await loadModel(model);
  const module = await loadModule(base, folder);
  const runtime = createRuntime();
  const { method, face } = await openMethod(base, { module: folder, kind: "mbc-residual", runtime });
  try {
    const keys = { ...face.bank.keys };
    const { width, slots, places } = module.config.shape;
    const kinds = await rowsOf(module, keys);
    const papers = [];
    for (const [D, T] of PAPERS) {
      if (D % places !== 0) continue;
      papers.push({ width: D, slots: T, kinds: await rowsOf(sizedModule(module, D, T), keys) });
    }
    return {
      value: kinds[kinds.length - 1].share,
      documents: DOCUMENTS,
      width,
      slots,
      keys,
      moduleBytes: Object.values(module.weights).reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0),
      kinds,
      papers,
    };
  } finally {
    await method.dispose();
    await runtime.dispose();
  }
});
