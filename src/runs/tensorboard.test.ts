import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RunEvent } from "./events.ts";
import { crc32c, maskedCrc32c, openTensorboard, runScalars, scalarEvent, tfRecord } from "./tensorboard.ts";

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

test("CRC-32C gives the vectors of RFC 3720 and the check value of the polynomial", () => {
  expect(crc32c(ascii("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(0))).toBe(0);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
  // Rotated right by 15 and moved on by the constant, in whole-number arithmetic.
  const crc = 0xe3069283;
  const rotated = Math.floor(crc / 2 ** 15) + (crc % 2 ** 15) * 2 ** 17;
  expect(maskedCrc32c(ascii("123456789"))).toBe((rotated + 0xa282ead8) % 2 ** 32);
});

test("exact bytes of a record worked out by hand", () => {
  const data = scalarEvent({ tag: "a/b", value: 1.5, step: 300, time: 2500 });
  const bytes = [
    [0x09, 0, 0, 0, 0, 0, 0, 0x04, 0x40], // wall_time: fixed 64-bit 2.5 = 1.25 * 2^1
    [0x10, 0xac, 0x02], // step: varint 300 = 2 * 128 + 44
    [0x2a, 12, 0x0a, 10], // summary of 12 bytes, value of 10
    [0x0a, 3, 0x61, 0x2f, 0x62], // tag
    [0x15, 0, 0, 0xc0, 0x3f], // simple_value: fixed 32-bit 1.5 = 0x3fc00000
  ].flat();
  expect([...data]).toEqual(bytes);
  const frame = Buffer.from(tfRecord(data));
  expect([...frame.subarray(0, 8)]).toEqual([26, 0, 0, 0, 0, 0, 0, 0]);
  expect(frame.readUInt32LE(8)).toBe(maskedCrc32c(frame.subarray(0, 8)));
  expect([...frame.subarray(12, 38)]).toEqual(bytes);
  expect(frame.readUInt32LE(38)).toBe(maskedCrc32c(data));
  expect(frame.length).toBe(42);
});

interface Read {
  wallTime: number;
  step: number;
  version?: string;
  values: { tag: string; value: number }[];
}

/** Fields of one protobuf message: numbers as they are, length-delimited ones as bytes. */
function fields(bytes: Buffer): { field: number; number?: number; bytes?: Buffer }[] {
  const found: { field: number; number?: number; bytes?: Buffer }[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const field = key >> 3;
    if ((key & 7) === 0) found.push({ field, number: Number(BigInt.asIntN(64, varint())) });
    else if ((key & 7) === 1) found.push({ field, number: bytes.readDoubleLE((at += 8) - 8) });
    else if ((key & 7) === 5) found.push({ field, number: bytes.readFloatLE((at += 4) - 4) });
    else {
      const length = Number(varint());
      found.push({ field, bytes: bytes.subarray(at, (at += length)) });
    }
  }
  return found;
}

/** A checksum that is no copy of the writer's: bit by bit, and unmasked instead of masked. */
function checksumFits(data: Buffer, masked: number): boolean {
  let crc = 0xffffffffn;
  for (const byte of data) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ (crc & 1n ? 0x82f63b78n : 0n);
  }
  const rotated = BigInt.asUintN(32, BigInt(masked) - 0xa282ead8n);
  return ((rotated >> 17n) | BigInt.asUintN(32, rotated << 15n)) === (crc ^ 0xffffffffn);
}

function readEventFile(file: Buffer): Read[] {
  const events: Read[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    expect(checksumFits(file.subarray(at, at + 8), file.readUInt32LE(at + 8))).toBe(true);
    const data = file.subarray(at + 12, at + 12 + length);
    expect(checksumFits(data, file.readUInt32LE(at + 12 + length))).toBe(true);
    at += 16 + length;
    const event: Read = { wallTime: Number.NaN, step: 0, values: [] };
    for (const { field, number, bytes } of fields(data)) {
      if (field === 1) event.wallTime = number ?? Number.NaN;
      if (field === 2) event.step = number ?? Number.NaN;
      if (field === 3) event.version = bytes?.toString();
      if (field !== 5 || !bytes) continue;
      for (const one of fields(bytes)) {
        const inner = fields(one.bytes ?? Buffer.alloc(0));
        const tag = inner.find((part) => part.field === 1)?.bytes?.toString() ?? "";
        event.values.push({ tag, value: inner.find((part) => part.field === 2)?.number ?? Number.NaN });
      }
    }
    events.push(event);
  }
  return events;
}

describe("a file", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "mneme-tensorboard-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("is read back by an independent reader; a second sitting gets a file of its own", async () => {
    const into = join(folder, "deep", "board");
    const clock = () => 1_763_726_400_250;
    const writer = await openTensorboard(into, { clock });
    await writer.write([
      { tag: "train/loss", value: 0.1, step: 1, time: 1000 },
      { tag: "score/é 🙂", value: -2.5, step: 5_000_000_000, time: 1500 },
    ]);
    await writer.write([]);
    const second = await openTensorboard(into, { clock });
    await second.write([{ tag: "x", value: Number.NaN, step: 0, time: 0 }]);
    await Promise.all([writer.close(), second.close()]);

    expect((await readdir(into)).sort()).toEqual([
      "events.out.tfevents.1763726400.mneme.0",
      "events.out.tfevents.1763726400.mneme.1",
    ]);
    const start = { wallTime: 1763726400.25, step: 0, version: "brain.Event:2", values: [] };
    expect(readEventFile(await readFile(writer.path))).toEqual([
      start,
      { wallTime: 1, step: 1, values: [{ tag: "train/loss", value: Math.fround(0.1) }] },
      { wallTime: 1.5, step: 5_000_000_000, values: [{ tag: "score/é 🙂", value: -2.5 }] },
    ]);
    expect(readEventFile(await readFile(second.path))[1].values).toEqual([{ tag: "x", value: Number.NaN }]);
  });

  test("that cannot be made is a line for the user", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(openTensorboard(join(folder, "file", "board"))).rejects.toThrow(/^save: expected to write .*file/);
  });
});

