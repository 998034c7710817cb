import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import { bytesPerElement, float32Host, int32Host, sizeOf } from "../tensor/dtype.ts";
import { parseHeader, parseHeaderLength } from "./safetensors-header.ts";
import { openCheckpoint, openSafetensors, readAll, requireTensors, writeSafetensors } from "./safetensors.ts";

// Generous: a busy machine must not fail a test of correctness.
vi.setConfig({ testTimeout: 60_000 });

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "mneme-safetensors-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

let counter = 0;
const fresh = (): string => join(folder, `${counter++}.safetensors`);

/** A file with this header and so many bytes of data, made by hand. */
function handMade(header: unknown, dataBytes: number, headerText = JSON.stringify(header)): string {
  const path = fresh();
  const json = Buffer.from(headerText);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, Buffer.from(Array.from({ length: dataBytes }, (_, i) => i & 255))]));
  return path;
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(UserError);
  const { message } = error as UserError;
  expect(message).not.toContain("\n");
  return message;
}

const all: Record<string, HostTensor> = {
  f: float32Host([2, 3], [0, -0, 1.5, Infinity, -1e-40, 3e38]),
  h: { dtype: "float16", shape: [3], data: Uint16Array.of(0x3c00, 0x0001, 0xfbff) },
  i: int32Host([2, 1], [-(2 ** 31), 7]),
  l: { dtype: "int64", shape: [1], data: BigInt64Array.of(-(2n ** 63n)) },
  u: { dtype: "uint8", shape: [3], data: Uint8Array.of(0, 128, 255) },
  s: { dtype: "int8", shape: [], data: Int8Array.of(-128) },
  b: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
  empty: float32Host([0, 4], []),
  "7": float32Host([1], [7]),
};
Object.defineProperty(all, "__proto__", { value: float32Host([1], [9]), enumerable: true });

describe("round trip", () => {
  test("every dtype, empty and scalar tensors, odd names, metadata", async () => {
    const path = fresh();
    await writeSafetensors(path, all, { metadata: { format: "pt", a: "ü" } });
    const file = await openSafetensors(path);
    expect(file.metadata).toEqual({ a: "ü", format: "pt" });
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(all).sort());
    for (const [name, tensor] of Object.entries(all)) expect(await file.read(name)).toEqual(tensor);
    expect((await file.readFloat32("h")).data).toEqual(Float32Array.of(1, 2 ** -24, -65504));
    expect(await failure(file.readFloat32("i"))).toContain('expected floats in "i", got I32');
    expect(await failure(file.read("nope"))).toContain('expected a tensor "nope"');
    expect([...(await readAll(file, ["u", "h"])).values()].map(({ dtype }) => dtype)).toEqual(["uint8", "float32"]);
    expect((await readAll(file, ["h"], { float32: false })).get("h")).toEqual(all.h);
    await file.close();
  });

  test("bytes depend on the content only, not on insertion order; the header is padded to 8", async () => {
    const [a, b] = [fresh(), fresh()];
    await writeSafetensors(a, { x: all.f, y: all.h }, { metadata: { p: "1", q: "2" } });
    await writeSafetensors(b, { y: all.h, x: all.f }, { metadata: { q: "2", p: "1" } });
    expect(readFileSync(a)).toEqual(readFileSync(b));
    expect(Number(readFileSync(a).readBigUInt64LE(0)) % 8).toBe(0);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("the bytes are those of the published format", async () => {
    const path = fresh();
    await writeSafetensors(path, { w: float32Host([2], [1, -2]) });
    const json = '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.padEnd(56, " ");
    const wanted = Buffer.concat([
      Buffer.of(56, 0, 0, 0, 0, 0, 0, 0),
      Buffer.from(json),
      Buffer.of(0, 0, 128, 63, 0, 0, 0, 192),
    ]);
    expect(readFileSync(path)).toEqual(wanted);
  });

  test("narrowing to float16 and bfloat16 touches float32 only and is exact for exact values", async () => {
    const count = 3_000_001; // several chunks and an odd end
    const values = Float32Array.from({ length: count }, (_, i) => (i % 255) - 127);
    for (const dtype of ["float16", "bfloat16"] as const) {
      const path = fresh();
      await writeSafetensors(path, { w: float32Host([count], values), i: all.i }, { dtype });
      const file = await openSafetensors(path);
      expect(file.tensors.get("w")?.dtype).toBe(dtype === "float16" ? "F16" : "BF16");
      expect(file.tensors.get("w")?.end).toBe(8 + 2 * count);
      expect(Buffer.from((await file.readFloat32("w")).data.buffer).equals(Buffer.from(values.buffer))).toBe(true);
      expect(await file.read("i")).toEqual(all.i);
      await file.close();
    }
  });

  test("a bfloat16 tensor is read as float32", async () => {
    const path = handMade({ w: { dtype: "BF16", shape: [2], data_offsets: [0, 4] } }, 4);
    const file = await openSafetensors(path);
    expect(await file.read("w")).toEqual(
      float32Host([2], new Float32Array(Uint32Array.of(0x01000000, 0x03020000).buffer)),
    );
    await file.close();
  });

  test("random tensors", async () => {
    const tensor = fc
      .tuple(fc.constantFrom("float32", "int32", "uint8", "int64"), fc.array(fc.nat(3), { maxLength: 4 }))
      .chain(([dtype, shape]) => {
        const bytes = sizeOf(shape) * bytesPerElement[dtype];
        return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(({ buffer }): HostTensor => {
          if (dtype === "float32") return { dtype, shape, data: new Float32Array(buffer as ArrayBuffer) };
          if (dtype === "int32") return { dtype, shape, data: new Int32Array(buffer as ArrayBuffer) };
          if (dtype === "int64") return { dtype, shape, data: new BigInt64Array(buffer as ArrayBuffer) };
          return { dtype, shape, data: new Uint8Array(buffer as ArrayBuffer) };
        });
      });
    const path = fresh();
    const names = fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__");
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, tensor), async (tensors) => {
        await writeSafetensors(path, tensors);
        const file = await openSafetensors(path);
        const back = await readAll(file);
        await file.close();
        expect(back.size).toBe(Object.keys(tensors).length);
        for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
          const read = back.get(name) as HostTensor;
          expect([read.dtype, read.shape]).toEqual([dtype, shape]);
          expect(Buffer.from(read.data.buffer)).toEqual(Buffer.from(data.buffer));
        }
      }),
      { numRuns: 60 },
    );
  });

  test("a tensor whose data does not fill its shape is refused", async () => {
    const message = await failure(
      writeSafetensors(fresh(), { w: { dtype: "int8", shape: [3], data: new Int8Array(2) } }),
    );
    expect(message).toContain('expected 3 elements for "w" [3], got 2');
  });
});

