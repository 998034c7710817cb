/**
 * Experience replay (https://arxiv.org/abs/1902.10486, "ER" with a reservoir): a sample of the rows of all past
 * observations is kept, and a share of the rows of every training batch comes from it. All weights train.
 * Differs from the paper: a batch holds `share` of past rows instead of doubling in size, exactly so over an
 * observation, and many epochs are passed over the new rows; the past enters the reservoir only when an observation is
 * over. New rows are seen as often as without replay: the steps grow by 1 / (1 - share).
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import { type HostTensor, int32Host } from "../tensor/dtype.ts";
import { randomStream } from "../tensor/random.ts";
import { type Batches, batchOf, requireStep, type Rows, type ServeOptions, shuffledPasses } from "./batches.ts";
import { defineMethod } from "./definition.ts";
import { gradientMethod, trainableCopy, trainingOptions } from "./gradient-method.ts";
import type { MethodState } from "./method.ts";
import type { Remedy } from "./remedy.ts";
import { emptyReservoir, offer, type Reservoir } from "./reservoir.ts";
import { saveTrained } from "./save-model.ts";

const options = z.object({
  learningRate: z.number().positive().default(1e-3).describe("peak learning rate"),
  share: z.number().min(0).max(0.9).default(0.1).describe("share of the rows of training batches that are past ones"),
  capacity: z.int().positive().default(1000).describe("most rows that are kept of the past"),
  ...trainingOptions,
});

type Row = Int32Array;

/**
 * Rows to learn with past ones between them: of the first n rows served, floor(n * share + phase) are past ones, with
 * a phase in [0, 1) drawn by the seed, so their number is within one of n * share and n * share in expectation. New
 * rows and past rows each come in shuffled passes of their own. A batch is a pure function of seed and step.
 */
export function replayBatches(
  rows: Rows,
  past: readonly Row[],
  { share, batchSize, eosId, seed }: ServeOptions & { share: number },
): Batches {
  const { rowCount, contextLength, targetCount } = rows;
  const B = Math.min(batchSize, rowCount);
  const phase = randomStream(seed, "replay phase").uniform();
  const replayedBefore = (place: number): number => Math.floor(place * share + phase);
  const newAt = shuffledPasses(rowCount, seed, "batches");
  const pastAt = shuffledPasses(past.length, seed, "replay");
  const rowAt = (place: number): Uint16Array | Int32Array => {
    const replayed = replayedBefore(place);
    return replayedBefore(place + 1) > replayed ? past[pastAt(replayed)] : rows.row(newAt(place - replayed));
  };
  const rowsPerEpoch = rowCount / (1 - share);
  return {
    rowCount,
    batchSize: B,
    contextLength,
    targetCount,
    rowsPerEpoch,
    stepsPerEpoch: Math.ceil((rowCount + 1) / (1 - share) / B),
    batchAt(step) {
      requireStep(step);
      return batchOf(
        Array.from({ length: B }, (_, b) => rowAt(step * B + b)),
        { contextLength, eosId },
      );
    },
  };
}

const ROWS = "replay.rows";
const LENGTHS = "replay.lengths";

/** Rows as one table [n, longest]; short ones end with zeros. */
function packRows(items: readonly Row[]): Record<string, HostTensor> {
  if (items.length === 0) return {};
  const width = Math.max(...items.map(({ length }) => length));
  const table = new Int32Array(items.length * width);
  for (const [i, row] of items.entries()) table.set(row, i * width);
  return {
    [ROWS]: int32Host([items.length, width], table),
    [LENGTHS]: int32Host(
      [items.length],
      items.map(({ length }) => length),
    ),
  };
}

function unpackRows({ tensors }: MethodState, most: number): Row[] {
  const [table, lengths] = [tensors[ROWS], tensors[LENGTHS]];
  if (!table || !lengths) return [];
  const [count, width] = table.shape;
  if (width > most)
    throw new UserError(
      `replay: expected kept rows of at most ${most} tokens, got ${width}; use the contextLength they were learned ` +
        "with",
    );
  return Array.from({ length: count }, (_, i) =>
    Int32Array.from(table.data.subarray(i * width, i * width + Number(lengths.data[i])) as Int32Array),
  );
}

function replayRemedy({
  share,
  capacity,
  contextLength,
  seed,
}: {
  share: number;
  capacity: number;
  contextLength: number;
  seed: number;
}): Remedy {
  let reservoir: Reservoir<Row> = emptyReservoir;
  return {
    batches: (rows, serving) =>
      share === 0 || reservoir.items.length === 0
        ? undefined
        : replayBatches(rows, reservoir.items, { ...serving, share }),
    async after({ rows }) {
      const learned = Array.from({ length: rows.rowCount }, (_, i) => Int32Array.from(rows.row(i)));
      reservoir = offer(reservoir, learned, { capacity, seed });
    },
    bytes: () => reservoir.items.reduce((sum, { byteLength }) => sum + byteLength, 0),
    state: () => ({ tensors: packRows(reservoir.items), json: { replay: { seen: reservoir.seen } } }),
    restore(state) {
      const items = unpackRows(state, contextLength + 1);
      const saved = z.object({ replay: z.object({ seen: z.int().nonnegative() }) }).safeParse(state.json);
      if (!saved.success || items.length !== Math.min(capacity, saved.data.replay.seen)) {
        throw new UserError(
          `replay: expected the state of a reservoir of ${capacity} rows, got ${items.length} of ` +
            `${saved.data?.replay.seen ?? "unknown"} seen; use the capacity it was made with`,
        );
      }
      reservoir = { items, seen: saved.data.replay.seen };
    },
  };
}

export const replay = defineMethod({
  name: "replay",
  summary: "train all weights on the new text and on a sample of what was learned before",
  paper: "https://arxiv.org/abs/1902.10486",
  options,
  async create(base, { learningRate, share, capacity, ...training }, deps) {
    const contextLength = Math.min(training.contextLength, base.geometry.context);
    return gradientMethod({
      name: "replay",
      base,
      trainable: trainableCopy(base),
      remedy: replayRemedy({ share, capacity, contextLength, seed: deps.seed }),
      settings: { share, capacity },
      learningRate,
      training,
      deps,
    });
  },
  save: saveTrained,
});
