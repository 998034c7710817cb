/** Tables of rows in RAM and on the disk against plain arrays; what a crash leaves; damage and wrong calls. */
import { appendFile, copyFile, mkdtemp, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UserError } from "../errors.ts";
import { randomStream } from "../tensor/random.ts";
import { createRowCodec, rowFormats } from "./row-codec.ts";
import { createSlotTable, openSlotTable, type SlotTable, writeSlotTable } from "./slot-table.ts";

let folder: string;
let files = 0;
const newPath = (): string => join(folder, `table-${files++}`);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mneme-slots-"));
});
afterAll(() => rm(folder, { recursive: true }));

const normals = (length: number, ...labels: (string | number)[]): Float32Array => {
  const out = new Float32Array(length);
  randomStream(7, ...labels).fillNormal(out, 0, 0.1);
  return out;
};
const fillFrom =
  (values: Float32Array) =>
  (row: number, out: Float32Array): void =>
    out.set(values.subarray(row * out.length, (row + 1) * out.length));
/** Forgets what is in RAM: the files are as a process that died has left them. */
const FAST = { durability: "process" } as const;

describe.each(rowFormats)("rows as %s", (format) => {
  test("come back within the format's rounding, and then as they are", () => {
    const bits = { float32: 0, float16: 2 ** -11, int8: 0.5 / 127 }[format];
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -60000, max: 60000, noNaN: true }), { minLength: 1, maxLength: 9 }),
        (numbers) => {
          const row = Float32Array.from(numbers);
          const codec = createRowCodec(format, row.length);
          const once = new Float32Array(row.length);
          const bytes = codec.encode(row, "row");
          expect(bytes).toHaveLength(codec.bytes);
          codec.decode(bytes, once);
          const most = row.reduce((far, x) => Math.max(far, Math.abs(x)), 0);
          for (const [i, x] of row.entries())
            expect(Math.abs(once[i] - x)).toBeLessThanOrEqual(
              1.001 * bits * (format === "int8" ? most : Math.abs(x)) + 2 ** -24,
            );
          expect(codec.encode(once, "row")).toEqual(bytes);
        },
      ),
    );
  });

  test("what is not finite is refused, and the table stays", async () => {
    const path = newPath();
    await writeSlotTable(path, { rows: 5, width: 3, format });
    for (const table of [createSlotTable({ rows: 5, width: 3, format }), await openSlotTable(path, FAST)]) {
      await table.write([2], Float32Array.of(1, 2, 3));
      const before = await table.hash();
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
        await expect(table.write([1, 4], Float32Array.of(1, 1, 1, 1, bad, 1))).rejects.toThrow(
          `slots: expected finite numbers, got ${bad} in row 4`,
        );
      expect(await table.hash()).toBe(before);
      expect([...(await table.read([1]))]).toEqual([0, 0, 0]);
      await table.close();
    }
  });

  test("a file and an array are the same table, through any reads and writes and a cache of few pages", async () => {
    const [rows, width] = [400, 61];
    const values = normals(rows * width, "values");
    const path = newPath();
    await writeSlotTable(path, { rows, width, format }, fillFrom(values));
    const inRam = createSlotTable({ rows, width, format }, values);
    let onDisk = await openSlotTable(path, { ...FAST, cacheBytes: 20_000 });
    expect(onDisk.bytes().ram).toBeLessThanOrEqual(20_000);
    const random = randomStream(1, "steps", format);
    for (let step = 0; step < 60; step++) {
      const places = Array.from({ length: 1 + random.integer(30) }, () => random.integer(rows));
      expect(await onDisk.read(places)).toEqual(await inRam.read(places));
      const distinct = [...new Set(places)];
      const next = normals(distinct.length * width, "next", step);
      for (const table of [inRam, onDisk]) await table.write(distinct, next);
      if (step % 20 !== 19) continue;
      expect(await onDisk.hash()).toBe(await inRam.hash());
      await onDisk.close();
      onDisk = await openSlotTable(path, { ...FAST, cacheBytes: 20_000 });
    }
    expect(onDisk).toMatchObject({ rows, width, format });
    expect(await onDisk.read(Array.from({ length: rows }, (_, i) => i))).toEqual(
      await inRam.read(Array.from({ length: rows }, (_, i) => i)),
    );
    await onDisk.close();
  });

  test("rows put back are the old ones, bit by bit", async () => {
    const table = createSlotTable({ rows: 50, width: 16, format }, normals(50 * 16, "back"));
    const before = await table.hash();
    const places = [3, 49, 0, 17];
    const old = await table.read(places);
    await table.write(places, normals(4 * 16, "other"));
    expect(await table.hash()).not.toBe(before);
    await table.write(places, old);
    expect(await table.hash()).toBe(before);
  });
});

