import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import { firstInvalidUtf8, readTextFile } from "./text.ts";

// Generous: a busy machine must not fail a test of correctness.
vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), "mneme-text-"));
afterAll(() => rmSync(folder, { recursive: true }));

const write = (bytes: Uint8Array | string): string => {
  const path = join(folder, "a.txt");
  writeFileSync(path, bytes);
  return path;
};

test("reads UTF-8 as it is, without a byte order mark", async () => {
  const { text, bytes } = await readTextFile(write("\uFEFFnaïve 北京 🙂\r\n \uFEFF"));
  expect(text).toBe("naïve 北京 🙂\r\n \uFEFF");
  expect(bytes).toBe(27);
  expect((await readTextFile(write("abc"))).sha256).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

test("empty, binary, non-UTF-8, missing and folder are one line, with the offset", async () => {
  await expect(readTextFile(write(""))).rejects.toThrow(/got an empty file/);
  await expect(readTextFile(write(" \n"))).rejects.toThrow(/got an empty file \(2 bytes\)/);
  await expect(readTextFile(write("\uFEFF"))).rejects.toThrow(/got an empty file/);
  await expect(readTextFile(write("ab\0c"))).rejects.toThrow(/got a NUL byte at offset 2;/);
  await expect(readTextFile(write(Uint8Array.of(0x61, 0xc3, 0xa9, 0xe9, 0x20)))).rejects.toThrow(
    /invalid byte 0xe9 at offset 3;/,
  );
  await expect(readTextFile(write(Uint8Array.of(0x61, 0xf0, 0x9f, 0x99)))).rejects.toThrow(/byte 0xf0 at offset 1;/);
  await expect(readTextFile(join(folder, "none.txt"))).rejects.toThrow(UserError);
  await expect(readTextFile(folder)).rejects.toThrow(/got a folder/);
  await expect(readTextFile("/dev/zero")).rejects.toThrow(/got a device|got nothing there/);
});

test("finds a fault exactly where the platform's strict decoder finds one", () => {
  const strict = (bytes: Uint8Array): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  const byte = fc.oneof(
    fc.constantFrom(0x41, 0x80, 0xbf, 0xc1, 0xc2, 0xe0, 0xa0, 0x9f, 0xed, 0xef, 0xf0, 0x90, 0x8f, 0xf4, 0xf5),
    fc.nat(255),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 8 }), (list) => {
      const bytes = Uint8Array.from(list);
      const at = firstInvalidUtf8(bytes);
      expect(at === undefined).toBe(strict(bytes));
      if (at !== undefined) expect(strict(bytes.subarray(0, at))).toBe(true);
    }),
    { numRuns: 20_000 },
  );
});
