/** The log cut at every byte and flipped at every bit: what was acknowledged is there or named, nothing is made up. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { type Gap, logHeaderBytes, openRecordLog, recordBytes, writeRecordLog } from "./record-log.ts";

const folder = mkdtempSync(join(tmpdir(), "mneme-log-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "x.log");

const body = (text: string): Uint8Array => Buffer.from(text);
const long = Buffer.alloc(3 << 20, 7).toString("latin1"); // longer than one window

async function found(options?: {
  sealed?: number;
}): Promise<{ texts: string[]; gaps: Gap[]; torn: number; end: number }> {
  const log = await openRecordLog(path);
  const texts: string[] = [];
  const gaps: Gap[] = [];
  const { torn, end } = await log
    .scan({ record: (one) => texts.push(Buffer.from(one.body).toString()), gap: (gap) => gaps.push(gap) }, options)
    .finally(() => log.close());
  return { texts, gaps, torn, end };
}

/** Three writes: a, then b and c together, then d. */
async function written(last = "d"): Promise<{ bytes: Buffer; places: { at: number; size: number }[] }> {
  await writeRecordLog(path, 3, []);
  const log = await openRecordLog(path);
  await log.scan({ record: () => undefined, gap: () => undefined });
  const places = [
    ...(await log.append([body("a")])),
    ...(await log.append([body("bb"), body("")])),
    ...(await log.append([body(last)])),
  ];
  await log.close();
  return { bytes: readFileSync(path), places };
}

test("records come back in their writes, long ones too", async () => {
  const { bytes, places } = await written(long);
  expect(places.map(({ size }) => size)).toEqual([1, 2, 0, long.length].map(recordBytes));
  expect(bytes.length).toBe(logHeaderBytes + places.reduce((sum, { size }) => sum + size, 0));
  expect(await found()).toEqual({ texts: ["a", "bb", "", long], gaps: [], torn: 0, end: bytes.length });
  const log = await openRecordLog(path, { whole: true });
  const records = await log.read(places.toReversed());
  expect(records.map(({ at, first }) => [at, first])).toEqual(places.map(({ at }, i) => [at, i !== 2]));
  expect(log.generation).toBe(3);
  await log.close();
});

test("written anew in groups", async () => {
  const places = await writeRecordLog(path, 4, [[body("x"), body("y")], [body("z")]]);
  expect(places.map(({ at }) => at)).toEqual([20, 26, 32]);
  expect((await found()).texts).toEqual(["x", "y", "z"]);
});

test("cut at any byte: whole writes stay, the rest goes, and the next write follows", async () => {
  const { bytes, places } = await written();
  const ends = [0, 2, 3].map((i) => places[i].at + places[i].size);
  const whole = ["a", "bb", "", "d"];
  for (let length = logHeaderBytes; length <= bytes.length; length++) {
    writeFileSync(path, bytes.subarray(0, length));
    const writes = ends.filter((end) => end <= length).length;
    const end = [logHeaderBytes, ...ends][writes];
    const texts = whole.slice(0, [0, 1, 3, 4][writes]);
    expect(await found()).toEqual({ texts, gaps: [], torn: length - end, end });
    const log = await openRecordLog(path, { whole: true });
    await log.append([body("new")]);
    await log.close();
    expect((await found()).texts).toEqual([...texts, "new"]);
  }
});

test("cut below what was sealed: named, and not cut further", async () => {
  const { bytes, places } = await written();
  writeFileSync(path, bytes.subarray(0, places[3].at));
  const gap = { at: places[3].at, size: places[3].size, records: 3, body: new Uint8Array() };
  expect(await found({ sealed: bytes.length })).toMatchObject({ texts: ["a", "bb", ""], gaps: [gap], torn: 0 });
  writeFileSync(path, bytes.subarray(0, places[2].at + 2)); // the first half of a write
  const { texts, gaps } = await found({ sealed: bytes.length });
  expect(texts).toEqual(["a", "bb"]);
  expect(gaps.map(({ at, size }) => [at, size])).toEqual([
    [places[2].at, 2],
    [places[2].at + 2, bytes.length - places[2].at - 2],
  ]);
  expect(readFileSync(path).length).toBe(places[2].at + 2);
});

test("any bit flipped: that record is named with its place, all others are read", async () => {
  const { bytes, places } = await written();
  const whole = ["a", "bb", "", "d"];
  for (let bit = 8 * logHeaderBytes; bit < 8 * bytes.length; bit++) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3] ^= 1 << (bit & 7);
    writeFileSync(path, damaged);
    const hit = places.findLastIndex(({ at }) => at <= bit >> 3);
    const { texts, gaps, torn } = await found({ sealed: bytes.length });
    expect(texts).toEqual(whole.filter((_, i) => i !== hit));
    expect(gaps).toMatchObject([{ ...places[hit], records: hit }]);
    expect(torn).toBe(0);
    // Never closed, the last write cannot be told from a torn one; those before it can
    writeFileSync(path, damaged);
    if (hit < 3) expect((await found()).gaps).toMatchObject([{ at: places[hit].at }]);
    else expect(await found()).toMatchObject({ texts: whole.slice(0, 3), gaps: [], torn: places[3].size });
  }
});

test("a damaged head is an error, and another format another", async () => {
  const { bytes } = await written();
  for (let at = 0; at < logHeaderBytes; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at] ^= 16;
    writeFileSync(path, damaged);
    await expect(openRecordLog(path)).rejects.toThrow(
      `openBank: expected a log of format 1 in ${path}, got damage at byte 0; put the file back`,
    );
  }
  const log = await openRecordLog(path, { generation: 8 });
  expect([log.generation, log.headless]).toEqual([8, true]);
  await log.close();
});

test("random bytes are never taken for records, and rest behind the last write is cut", async () => {
  const { bytes } = await written();
  const random = randomStream(1, "noise");
  appendFileSync(
    path,
    Uint8Array.from({ length: 20000 }, () => random.integer(256)),
  );
  expect(await found()).toMatchObject({ texts: ["a", "bb", "", "d"], gaps: [], torn: 20000, end: bytes.length });
});

test("what another process wrote is not written over", async () => {
  const { bytes } = await written();
  const log = await openRecordLog(path, { whole: true });
  appendFileSync(path, "more");
  await expect(log.append([body("e")])).rejects.toThrow(
    `the file has ${bytes.length + 4} bytes and not ${bytes.length}: another process wrote it; open the bank again`,
  );
  await log.close();
});
