/**
 * A bank in RAM: what bank.ts keeps in a folder, bit for bit, for banks that live as long as a run. Keys and codebooks
 * are rounded as the disk would round them, so that a method answers alike whichever of the two it reads.
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { float16ToFloat32, float32ToFloat16 } from "../checkpoint/half.ts";
import { UserError } from "../errors.ts";
import { type HostTensor, sizeOf } from "../tensor/dtype.ts";
import { type BankContents, type BankEntries, checkLimit, countRecord, createBankEntries } from "./bank-entries.ts";
import { readHead } from "./bank-entry.ts";
import type { BankOptions } from "./bank-files.ts";
import { createBankIndex } from "./bank-index.ts";
import { type CodebookLine, type Manifest, manifestBytes, manifestOf } from "./bank-manifest.ts";
import { createTally } from "./bank-tally.ts";
import { type Codebook, storedCodebook } from "./codebook.ts";
import { type MemoryState, tensorOf } from "./packed.ts";
import { createQuantizer } from "./quantizers.ts";
import { createRecordArena } from "./record-arena.ts";
import { frameRecords, type Place } from "./record-log.ts";

export interface MemoryBank extends BankEntries {
  /** All entries and codebooks: the same for the same, whatever was in and went. Entries get new numbers with it. */
  state(): Promise<MemoryState>;
  /** Takes on a saved state of a bank of this module and these keys, or throws and stays as it is. */
  restore(state: MemoryState): Promise<void>;
}

const nameOf = (version: number): string => `codebook-${version}`;

/** The numbers of a codebook as a tensor, and the line that stands for them in the settings. */
function pack(version: number, codebook: Codebook, bits: 16 | 32): { line: CodebookLine; tensor: HostTensor } {
  const { kind, tokens, width, codes, books } = codebook;
  const shape = [books, codes, width];
  const tensor: HostTensor =
    bits === 16
      ? { dtype: "float16", shape, data: float32ToFloat16(codebook.data) }
      : { dtype: "float32", shape, data: codebook.data };
  const line = { version, kind, tokens, width, codes, books, bits, sha256: "" };
  return { line: { ...line, sha256: hashOf(tensor) }, tensor };
}

/** "" where there are no numbers. */
function hashOf({ data }: HostTensor): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return bytes.length === 0 ? "" : createHash("sha256").update(bytes).digest("hex");
}

/** The codebook of a line out of a state. */
function unpack(state: MemoryState, line: CodebookLine): Codebook {
  const { kind, tokens, width, codes, books, bits, version } = line;
  const shape = [books, codes, width];
  if (sizeOf(shape) === 0) return { kind, tokens, width, codes, books, data: new Float32Array() };
  const tensor = tensorOf(state, nameOf(version), bits === 16 ? "float16" : "float32", shape);
  if (hashOf(tensor) !== line.sha256) {
    throw new UserError(
      `memoryBank.restore: expected the numbers of codebook ${version}, got others; the file is damaged`,
    );
  }
  const data =
    tensor.dtype === "float16" ? float16ToFloat32(Uint16Array.from(tensor.data)) : Float32Array.from(tensor.data);
  return { kind, tokens, width, codes, books, data };
}