test("property: every scalar survives writing and reading", () => {
  const scalar = fc.record({
    tag: fc.string({ unit: fc.constantFrom("a", "/", "é", "水", "🙂", " ", "\0"), maxLength: 200 }),
    value: fc.float({ noNaN: true }),
    step: fc.maxSafeNat(),
    time: fc.nat(),
  });
  fc.assert(
    fc.property(scalar, ({ tag, value, step, time }) => {
      const file = Buffer.from(tfRecord(scalarEvent({ tag, value, step, time })));
      expect(readEventFile(file)).toEqual([{ wallTime: time / 1000, step, values: [{ tag, value }] }]);
    }),
  );
});

test("a run's events become scalars whose steps go on from topic to topic", () => {
  const step = (topic: number, at: number, loss: number): RunEvent => ({
    time: 10 * at,
    type: "method",
    topic,
    event: { type: "step", step: at, steps: 2, tokens: 8, loss, learningRate: 0.5, tokensPerSecond: 40 },
  });
  const learned = (topic: number): RunEvent => ({
    time: 99,
    type: "topic-learned",
    topic,
    name: "ab"[topic],
    receipt: { id: "r", documents: [], steps: 2, tokens: 8, seconds: 3, finalLoss: 1, stopped: "done" },
    bytes: 7,
  });
  const convert = runScalars({ prefix: "lora/" });
  const all = [
    {
      time: 0,
      type: "run-start",
      run: "r",
      task: "t",
      method: "lora",
      model: "m",
      topics: ["a", "b"],
      learned: 0,
      resumed: false,
    },
    { time: 1, type: "cell", row: -1, column: 1, score: 0.25, scores: { f1: 0.5 } },
    { time: 1, type: "cell", row: -1, column: 0, score: null, scores: null },
    step(0, 1, 4),
    step(0, 2, 3),
    learned(0),
    step(1, 1, 2),
    learned(1),
    { time: 5, type: "cell", row: 1, column: 0, score: 0.75, scores: { f1: 0.875 } },
    { time: 6, type: "probe", row: 1, name: "W0", value: 0.5 },
    {
      time: 7,
      type: "snapshot",
      row: 0,
      snapshot: { drift: [{ relativeL2: 0.25, cosine: 0.5, cka: 0.75 }], attentionEntropy: [[1, 2]] },
    },
  ] satisfies RunEvent[];
  const scalars = all.flatMap((event) => convert(event));
  const of = (tag: string) =>
    scalars.filter((one) => one.tag === `lora/${tag}`).map(({ step, value }) => [step, value]);
  expect(of("train/loss")).toEqual([
    [1, 4],
    [2, 3],
    [3, 2],
  ]);
  expect(of("train/learningRate")).toEqual([1, 2, 3].map((at) => [at, 0.5]));
  expect(of("score/a")).toEqual([[2, 0.75]]);
  expect(of("score/b")).toEqual([[0, 0.25]]);
  expect(of("f1/a")).toEqual([[2, 0.875]]);
  expect(of("probe/W0")).toEqual([[2, 0.5]]);
  expect([of("drift/relativeL2/0"), of("drift/cka/0"), of("entropy/layer0")]).toEqual([
    [[1, 0.25]],
    [[1, 0.75]],
    [[1, 1.5]],
  ]);
  expect(of("cost/secondsPerTopic")).toEqual([
    [1, 3],
    [2, 3],
  ]);
  expect(scalars.find(({ tag }) => tag === "lora/train/loss")?.time).toBe(10);
});
