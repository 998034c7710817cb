/** The bank by hand: entries, codebook versions, histogram, bytes, limits, damage, bad input. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../tests/support/close.ts";
import { folderBytes } from "../../tests/support/bank-script.ts";
import { onFullDisk } from "../../tests/support/full-disk.ts";
import { randomStream } from "../tensor/random.ts";
import { type Bank, type BankEntry, type BankOptions, openBank, recoverBank } from "./bank.ts";
import type { Codebook } from "./codebook.ts";
import { fullPrecision } from "./full-precision.ts";
import { logHeaderBytes } from "./record-log.ts";

const root = mkdtempSync(join(tmpdir(), "mneme-bank-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = (): string => join(root, `${++folders}`);

const [T, D, K] = [4, 3, 6];
const options: BankOptions = { module: "m1", keys: { width: 3, bits: 16 }, durability: "process" };
const codebookOf = (seed: number, over: Partial<Codebook> = {}): Codebook => {
  const shape = { kind: "token", tokens: T, width: D, codes: K, books: 1, ...over } as const;
  const data = randomStream(seed, "codebook").fillNormal(new Float32Array(shape.books * shape.codes * shape.width));
  return { ...shape, data, ...over };
};
const entryOf = (document: string, over: Partial<BankEntry> = {}): BankEntry => {
  const random = randomStream(1, document);
  const indices = Uint32Array.from({ length: T }, () => random.integer(K));
  const key = Float32Array.of(1, -0.5, 0.25);
  return { document, time: random.integer(1000) - 500, key, version: 1, indices, ...over };
};

async function bankWith(folder: string, documents: readonly string[], more: BankOptions = {}): Promise<Bank> {
  const bank = await openBank(folder, { ...options, ...more });
  await bank.addCodebook(codebookOf(1));
  for (const document of documents) await bank.append([entryOf(document)]);
  return bank;
}

async function all(bank: Bank, size = 3): Promise<BankEntry[]> {
  const found: BankEntry[] = [];
  for await (const page of bank.pages({ size })) {
    for (const { number, ...entry } of page) {
      expect(bank.numbersOf(entry.document)).toContain(number);
      found.push(entry);
    }
  }
  return found;
}

const countsOf = (entries: readonly BankEntry[], bins = K): number[] => {
  const counts = Array.from({ length: bins }, () => 0);
  for (const { indices } of entries) for (const index of indices) counts[index]++;
  return counts;
};

test("entries come back as they were, after opening again too", async () => {
  const folder = newFolder();
  const names = ["first", "zweiter ö", "三", "\u{FEFF}bom"];
  let bank = await bankWith(folder, names);
  await bank.append([entryOf("chunks", { time: 2 ** 51 }), entryOf("other"), entryOf("chunks", { time: -(2 ** 51) })]);
  const want = [...names, "chunks"].map((name) => entryOf(name));
  want[4] = { ...want[4], time: 2 ** 51 };
  want.push({ ...want[4], time: -(2 ** 51) }, entryOf("other"));
  for (const again of [false, true]) {
    if (again) {
      await bank.close();
      bank = await openBank(folder, options);
    }
    expect(await all(bank)).toEqual(want);
    expect(bank.count()).toBe(7);
    expect([...bank.documents()]).toEqual([...names, "chunks", "other"]);
    expect([...bank.histogram(1)]).toEqual(countsOf(want));
    expect(bank.numbersOf("chunks")).toEqual([4, 5]);
    expect((await bank.read([5, 0])).map(({ number, document }) => [number, document])).toEqual([
      [5, "chunks"],
      [0, "first"],
    ]);
    expect(bank.notices()).toEqual([]);
  }
  await bank.close();
});

test("deleting equals never having added, and nothing of it is left in the file", async () => {
  const [folder, other] = [newFolder(), newFolder()];
  const bank = await bankWith(folder, ["a", "secret", "b", "c"]);
  await bank.replace([entryOf("b", { time: 7 }), entryOf("b", { time: 8 })]);
  await bank.delete("secret", "b");
  const without = await bankWith(other, ["a", "c"]);
  expect(await all(bank)).toEqual(await all(without));
  expect(bank.histogram(1)).toEqual(without.histogram(1));
  expect(readFileSync(join(folder, "entries.log")).includes("secret")).toBe(true);
  await bank.compact();
  await without.compact();
  const bytes = [folder, other].map((one) => readFileSync(join(one, "entries.log")).subarray(logHeaderBytes));
  expect(bytes[0]).toEqual(bytes[1]);
  expect(bytes[0].includes("secret")).toBe(false);
  expect(bank.numbersOf("c")).toEqual([3]); // numbers hold
  expect((await bank.read([3]))[0].document).toBe("c");
  await bank.append([entryOf("d")]);
  await bank.close();
  const again = await openBank(folder, options);
  expect([...again.documents()]).toEqual(["a", "c", "d"]);
  await again.close();
  await without.close();
});

test("old indices stay readable after a codebook changes, and can be written anew", async () => {
  const folder = newFolder();
  let bank = await bankWith(folder, ["a", "b"]);
  const vectors = randomStream(5, "x").fillNormal(new Float32Array(T * D));
  expect(await bank.addCodebook(codebookOf(1))).toBe(1); // the same one
  const before = await all(bank);
  const decoded = bank.quantizer(1).decode(before[0].indices);
  const second = await bank.addCodebook(codebookOf(2, { kind: "residual", books: 2, codes: 300 }));
  const quantizer = bank.quantizer(second);
  const { indices } = quantizer.encode(vectors);
  await bank.append([entryOf("new", { version: second, indices })]);
  await bank.close();
  bank = await openBank(folder, options);
  const entries = await all(bank);
  expect(entries.map(({ version }) => version)).toEqual([1, 1, 2]);
  expect(bank.quantizer(1).decode(entries[0].indices)).toEqual(decoded);
  expect(bank.quantizer(2).decode(entries[2].indices)).toEqual(quantizer.decode(indices));
  expect([...bank.histogram(1)]).toEqual(countsOf(before));
  const wanted = Array.from({ length: 600 }, () => 0);
  for (const [p, index] of indices.entries()) wanted[(p % 2) * 300 + index]++;
  expect([...bank.histogram(2)]).toEqual(wanted);
  // A codebook is float16 in its file: half the error of float16 at most
  const { data } = codebookOf(2, { kind: "residual", books: 2, codes: 300 });
  expectClose("codes", bank.quantizer(2).codebook.data, data, { absolute: 2 ** -25, relative: 2 ** -11 });

  await bank.compact({
    recode: (entry) =>
      entry.version === second
        ? entry
        : {
            version: second,
            indices: bank.quantizer(second).encode(bank.quantizer(1).decode(entry.indices)).indices,
          },
  });
  expect(bank.versions()).toEqual([2]);
  expect(readdirSync(folder).toSorted()).toEqual(["bank.json", "bank.lock", "codebook-2.safetensors", "entries.log"]);
  expect(() => bank.histogram(1)).toThrow(`bank: expected a codebook version of ${folder} (2), got 1; add it first`);
  const moved = await all(bank);
  expect(moved.map(({ document }) => document)).toEqual(["a", "b", "new"]);
  expect(moved[0].indices).toEqual(quantizer.encode(decoded).indices);
  expect(bank.histogram(2).reduce((a, b) => a + b, 0)).toBe(3 * 8);
  expect(await bank.addCodebook(codebookOf(1))).toBe(3); // numbers are not used twice
  await bank.close();
});

test("every bit in the folder is accounted for", async () => {
  const folder = newFolder();
  const bank = await bankWith(folder, ["a", "bb", "ccc"]);
  await bank.addCodebook(codebookOf(3), { bits: 32 });
  await bank.append([entryOf("dddd", { version: 2, time: 64 })]);
  const onDisk = (): number => 8 * folderBytes(folder);
  const size = await bank.size();
  expect(size).toMatchObject({ entries: 4, documents: 4, indices: 4 * T * 3, keys: 4 * 48, ids: 8 * 10, dead: 0 });
  expect(size.total).toBe(onDisk());
  // Length, kind, length of the id, version, checksum; twelve bits of indices leave four to spare
  expect(size.frames).toBe(4 * (8 + 8 + 8 + 8 + 32 + 4));
  expect(size.codebooks.map(({ version, entries }) => [version, entries])).toEqual([
    [1, 3],
    [2, 1],
  ]);
  const [half, whole] = size.codebooks.map(({ bits }) => bits);
  expect(whole - half).toBe(16 * K * D);
  const { indices, keys, ids, times, frames, settings } = size;
  expect(indices + keys + ids + times + frames + settings + half + whole).toBe(size.total);
  await bank.delete("bb");
  const after = await bank.size();
  expect(after.total).toBe(onDisk());
  expect(after.dead).toBeGreaterThan(size.keys / 4);
  expect([after.entries, after.ids]).toEqual([3, 8 * 8]);
  await bank.compact();
  expect(await bank.size()).toMatchObject({ dead: 0, ids: 8 * 8, total: onDisk() });
  await bank.close();
});

test("full vectors lie in the same store, at their own price", async () => {
  const bank = await openBank(newFolder()); // each write waits for the disk
  const version = await bank.addCodebook(fullPrecision(T, D));
  const vectors = randomStream(9, "mac").fillNormal(new Float32Array(T * D));
  const { indices } = bank.quantizer(version).encode(vectors);
  await bank.append([{ document: "a", time: 0, key: new Float32Array(), version, indices }]);
  const [entry] = await all(bank);
  expect(bank.quantizer(version).decode(entry.indices)).toEqual(vectors);
  expect((await bank.size()).indices).toBe(T * D * 32);
  expect(bank.histogram(version).length).toBe(0);
  await bank.delete("a");
  expect((await bank.size()).indices).toBe(0);
  await bank.close();
});

test.each([
  { bits: 4, absolute: 1 / 14 + 1e-3, stored: 16 + 16 },
  { bits: 8, absolute: 1 / 254 + 1e-3, stored: 3 * 8 + 16 },
  { bits: 16, absolute: 2 ** -12, stored: 3 * 16 },
  { bits: 32, absolute: 0, stored: 3 * 32 },
] as const)("keys of $bits bits", async ({ bits, absolute, stored }) => {
  const bank = await bankWith(newFolder(), [], { keys: { width: 3, bits } });
  const keys = [Float32Array.of(0.6, -0.79, 0.11), Float32Array.of(0, 0, 0)];
  await bank.append(keys.map((key, i) => entryOf(`${i}`, { key })));
  for (const [i, { key }] of (await all(bank)).entries()) expectClose("key", key, keys[i], { absolute, relative: 0 });
  expect((await bank.size()).keys).toBe(2 * stored);
  await bank.close();
});

describe("a limit", () => {
  test("the oldest document goes, with all its chunks; a replaced one is new", async () => {
    const folder = newFolder();
    let bank = await bankWith(folder, [], { limit: { entries: 4 } });
    await bank.append([entryOf("a"), entryOf("a"), entryOf("b")]);
    expect(await bank.append([entryOf("c")])).toEqual({ numbers: [3], evicted: [] });
    expect((await bank.append([entryOf("d")])).evicted).toEqual(["a"]);
    expect((await bank.replace([entryOf("b", { time: 1 })])).evicted).toEqual([]);
    expect((await bank.append([entryOf("e"), entryOf("f")])).evicted).toEqual(["c"]);
    await bank.close();
    bank = await openBank(folder, options);
    expect([...bank.documents()]).toEqual(["d", "b", "e", "f"]);
    expect([...bank.histogram(1)]).toEqual(countsOf(await all(bank)));
    await bank.close();
  });

  test("another choice is a function", async () => {
    const evict = (documents: Iterable<string>): string => [...documents].at(-1) ?? "";
    const bank = await bankWith(newFolder(), ["a", "b", "c"], { limit: { entries: 3, evict } });
    expect((await bank.append([entryOf("d"), entryOf("e")])).evicted).toEqual(["c", "b"]);
    expect([...bank.documents()]).toEqual(["a", "d", "e"]);
    const lost = await bankWith(newFolder(), ["a"], { limit: { entries: 1, evict: () => "z" } });
    await expect(lost.append([entryOf("b")])).rejects.toThrow(
      /expected `evict` to choose a document of the bank, got "z"/,
    );
    await lost.close();
    await expect(bank.append(["f", "g", "h", "i"].map((name) => entryOf(name)))).rejects.toThrow(
      /^bank.append: expected at most 3 entries \(the bank's limit\), got 4/,
    );
    await bank.close();
  });
});

test("a bank is open once at a time, and what a killed process left half written goes", async () => {
  const folder = newFolder();
  const bank = await bankWith(folder, ["a"]);
  await expect(openBank(folder, options)).rejects.toThrow(/expected .* to be free, got a lock of this process since/);
  await bank.close();
  writeFileSync(join(folder, ".entries.log.123.0a0b.tmp"), "half");
  writeFileSync(join(folder, ".mine.tmp"), "not ours");
  await (await openBank(folder, options)).close();
  expect(readdirSync(folder)).toEqual([".mine.tmp", "bank.json", "codebook-1.safetensors", "entries.log"]);
  await expect(openBank(root, options)).rejects.toThrow(/^openBank: expected a bank, or a new or empty folder, got/);
  await expect(openBank(join(folder, "bank.json"), options)).rejects.toThrow(
    /expected a folder at .*, got a file; use/,
  );
});

test("a log that is mostly dead is written anew by itself", async () => {
  const folder = newFolder();
  const bank = await bankWith(folder, ["a"], { limit: { entries: 5 }, slack: 200 });
  let most = 0;
  for (let i = 0; i < 200; i++) {
    await bank.append([entryOf(`document ${i}`)]);
    most = Math.max(most, statSync(join(folder, "entries.log")).size);
  }
  expect(most).toBeLessThan(20 + 2 * 5 * 40 + 200 + 100);
  expect([...bank.documents()]).toEqual([195, 196, 197, 198, 199].map((i) => `document ${i}`));
  expect(await all(bank)).toEqual([195, 196, 197, 198, 199].map((i) => entryOf(`document ${i}`)));
  await bank.close();
});

describe("damage", () => {
  const documents = ["a", "b", "c", "d"];
  const damagedAt = async (change: (path: string, places: number[]) => void): Promise<string> => {
    const folder = newFolder();
    await (await bankWith(folder, documents)).close();
    const bank = await openBank(folder, options);
    const size = (statSync(join(folder, "entries.log")).size - logHeaderBytes) / 4;
    await bank.close();
    change(
      join(folder, "entries.log"),
      documents.map((_, i) => logHeaderBytes + i * size),
    );
    return folder;
  };

  test("a flipped bit: the entry is named, the rest is recovered, the old file is kept", async () => {
    const folder = await damagedAt((path, [, second]) => {
      const bytes = readFileSync(path);
      bytes[second + 12] ^= 4;
      writeFileSync(path, bytes);
    });
    await expect(openBank(folder, options)).rejects.toThrow(
      /^openBank: expected whole entries in .*entries\.log, got damage at byte \d+ \(\d+ bytes, record 2, which seems to be "b"\); recover the bank, which keeps all others$/,
    );
    const { bank, lost } = await recoverBank(folder, options);
    expect(lost).toMatchObject([{ records: 1, document: "b" }]);
    expect(await all(bank)).toEqual(["a", "c", "d"].map((name) => entryOf(name)));
    expect([...bank.histogram(1)]).toEqual(countsOf(await all(bank)));
    await bank.append([entryOf("b")]);
    await bank.close();
    expect(readdirSync(folder)).toContain("entries.log.damaged");
    const again = await openBank(folder, options);
    expect([...again.documents()]).toEqual(["a", "c", "d", "b"]);
    await again.close();
  });

  test("a truncated file", async () => {
    const folder = await damagedAt((path, places) => truncateSync(path, places[3]));
    await expect(openBank(folder, options)).rejects.toThrow(/got damage at byte \d+ \(\d+ bytes, record 4\); recover/);
    const { bank } = await recoverBank(folder, options);
    expect([...bank.documents()]).toEqual(["a", "b", "c"]);
    await bank.close();
  });

  test("a damaged head", async () => {
    const folder = await damagedAt((path) => {
      const bytes = readFileSync(path);
      bytes[3] ^= 1;
      writeFileSync(path, bytes);
    });
    await expect(openBank(folder, options)).rejects.toThrow(/got damage at byte 0; /);
    const { bank } = await recoverBank(folder, options);
    expect(await all(bank)).toEqual(documents.map((name) => entryOf(name)));
    await bank.close();
    await (await openBank(folder, options)).close();
  });

  test("a lost deletion: the newer entry of a document counts", async () => {
    const folder = newFolder();
    const bank = await bankWith(folder, ["a", "b"]);
    const { size } = statSync(join(folder, "entries.log"));
    await bank.replace([entryOf("a", { time: 1 })]);
    await bank.append([entryOf("c")]);
    await bank.close();
    const bytes = readFileSync(join(folder, "entries.log"));
    bytes[size + 2] ^= 1;
    writeFileSync(join(folder, "entries.log"), bytes);
    const { bank: found } = await recoverBank(folder, options);
    expect(await all(found)).toEqual([entryOf("b"), entryOf("a", { time: 1 }), entryOf("c")]);
    expect([...found.histogram(1)]).toEqual(countsOf(await all(found)));
    await found.close();
  });

  test("of a codebook or the settings", async () => {
    const folder = newFolder();
    await (await bankWith(folder, ["a"])).close();
    const path = join(folder, "codebook-1.safetensors");
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(path, bytes);
    await expect(openBank(folder, options)).rejects.toThrow(/^openBank: expected codebook 1 with SHA-256 .*; put the/);
    writeFileSync(join(folder, "bank.json"), '{"format":1}');
    await expect(openBank(folder, options)).rejects.toThrow(
      /^openBank: expected the settings of a bank in .*bank\.json/,
    );
    rmSync(join(folder, "bank.json"));
    await expect(openBank(folder, options)).rejects.toThrow(
      /^openBank: expected a bank, or a new or empty folder, got/,
    );
  });
});

describe("bad input", () => {
  test("is one line, and the bank is as before", async () => {
    const folder = newFolder();
    const bank = await bankWith(folder, ["a", "b"]);
    const before = readFileSync(join(folder, "entries.log"));
    const wrong: [Partial<BankEntry>, RegExp][] = [
      [{ document: "a" }, /^bank.append: expected documents that are not in, got "a" again; replace it/],
      [{ document: "" }, /^bank: expected a document id of 1 to 4096 bytes of text, got 0 bytes/],
      [{ time: 0.5 }, /^bank: expected a whole number as the time of "c", got 0.5; count steps or milliseconds$/],
      [{ key: new Float32Array(2) }, /^bank: expected a key of 3 numbers, got 2; use the bank's encoder$/],
      [{ key: Float32Array.of(0, 1e9, 0) }, /^bank: expected keys of finite numbers .* 16 bits, got 1000000000 at 1/],
      [{ version: 2 }, /^bank: expected a codebook version of .* \(1\), got 2; add it first$/],
      [{ indices: Uint32Array.of(0, 1) }, /^bank: expected 4 indices for "c", got 2; give one entry at a time$/],
      [{ indices: Uint32Array.of(0, 1, 6, 0) }, /^bank.append: expected indices below 6, got 6 at position 2; /],
    ];
    for (const [over, message] of wrong) {
      await expect(bank.append([entryOf("good"), entryOf("c", over)])).rejects.toThrow(message);
    }
    await expect(bank.delete("a", "z")).rejects.toThrow('bank.delete: expected a document that is in, got "z"; look');
    await expect(bank.read([7])).rejects.toThrow(/^bank.read: expected the number of an entry that is in, got 7/);
    expect(readFileSync(join(folder, "entries.log"))).toEqual(before);
    expect([...bank.documents()]).toEqual(["a", "b"]);
    await bank.close();
    await expect(openBank(folder, { module: "m2" })).rejects.toThrow(
      /expected a bank of module "m2" in .*, got one of "m1"/,
    );
    await expect(openBank(folder, { keys: { width: 4, bits: 16 } })).rejects.toThrow(
      /got 3 numbers of 16 bits; use another/,
    );
    await expect(openBank(folder, { limit: { entries: 0 } })).rejects.toThrow(/^openBank: expected a limit of 1 entry/);
  });

  test("a full disk: the write is refused, undone, and may be tried again", async () => {
    const folder = newFolder();
    await (await bankWith(folder, ["a"])).close();
    const before = readFileSync(join(folder, "entries.log"));
    await onFullDisk(5, async () => {
      const bank = await openBank(folder, options);
      await expect(bank.append([entryOf("b")])).rejects.toThrow(/got the disk is full; free some space and try again$/);
      expect([bank.count(), bank.has("b")]).toEqual([1, false]);
      expect([...bank.histogram(1)]).toEqual(countsOf([entryOf("a")]));
      expect(readFileSync(join(folder, "entries.log"))).toEqual(before);
      await expect(bank.compact()).rejects.toThrow(/the disk is full/);
      expect(await all(bank)).toEqual([entryOf("a")]);
      await bank.close();
    });
    expect(readdirSync(folder).toSorted()).toEqual(["bank.json", "codebook-1.safetensors", "entries.log"]);
    const bank = await openBank(folder, options);
    await bank.append([entryOf("b")]);
    expect([...bank.documents()]).toEqual(["a", "b"]);
    await bank.close();
  });
});