/** An empty bank in RAM. `slack`: dead bytes beyond the live ones from which on they are given back. */
export function createMemoryBank({
  module = "",
  keys = { width: 0, bits: 8 },
  limit,
  slack = 1 << 20,
}: Pick<BankOptions, "module" | "keys" | "limit" | "slack"> = {}): MemoryBank {
  checkLimit("createMemoryBank", limit);
  const empty = (): BankContents => ({ index: createBankIndex(), tally: createTally(), quantizers: new Map() });
  const contents = empty();
  let arena = createRecordArena();
  let manifest: Manifest = {
    format: 1,
    module,
    keys: { ...keys },
    nextVersion: 1,
    codebooks: [],
    sealed: { generation: 0, bytes: 0 },
  };

  const {
    exclusive,
    rewrite,
    unused,
    size,
    readLive: _,
    ...entries
  } = createBankEntries({
    module,
    keys,
    name: "the bank in RAM",
    contents,
    limit,
    slack,
    notices: [],
    records: {
      name: "the bank in RAM",
      bytes: () => arena.bytes(),
      // Nothing will be read again that could need to know what was deleted
      append: async (_, bodies) => arena.append(bodies),
      read: async (places) => arena.read(places),
      async renew(groups) {
        const next = createRecordArena();
        const places: Place[] = [];
        for await (const group of groups) for (const place of next.append(group)) places.push(place);
        arena = next;
        return places;
      },
    },
  });

  /** The bytes of all live entries, the records of a document as one write. */
  const liveBytes = (): Uint8Array => {
    const { index } = contents;
    const places = (document: string) => index.numbersOf(document).map((number) => index.placeOf(number) as Place);
    const parts: Uint8Array[] = [];
    for (const document of index.documents()) {
      for (const record of frameRecords(arena.read(places(document)).map(({ body }) => body))) parts.push(record);
    }
    return new Uint8Array(Buffer.concat(parts));
  };

  return {
    ...entries,
    versions: () => manifest.codebooks.map(({ version }) => version),

    addCodebook: (codebook, { bits = 16 } = {}) =>
      exclusive(async () => {
        createQuantizer(codebook); // refuses what no quantiser can use
        const { codebooks, nextVersion } = manifest;
        const stored = storedCodebook(codebook, bits);
        const { line } = pack(nextVersion, stored, bits);
        const same = codebooks.find((one) => isDeepStrictEqual({ ...one, version: nextVersion }, line));
        if (same) return same.version;
        const quantizer = createQuantizer(stored);
        manifest = { ...manifest, nextVersion: nextVersion + 1, codebooks: [...codebooks, line] };
        contents.quantizers.set(nextVersion, quantizer);
        contents.tally.open(nextVersion, quantizer);
        return nextVersion;
      }),

    size: () =>
      exclusive(async () =>
        size(
          8 * manifestBytes(manifest),
          manifest.codebooks.map(({ version, books, codes, width, bits }) => ({
            version,
            bits: bits * sizeOf([books, codes, width]),
          })),
        ),
      ),

    compact: (options) =>
      exclusive(async () => {
        await rewrite(options);
        const versions = new Set(unused());
        manifest = { ...manifest, codebooks: manifest.codebooks.filter(({ version }) => !versions.has(version)) };
        for (const version of versions) contents.quantizers.delete(version);
      }),

    state: () =>
      exclusive(async () => {
        const data = liveBytes();
        const tensors: Record<string, HostTensor> = { records: { dtype: "uint8", shape: [data.length], data } };
        for (const { version, bits } of manifest.codebooks) {
          const { codebook } = entries.quantizer(version);
          if (codebook.data.length > 0) tensors[nameOf(version)] = pack(version, codebook, bits).tensor;
        }
        return { tensors, json: { ...manifest, sealed: { generation: 0, bytes: data.length } } };
      }),

    restore: (state) =>
      exclusive(async () => {
        const found = manifestOf(state.json);
        if (!found) {
          throw new UserError("memoryBank.restore: expected the settings of a bank, got others; the file is damaged");
        }
        if (found.module !== module || !isDeepStrictEqual(found.keys, manifest.keys)) {
          throw new UserError(
            `memoryBank.restore: expected a bank of module "${module}" with keys of ${keys.width} numbers of ` +
              `${keys.bits} bits, got "${found.module}", ${found.keys.width} and ${found.keys.bits}; open it with its own module`,
          );
        }
        const next = empty();
        for (const line of found.codebooks) {
          const quantizer = createQuantizer(unpack(state, line));
          next.quantizers.set(line.version, quantizer);
          next.tally.open(line.version, quantizer);
        }
        const { data } = tensorOf(state, "records", "uint8", [found.sealed.bytes]);
        const nextArena = createRecordArena(data);
        let last: string | undefined;
        for (const record of nextArena.scan()) {
          countRecord(next, keys, record, 1, { who: "memoryBank.restore", name: "the state" });
          const document = readHead(record.body)?.document ?? "";
          if (document !== last && next.index.numbersOf(document).length > 0) {
            throw new UserError(
              `memoryBank.restore: expected the entries of "${document}" side by side, got others between; the file is damaged`,
            );
          }
          next.index.add((last = document), record);
        }
        Object.assign(contents, next);
        arena = nextArena;
        // As before it was saved: the bytes of the records stand in a state alone
        manifest = { ...found, sealed: { generation: 0, bytes: 0 } };
      }),
  };
}