describe("a crash", () => {
  const [rows, width] = [90, 300];
  const places = Array.from({ length: 40 }, (_, i) => 2 * i + 3);

  /** A table before a write and after it, and its files when the write was done and nothing was tidied up. */
  async function written() {
    const path = newPath();
    await writeSlotTable(path, { rows, width }, fillFrom(normals(rows * width, "crash")));
    const old = newPath();
    await copyFile(path, old);
    const table = await openSlotTable(path, FAST);
    const before = await table.hash();
    await table.write(places, normals(places.length * width, "after"));
    const left = newPath();
    await copyFile(path, left);
    await copyFile(`${path}.log`, `${left}.log`);
    const after = await table.hash();
    await table.close();
    expect(after).not.toBe(before);
    return { before, after, old, left };
  }

  const hashAfterOpening = async (path: string): Promise<string> => {
    const table = await openSlotTable(path, FAST);
    const hash = await table.hash();
    await table.close();
    return hash;
  };

  test("while rows are put into the file leaves the table after the write", async () => {
    const { after, old, left } = await written();
    const [from, to] = [await readFile(old), await readFile(left)];
    for (const share of [0, 0.1, 0.35, 0.7, 0.999, 1]) {
      const path = newPath();
      const cut = Math.floor(share * from.length);
      await writeFile(path, Buffer.concat([to.subarray(0, cut), from.subarray(cut)]));
      await copyFile(`${left}.log`, `${path}.log`);
      expect(await hashAfterOpening(path)).toBe(after);
      await rm(`${path}.log`); // all of it is in the file now
      expect(await hashAfterOpening(path)).toBe(after);
    }
  });

  test("while the log is written leaves the table before the write", async () => {
    const { before, old, left } = await written();
    const { length } = await readFile(`${left}.log`);
    for (const cut of [20, 21, 24, 2000, length - 5, length - 1]) {
      const path = newPath();
      await copyFile(old, path);
      await copyFile(`${left}.log`, `${path}.log`);
      await truncate(`${path}.log`, cut);
      expect(await hashAfterOpening(path)).toBe(before);
    }
  });

  test("a write of several records is all or nothing", async () => {
    const [many, wide] = [700, 1000]; // 2.8 MB, records of 64 KB
    const path = newPath();
    await writeSlotTable(path, { rows: many, width: wide });
    const blank = newPath();
    await copyFile(path, blank);
    const before = await hashAfterOpening(path);
    const table = await openSlotTable(path, FAST);
    await table.write(
      Array.from({ length: many }, (_, i) => i),
      normals(many * wide, "many"),
    );
    const after = await table.hash();
    const { length } = await readFile(`${path}.log`);
    for (const [cut, want] of [
      [length, after],
      [length - 1, before],
      [2_200_000, before],
    ] as const) {
      const copy = newPath();
      await copyFile(blank, copy);
      await copyFile(`${path}.log`, `${copy}.log`);
      await truncate(`${copy}.log`, cut);
      expect(await hashAfterOpening(copy)).toBe(want);
    }
    await table.close();
  });
});

describe("damage and wrong calls", () => {
  test.each([
    [
      "cut off",
      (path: string) => truncate(path, 500),
      /^slots: expected 1264 bytes in .* \(100 rows\), got 500; the file is cut off/,
    ],
    ["too long", (path: string) => appendFile(path, "x"), /got 1265; the file is cut off or damaged/],
    [
      "shorter than its head",
      (path: string) => truncate(path, 10),
      /^slots: expected a table of slots in .*, got something else/,
    ],
    [
      "with a damaged head",
      async (path: string) => {
        const handle = await open(path, "r+");
        await handle.write("\u0007", 24);
        await handle.close();
      },
      /^slots: expected a table of slots in .*, got something else/,
    ],
    ["gone", (path: string) => rm(path), /^slots: expected a file at .*, got nothing there/],
    [
      "with a damaged log",
      (path: string) => writeFile(`${path}.log`, "x".repeat(40)),
      /^slots: expected a log of format 1 in .*damage/,
    ],
  ])("a file %s is refused in one line", async (_, damage, message) => {
    const path = newPath();
    await writeSlotTable(path, { rows: 100, width: 3 });
    await damage(path);
    const refused = openSlotTable(path, FAST);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toBeInstanceOf(UserError);
  });

  test("places and sizes that do not fit are refused, and a file that is there is not replaced", async () => {
    const path = newPath();
    await writeSlotTable(path, { rows: 4, width: 2 });
    await expect(writeSlotTable(path, { rows: 4, width: 2 })).rejects.toThrow("slots: expected a new file, got");
    const tables: SlotTable[] = [createSlotTable({ rows: 4, width: 2 }), await openSlotTable(path, FAST)];
    for (const table of tables) {
      const before = await table.hash();
      await expect(table.read([4])).rejects.toThrow("slots: expected rows from 0 to 3, got 4; the table has 4");
      await expect(table.read([-1])).rejects.toThrow("got -1");
      await expect(table.write([0, 0], new Float32Array(4))).rejects.toThrow("expected different rows in one write");
      await expect(table.write([0, 1], new Float32Array(3))).rejects.toThrow(
        "expected 2 rows of 2 numbers, got 3 numbers",
      );
      await table.write([], new Float32Array());
      expect(await table.hash()).toBe(before);
      await table.close();
    }
    expect(() => createSlotTable({ rows: 0, width: 2 })).toThrow("expected 1 or more rows");
    const huge = createSlotTable({ rows: 1, width: 1, format: "float16" });
    await expect(huge.write([0], Float32Array.of(70000))).rejects.toThrow(
      "expected numbers up to 65504 (float16), got 70000",
    );
  });
});