describe("bad files", () => {
  const entry = (shape: unknown, offsets: unknown, dtype: unknown = "F32"): unknown => ({
    dtype,
    shape,
    data_offsets: offsets,
  });
  const cases: [string, unknown, number, RegExp][] = [
    ["truncated data", { w: entry([4], [0, 16]) }, 12, /expected 16 bytes of data, got 12 \(truncated\)/],
    ["trailing bytes", { w: entry([4], [0, 16]) }, 17, /1 trailing bytes/],
    ["overlap", { a: entry([2], [0, 8]), b: entry([2], [4, 12]) }, 12, /"b" to begin at byte 8, got 4 \(an overlap\)/],
    ["hole", { a: entry([1], [0, 4]), b: entry([1], [8, 12]) }, 12, /got 8 \(a hole\)/],
    ["hole at the front", { a: entry([1], [4, 8]) }, 8, /a hole/],
    ["unknown dtype", { w: entry([4], [0, 16], "F31") }, 16, /known dtype .*got "F31"/],
    ["dtype is a prototype's key", { w: entry([4], [0, 16], "toString") }, 16, /known dtype/],
    ["size against shape", { w: entry([3], [0, 16]) }, 16, /12 bytes \(F32 \[3\]\), got 16/],
    ["negative dimension", { w: entry([-2, -2], [0, 16]) }, 16, /whole numbers >= 0, got \[-2,-2\]/],
    ["fractional dimension", { w: entry([1.5], [0, 6]) }, 6, /whole numbers/],
    ["shape is no array", { w: entry("4", [0, 16]) }, 16, /whole numbers/],
    ["huge dimensions", { w: entry([2 ** 40, 2 ** 40, 0], [0, 0]) }, 0, /below 2\^53/],
    ["offsets reversed", { w: entry([0], [4, 0]) }, 4, /data_offsets/],
    ["offsets missing", { w: { dtype: "F32", shape: [1] } }, 4, /data_offsets \[begin, end\], got nothing/],
    ["offsets of three", { w: entry([1], [0, 4, 4]) }, 4, /data_offsets/],
    ["entry is null", { w: null }, 0, /to be an object/],
    ["metadata not strings", { __metadata__: { a: 1 } }, 0, /__metadata__ "a" to be a string/],
    ["metadata no object", { __metadata__: [] }, 0, /__metadata__ to be an object/],
  ];
  test.each(cases)("%s", async (_, header, dataBytes, pattern) => {
    expect(await failure(openSafetensors(handMade(header, dataBytes)))).toMatch(pattern);
  });

  test("header text: not JSON, not UTF-8, wrong first byte, empty, array, duplicate keys at any depth", async () => {
    const open = (text: string): Promise<string> => failure(openSafetensors(handMade(undefined, 0, text)));
    expect(await open('{"a":')).toContain("a header in JSON");
    expect(await open(' {"a":1}')).toContain('begins with "{"');
    expect(await open("[]")).toContain('begins with "{"');
    expect(await open("")).toContain("got none");
    const one = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}';
    expect(await open(`{"a":${one},"\\u0061" : ${one}}`)).toContain('every key once, got "a" twice');
    expect(await open('{"a":{"dtype":"F32","shape":[0],"shape":[0],"data_offsets":[0,0]}}')).toContain('"shape" twice');
    const path = handMade(undefined, 0, '{"a":1}  ');
    writeFileSync(path, Buffer.from([...readFileSync(path).subarray(0, 10), 0xff, ...readFileSync(path).subarray(11)]));
    expect(await failure(openSafetensors(path))).toContain("a header in JSON");
  });

  test("same key in two different tensors and strings that look like keys are fine", async () => {
    const entryOf = (at: number): unknown => entry([1], [at, at + 4]);
    const path = handMade({ __metadata__: { x: '"a": {"a":', y: "\\" }, a: entryOf(0), 'b"': entryOf(4) }, 8);
    const file = await openSafetensors(path);
    expect(file.metadata.x).toBe('"a": {"a":');
    expect([...file.tensors.keys()]).toEqual(["a", 'b"']);
    await file.close();
  });

  test("lengths: empty file, seven bytes, header beyond the file, over 100 MB, over 2^63", async () => {
    for (const [bytes, pattern] of [
      [[], /at least 8 bytes, got 0/],
      [[1, 2, 3, 4, 5, 6, 7], /at least 8 bytes, got 7/],
      [[9, 0, 0, 0, 0, 0, 0, 0, 0x7b], /within the file's 9 bytes/],
      [[1, 0xe1, 0xf5, 5, 0, 0, 0, 0, 0x7b], /at most 100000000 bytes, got 100000001/],
      [[255, 255, 255, 255, 255, 255, 255, 255, 0x7b], /got 18446744073709551615/],
    ] as const) {
      const path = fresh();
      writeFileSync(path, Uint8Array.from(bytes));
      expect(await failure(openSafetensors(path))).toMatch(pattern);
    }
  });

  test("missing file, folder, file cut while open, dtype that cannot be read", async () => {
    expect(await failure(openSafetensors(join(folder, "absent")))).toContain("got nothing there");
    expect(await failure(openSafetensors(folder))).toContain("got a folder");
    const path = fresh();
    await writeSafetensors(path, { w: float32Host([100], new Float32Array(100)) });
    const file = await openSafetensors(path);
    truncateSync(path, 200);
    expect(await failure(file.read("w"))).toContain("got its end at 200");
    await file.close();
    const double = await openSafetensors(handMade({ w: entry([1], [0, 8], "F64") }, 8));
    expect(await failure(double.read("w"))).toContain("got F64; convert the file first");
    await double.close();
  });

  test("3,000 mutated headers: an error or a correct read", async () => {
    const path = fresh();
    const values = Float32Array.from({ length: 6 }, (_, i) => i + 0.5);
    await writeSafetensors(path, { a: float32Host([2, 3], values), b: all.h, c: all.u }, { metadata: { k: "v" } });
    const good = readFileSync(path);
    const headerEnd = 8 + Number(good.readBigUInt64LE(0));
    const spliced = fc.constantFrom(
      "-",
      ".",
      "e9",
      "0",
      "9",
      "null",
      "[]",
      "{}",
      '"',
      ",",
      ":",
      "[",
      "]",
      "{",
      "}",
      "\\",
      '"F16"',
      "F64",
      "99999999999999999999",
      " ",
      "\u0000",
    );
    const edit = fc.record({
      at: fc.nat(headerEnd - 1),
      drop: fc.nat(4),
      insert: fc.oneof(
        spliced.map((text) => Buffer.from(text)),
        fc.uint8Array({ maxLength: 3 }).map((b) => Buffer.from(b)),
      ),
      fixLength: fc.boolean(),
      keepLength: fc.boolean(),
    });
    let reads = 0;
    let errors = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        let bytes = Buffer.from(good);
        for (const { at, drop, insert, fixLength, keepLength } of edits) {
          const place = fixLength ? Math.max(8, at) : at;
          const removed = keepLength ? insert.length : drop;
          const grown = Buffer.concat([bytes.subarray(0, place), insert, bytes.subarray(place + removed)]);
          if (fixLength)
            grown.writeBigUInt64LE(
              BigInt(Math.max(0, Number(bytes.readBigUInt64LE(0) % 2n ** 40n) + grown.length - bytes.length)),
            );
          bytes = grown;
        }
        writeFileSync(path, bytes);
        let file: Awaited<ReturnType<typeof openSafetensors>> | undefined;
        try {
          file = await openSafetensors(path);
          const tensors = await readAll(file, undefined, { float32: false });
          // A correct read: what the file says now, taken from its bytes by the format's definition.
          const length = Number(bytes.readBigUInt64LE(0));
          const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
          delete header.__metadata__;
          expect([...tensors.keys()].sort()).toEqual(Object.keys(header).sort());
          for (const [name, { dtype, data }] of tensors) {
            const {
              dtype: stored,
              shape,
              data_offsets: [begin, end],
            } = header[name];
            expect(file.tensors.get(name)?.shape).toEqual(shape);
            const raw = bytes.subarray(8 + length + begin, 8 + length + end);
            if (stored !== "BF16" && dtype !== "bool") expect(Buffer.from(data.buffer)).toEqual(Buffer.from(raw));
          }
          reads++;
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          expect(error.message).not.toContain("\n");
          errors++;
        } finally {
          await file?.close();
        }
      }),
      { numRuns: 3000 },
    );
    expect(reads).toBeGreaterThan(20);
    expect(errors).toBeGreaterThan(1000);
  });

  test("random JSON as header never crashes", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(64), (header, dataBytes) => {
        const json = Buffer.from(JSON.stringify(header));
        try {
          expect(parseHeader(json, dataBytes, "x").tensors.size).toBe(0);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 1000 },
    );
    expect(() => parseHeaderLength(new Uint8Array(3), 3, "x")).toThrow(UserError);
  });
});

