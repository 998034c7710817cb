import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { onFullDisk } from "../../tests/support/full-disk.ts";
import { UserError } from "../errors.ts";
import { readJsonObject, requireEmptyFolder, sha256File, writeFileAtomic } from "./files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mneme-files-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const failure = async (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => new Error("nothing was thrown"),
    (error: unknown) => error as Error,
  );

describe("writeFileAtomic", () => {
  test("writes text, bytes and lazily made chunks, and leaves no other file", async () => {
    const path = join(folder, "a");
    await writeFileAtomic(path, "old");
    await writeFileAtomic(
      path,
      (async function* () {
        yield "né";
        yield Uint8Array.of(10, 65);
      })(),
    );
    expect(readFileSync(path, "utf8")).toBe("né\nA");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  test("a producer that fails leaves the old file and nothing else", async () => {
    const path = join(folder, "a");
    writeFileSync(path, "old");
    const error = await failure(
      writeFileAtomic(
        path,
        (function* () {
          yield "half of the new";
          throw new Error("stopped");
        })(),
      ),
    );
    expect(error.message).toBe("stopped");
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  test("disk full: one line, old file intact, no temporary file", async () => {
    const path = join(folder, "a");
    writeFileSync(path, "old");
    await onFullDisk(3, async () => {
      const error = await failure(writeFileAtomic(path, "the new content"));
      expect(error).toBeInstanceOf(UserError);
      expect(error.message).toMatch(/^save: expected to write .*a, got the disk is full; free some space/);
    });
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  test("a missing folder, or a folder in the way, is one line", async () => {
    expect((await failure(writeFileAtomic(join(folder, "no", "a"), "x"))).message).toContain("folder does not exist");
    const error = await failure(writeFileAtomic(folder, "x"));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).toContain("a folder of that name is in the way");
  });
});

test("sha256File equals the published test vector", async () => {
  writeFileSync(join(folder, "a"), "abc");
  expect(await sha256File(join(folder, "a"))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("readJsonObject: missing, malformed and non-object files are one line", async () => {
  const path = join(folder, "config.json");
  expect((await failure(readJsonObject(path))).message).toContain("got nothing there");
  for (const text of ["", "{", '{"a":\n\n oops}', "[1]", "null", "3"]) {
    writeFileSync(path, text);
    const error = await failure(readJsonObject(path));
    expect(error).toBeInstanceOf(UserError);
    expect(error.message).not.toContain("\n");
    expect(error.message).toContain(path);
  }
  writeFileSync(path, '\uFEFF{"a": 1}');
  expect(await readJsonObject(path)).toEqual({ a: 1 });
});

test("requireEmptyFolder: absent or empty is fine, anything in it is one line with the way out", async () => {
  const caller = "here";
  await requireEmptyFolder(folder, { caller });
  await requireEmptyFolder(join(folder, "absent"), { caller });
  for (const name of "abcdef") writeFileSync(join(folder, name), "x");
  const error = await failure(requireEmptyFolder(folder, { caller, wayOut: (found) => `mind ${found.length}` }));
  expect(error.message).toBe(`here: expected a new or empty folder, got ${folder} with a, b, c, d, e; mind 6`);
  expect((await failure(requireEmptyFolder(join(folder, "a"), { caller }))).message).toContain("got ENOTDIR");
});
