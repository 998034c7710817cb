/**
 * sparseRowUpdate: the time of an update that touches 4,096 random rows must not grow with the table. An update is
 * whole: rows are looked up through the runtime in the table itself, their gradients come out of the graph as rows,
 * and a row optimizer applies them.
 */
import { rowAdam, type RowState } from "../nn/sparse-optim.ts";
import { createRuntime, type Program } from "../runtime/runtime.ts";
import { float32Host, type HostTensor, int32Host, zerosHost } from "../tensor/dtype.ts";
import { gather, input, mul, square, sum } from "../tensor/functions.ts";
import { sparseGradients } from "../tensor/grad.ts";
import { type Random, randomStream } from "../tensor/random.ts";
import { absent, type Measure, memoryShort, settle, timed } from "./measure.ts";
import { spread } from "./stats.ts";

const WIDTH = 256;
const TOUCHED = 4096;
const tableRows = [10_000, 100_000, 1_000_000];
/** Table and two moments of each size. */
const NEEDED = tableRows.reduce((sum, rows) => sum + 3 * 4 * rows * WIDTH, 0) + 1e9;

const optimizer = rowAdam();

/** Half the squared length of the looked-up rows: the simplest loss whose gradient depends on every number. */
function lookUpGraph() {
  const table = input("table", "float32", ["R", WIDTH]);
  const loss = mul(sum(square(gather(table, input("rows", "int32", [TOUCHED])))), 0.5);
  const [{ rows }] = sparseGradients(loss, [table], new Set([table]));
  return { loss, indices: rows[0].indices, gradients: rows[0].values };
}

interface Table {
  readonly rows: number;
  readonly values: HostTensor<"float32">;
  readonly state: RowState;
}

/** A table and its moments, every page of them written to once. */
function createTable(rows: number): Table {
  const values = float32Host([rows, WIDTH], new Float32Array(rows * WIDTH).fill(0.1));
  const state = optimizer.init(rows, WIDTH);
  for (const moments of Object.values(state.tensors)) moments.fill(1e-8);
  return { rows, values, state };
}

/** Distinct rows in random order. */
export function randomRows(random: Random, rows: number, count: number): Int32Array {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(random.integer(rows));
  return Int32Array.from(chosen);
}

async function update(
  program: Program,
  { values, state }: Table,
  rows: HostTensor<"int32">,
  into: Record<string, HostTensor>,
): Promise<void> {
  const { indices, gradients } = await program.run({ table: values, rows }, { into });
  optimizer.stepRows(values.data, WIDTH, indices.data as Int32Array, gradients.data as Float32Array, state, 1e-3);
}

export const sparseRowUpdate: Measure = async ({ quick, log, signal }) => {
  const short = memoryShort(NEEDED);
  if (short) return absent(short);
  const [rounds, updates] = quick ? [2, 4] : [7, 15];
  const runtime = createRuntime();
  try {
    const program = await runtime.compile(lookUpGraph());
    const into = { gradients: zerosHost("float32", [TOUCHED, WIDTH]) };
    const tables = tableRows.map(createTable);
    const times = new Map<number, number[]>(tableRows.map((rows) => [rows, []]));
    const random = randomStream(0, "bench", "rows");
    for (let round = 0; round < rounds; round++) {
      for (const table of tables) {
        signal?.throwIfAborted();
        await settle();
        for (let i = -2; i < updates; i++) {
          const rows = int32Host([TOUCHED], randomRows(random, table.rows, TOUCHED));
          const ms = await timed(() => update(program, table, rows, into));
          if (i >= 0) times.get(table.rows)?.push(ms); // the first ones after a pause warm up
        }
      }
      log(`sparseRowUpdate: round ${round + 1} of ${rounds}`);
    }
    const ms = [...times].map(([rows, found]) => ({ rows, ...spread(found) }));
    const medians = ms.map((found) => found.median);
    return {
      value: Math.max(...medians) / Math.min(...medians),
      threads: runtime.threads,
      touchedRows: TOUCHED,
      width: WIDTH,
      ms,
    };
  } finally {
    await runtime.dispose();
  }
};