describe("openCheckpoint", () => {
  const makeSharded = async (map: Record<string, unknown>): Promise<string> => {
    const place = mkdtempSync(join(folder, "sharded-"));
    await writeSafetensors(
      join(place, "model-1.safetensors"),
      { a: all.f, extra: all.u },
      { metadata: { format: "pt" } },
    );
    await writeSafetensors(join(place, "model-2.safetensors"), { b: all.h }, { dtype: "float16" });
    writeFileSync(join(place, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
    return place;
  };

  test("hides sharding", async () => {
    const place = await makeSharded({ b: "model-2.safetensors", a: "model-1.safetensors" });
    const file = await openCheckpoint(place);
    expect([...file.tensors.keys()]).toEqual(["b", "a"]);
    expect(file.tensors.get("a")?.shape).toEqual([2, 3]);
    expect(await file.read("a")).toEqual(all.f);
    expect((await file.readFloat32("b")).data).toEqual(Float32Array.of(1, 2 ** -24, -65504));
    expect([...(await readAll(file)).keys()]).toEqual(["b", "a"]);
    expect(await failure(file.read("extra"))).toContain("it has b, a");
    await file.close();
  });

  test("faults of the index are one line each", async () => {
    const open = async (map: Record<string, unknown>): Promise<string> =>
      failure(openCheckpoint(await makeSharded(map)));
    expect(await open({ a: "model-3.safetensors" })).toContain("got nothing there");
    expect(await open({ b: "model-1.safetensors" })).toContain('expected a tensor "b", got none');
    expect(await open({ a: "../model-1.safetensors" })).toContain("name of a .safetensors file beside it");
    expect(await open({ a: 3 })).toContain("got 3");
    const place = await makeSharded({});
    writeFileSync(join(place, "model.safetensors.index.json"), "{}");
    expect(await failure(openCheckpoint(place))).toContain('expected "weight_map"');
  });

  test("a folder with one file, the file itself, and folders without", async () => {
    const place = mkdtempSync(join(folder, "single-"));
    expect(await failure(openCheckpoint(place))).toContain("got an empty folder");
    writeFileSync(join(place, "pytorch_model.bin"), "x");
    expect(await failure(openCheckpoint(place))).toContain("got pytorch_model.bin; choose");
    expect(await failure(openCheckpoint(join(place, "no")))).toContain("got nothing there");
    await writeSafetensors(join(place, "model.safetensors"), { a: all.f });
    for (const path of [place, join(place, "model.safetensors")]) {
      const file = await openCheckpoint(path);
      expect(await file.read("a")).toEqual(all.f);
      await file.close();
    }
  });

  test("requireTensors names the tensor, both shapes and what was expected", async () => {
    const path = fresh();
    await writeSafetensors(path, { a: all.f, b: all.h });
    const file = await openSafetensors(path);
    requireTensors(file, { a: [2, 3] });
    expect(() => requireTensors(file, { a: [3, 2], b: [3] })).toThrow(
      /expected tensor "a" of shape \[3, 2\], got \[2, 3\]; .*expected are a \[3, 2\], b \[3\]$/,
    );
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`w${i}`, [i]]));
    expect(() => requireTensors(file, many)).toThrow(
      /expected tensor "w0" of shape \[0\], got none \(and 19 more like it\); expected are w0 \[0\], .*\(20 in all\); the file has a, b$/,
    );
    await file.close();
  });
});
