import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { decodeText, readTextFile } from "./text-file.ts";

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "mneme-text-"))));
afterAll(() => rm(folder, { recursive: true }));

test("reads UTF-8 with its hash and without its byte order mark", async () => {
  const path = join(folder, "a.txt");
  await writeFile(path, "\ufeffcafé\n");
  const file = await readTextFile(path);
  expect(file).toMatchObject({ path, text: "café\n", bytes: 9 });
  await writeFile(path, "abc");
  expect((await readTextFile(path)).sha256).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("a file that is not text names the offset", () => {
  const error = (data: number[]) => {
    try {
      return decodeText("x.bin", Uint8Array.from(data));
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(UserError);
      return (thrown as Error).message;
    }
  };
  expect(error([97, 98, 0, 99])).toContain("x.bin, got a zero byte at offset 2 (a binary file?)");
  // "é" in Latin-1 before a letter; a character cut at the end; a lone continuation byte after many valid characters.
  expect(error([97, 0xe9, 98, 99])).toContain("x.bin, got an invalid byte 0xe9 at offset 1;");
  expect(error([97, 98, 0xe8, 0xaa])).toContain("invalid byte 0xe8 at offset 2;");
  expect(error([0xef, 0xbb, 0xbf, 97, 0xff])).toContain("invalid byte 0xff at offset 4;");
  const long = Array.from({ length: 2000 }, (_, i) => (i % 2 === 0 ? 0xc3 : 0xa9));
  expect(error([...long, 0x80, 97])).toContain("invalid byte 0x80 at offset 2000");
  expect(error([])).toContain("empty file (0 bytes)");
  expect(error([32, 10])).toContain("empty file (2 bytes)");
});

test("missing files and folders are one line", async () => {
  await expect(readTextFile(join(folder, "none.txt"))).rejects.toThrow(/got no such file; check the path$/);
  await expect(readTextFile(folder)).rejects.toThrow(/got a folder; check the path$/);
});
