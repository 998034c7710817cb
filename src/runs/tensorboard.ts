/**
 * TensorBoard event files, written without TensorFlow: TFRecord frames (length, masked CRC-32C, data, masked CRC-32C)
 * around Event messages, field numbers as in tensorflow/core/util/event.proto and framework/summary.proto.
 * Scalars only. Each sitting of a run writes a file of its own into the folder; TensorBoard joins them.
 */
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import protobuf from "protobufjs/minimal.js";
import { errorCode, writeError } from "../checkpoint/files.ts";
import { internal } from "../errors.ts";
import { mean } from "../eval/metrics.ts";
import type { RunEvent } from "./events.ts";

export interface Scalar {
  /** Names with the same text before a slash are shown together. */
  readonly tag: string;
  readonly value: number;
  readonly step: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

/** Reflected Castagnoli polynomial, a table entry per byte. */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli, RFC 3720) as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255];
  return ~crc >>> 0;
}

/** TFRecord stores checksums rotated by 15 bits plus a constant, so that data that holds checksums stays checkable. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One TFRecord frame around `data`. */
export function tfRecord(data: Uint8Array): Uint8Array {
  const frame = new Uint8Array(data.length + 16);
  const view = new DataView(frame.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(frame.subarray(0, 8)), true);
  frame.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return frame;
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const key = (field: number, wire: number): number => (field << 3) | wire;

/** Event { wall_time = 1 }, in seconds. */
const startEvent = (time: number): protobuf.Writer =>
  protobuf.Writer.create()
    .uint32(key(1, FIXED64))
    .double(time / 1000);

/** Event { file_version = 3 }: the first record of every file. */
function versionEvent(time: number): Uint8Array {
  return startEvent(time).uint32(key(3, LENGTH_DELIMITED)).string("brain.Event:2").finish();
}

/** Event { step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }. */
export function scalarEvent({ tag, value, step, time }: Scalar): Uint8Array {
  if (!Number.isSafeInteger(step)) internal(`scalarEvent: step ${step} of ${tag}`);
  return startEvent(time)
    .uint32(key(2, VARINT))
    .int64(step)
    .uint32(key(5, LENGTH_DELIMITED))
    .fork()
    .uint32(key(1, LENGTH_DELIMITED))
    .fork()
    .uint32(key(1, LENGTH_DELIMITED))
    .string(tag)
    .uint32(key(2, FIXED32))
    .float(value)
    .ldelim()
    .ldelim()
    .finish();
}

/**
 * Turns the events of one run into scalars, in order: training values by the step of the whole stream, scores of each
 * topic by the number of topics learned, the run's metrics at its end. Feed a resumed run's earlier events first, so
 * that its steps go on where they were; the tags of a scalar are `prefix` + "train/loss" and so on.
 */
export function runScalars({ prefix = "" }: { prefix?: string } = {}): (event: RunEvent) => Scalar[] {
  let topics: readonly string[] = [];
  /** Steps of the topics before the one being learned. */
  let before = 0;
  return (event) => {
    const { time } = event;
    const at = (step: number, values: Readonly<Record<string, unknown>>): Scalar[] =>
      Object.entries(values).flatMap(([tag, value]) =>
        typeof value === "number" ? [{ tag: prefix + tag, value, step, time }] : [],
      );
    if (event.type === "run-start") {
      ({ topics } = event);
      return [];
    }
    if (event.type === "method" && event.event.type === "step") {
      const { step, loss, learningRate, tokensPerSecond } = event.event;
      return at(before + step, {
        "train/loss": loss,
        "train/learningRate": learningRate,
        "train/tokensPerSecond": tokensPerSecond,
      });
    }
    if (event.type === "method" && event.event.type === "validation") {
      return at(before + event.event.step, { "validation/bitsPerByte": event.event.bitsPerByte });
    }
    if (event.type === "topic-learned") {
      before += event.receipt.steps;
      return at(event.topic + 1, { "cost/secondsPerTopic": event.receipt.seconds, "cost/bytes": event.bytes });
    }
    if (event.type === "cell") {
      const topic = topics[event.column] ?? String(event.column);
      const named = Object.entries(event.scores ?? {}).map(([name, value]) => [`${name}/${topic}`, value] as const);
      return at(event.row + 1, { [`score/${topic}`]: event.score, ...Object.fromEntries(named) });
    }
    if (event.type === "probe") return at(event.row + 1, { [`probe/${event.name}`]: event.value });
    if (event.type === "snapshot") {
      const { drift, attentionEntropy } = event.snapshot;
      return [
        ...drift.flatMap(({ relativeL2, cka }, i) =>
          at(event.row + 1, { [`drift/relativeL2/${i}`]: relativeL2, [`drift/cka/${i}`]: cka }),
        ),
        ...attentionEntropy.flatMap((heads, layer) => at(event.row + 1, { [`entropy/layer${layer}`]: mean(heads) })),
      ];
    }
    if (event.type !== "result") return [];
    const { metrics, cost, matrix } = event.result;
    const named = (group: string, values: object) =>
      Object.fromEntries(Object.entries(values).map(([name, value]: [string, unknown]) => [`${group}/${name}`, value]));
    return at(matrix.R.length, { ...named("metrics", metrics), ...named("cost", cost) });
  };
}

export interface TensorboardWriter {
  /** Path of the event file. */
  readonly path: string;
  /** Appends scalars; they are in the file when the promise resolves. */
  write(scalars: readonly Scalar[]): Promise<void>;
  close(): Promise<void>;
}

/** Starts a new event file in `folder`, which is made if it is missing. */
export async function openTensorboard(
  folder: string,
  { clock = Date.now }: { clock?: () => number } = {},
): Promise<TensorboardWriter> {
  const started = clock();
  const { handle, path } = await create(folder, Math.floor(started / 1000));
  const append = (frames: readonly Uint8Array[]) =>
    // One call for all frames: a reader never sees more than the last record torn.
    handle.appendFile(Buffer.concat(frames)).catch((error: unknown) => {
      throw writeError(path, error);
    });
  await append([tfRecord(versionEvent(started))]);
  return {
    path,
    write: async (scalars) => {
      if (scalars.length > 0) await append(scalars.map((scalar) => tfRecord(scalarEvent(scalar))));
    },
    close: () => handle.close(),
  };
}

/** A file that nobody else writes to: the start in seconds, then a number. TensorBoard reads them in that order. */
async function create(folder: string, seconds: number) {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw writeError(folder, error);
  });
  for (let number = 0; ; number++) {
    const path = join(folder, `events.out.tfevents.${String(seconds).padStart(10, "0")}.mneme.${number}`);
    try {
      return { handle: await open(path, "ax"), path };
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw writeError(path, error);
    }
  }
}
