/**
 * Where a fit begins: block i of a latent looks at the i-th token of the answer and carries a short code of that word,
 * and the code, added where that token is to be predicted, points at its row of the head. So copying works to a part
 * before the first step, and the fit starts from there; from random numbers it takes thousands of steps to find.
 */
import { cholesky, choleskySolve } from "../../memory/pseudo-inverse.ts";
import { gram, type Matrix, product, transposed, triangleSize } from "../../memory/matrix.ts";
import { modelParams } from "../../models/instance.ts";
import type { LoadedModel, Weights } from "../../models/load.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Host, int32Host } from "../../tensor/dtype.ts";
import { input } from "../../tensor/functions.ts";
import { type LatentShape, networkName } from "./nets.ts";

/** How strong a bound block is, in parts of what the base's last layer gives. */
const GAIN = 0.5;
/** Of the regression from codes to rows of the head, in parts of the codes' own squares. */
const RIDGE = 1e-3;
/** Tokens in one run. */
const AT_ONCE = 512;

interface Words {
  /** What the encoder reads of each token, and the head's row for it: [V, D] each. */
  readonly read: Matrix;
  readonly said: Matrix;
  /** Root mean square of the last layer's output. */
  readonly scale: number;
}

async function wordsOf(runtime: Runtime, base: LoadedModel): Promise<Words> {
  const { definition, config, weights, geometry } = base;
  const { vocabulary: V, width: D } = geometry;
  const p = modelParams(base);
  const { hidden } = definition.forward(p, config, { ids: input("ids", "int32", ["B", 1]) });
  const program = await runtime.compile({ read: hidden[0], last: hidden[hidden.length - 1] }, weights);
  const head = await runtime.compile(
    { logits: definition.logits(p, config, input("units", "float32", [D, D])) },
    weights,
  );
  const units = new Float32Array(D * D);
  for (let d = 0; d < D; d++) units[d * D + d] = 1;
  const { logits } = await head.run({ units: float32Host([D, D], units) });
  const read = new Float64Array(V * D);
  let squares = 0;
  for (let start = 0; start < V; start += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, V - start) }, (_, i) => start + i);
    const found = await program.run({ ids: int32Host([ids.length, 1], ids) });
    read.set(found.read.data as Float32Array, start * D);
    squares += (found.last.data as Float32Array).reduce((sum, value) => sum + value * value, 0);
  }
  await program.release();
  await head.release();
  return {
    read: { rows: V, columns: D, data: read },
    said: transposed({ rows: D, columns: V, data: Float64Array.from(logits.data as Float32Array) }),
    scale: Math.sqrt(squares / (V * D)),
  };
}

/** Every row brought to a root mean square of 1. */
function normalised({ rows, columns, data }: Matrix): Matrix {
  const out = data.slice();
  for (let r = 0; r < rows; r++) {
    const row = out.subarray(r * columns, (r + 1) * columns);
    const size = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / columns) || 1;
    for (let c = 0; c < columns; c++) row[c] /= size;
  }
  return { rows, columns, data: out };
}

/** B of the least |Y - X B|² + ridge, Y about its mean. */
function regression(x: Matrix, y: Matrix): Matrix {
  const centred = { ...y, data: y.data.slice() };
  for (let c = 0; c < y.columns; c++) {
    let mean = 0;
    for (let r = 0; r < y.rows; r++) mean += y.data[r * y.columns + c] / y.rows;
    for (let r = 0; r < y.rows; r++) centred.data[r * y.columns + c] -= mean;
  }
  const across = transposed(x);
  const squares = gram(across);
  for (let i = 1; i <= x.columns; i++) squares[triangleSize(i) - 1] += RIDGE * x.rows;
  return choleskySolve(cholesky(squares, x.columns) as Float64Array, product(across, centred));
}

const matrixOfWeight = ({ shape, data }: Weights[string]): Matrix => ({
  rows: shape[0],
  columns: shape[1],
  data: Float64Array.from(data),
});

/** Writes these beginnings into fresh weights. */
export async function bindBlocks(
  runtime: Runtime,
  base: LoadedModel,
  weights: Weights,
  shape: LatentShape,
): Promise<void> {
  const { blocks: M, encoderWidth: E, encoderContext: T } = shape;
  const own = (name: string): Weights[string] => weights[networkName(name)];
  const offsets = own("encoder.offsets.weight").data;
  const queries = own("pool.queries.weight").data;
  const keys = own("pool.keys.weight").data;
  for (let i = 0; i < M; i++) {
    const from = Math.min(T, i + 1) * E;
    queries.set(
      offsets.subarray(from, from + E).map((value) => 4 * value),
      i * E,
    );
  }
  keys.fill(0);
  for (let e = 0; e < E; e++) keys[e * E + e] = 1;
  const words = await wordsOf(runtime, base);
  const seen = product(normalised(words.read), transposed(matrixOfWeight(own("encoder.words.weight"))));
  const codes = normalised(product(normalised(seen), transposed(matrixOfWeight(own("pool.values.weight")))));
  const said = regression(codes, words.said); // [S, D]
  const told = product(codes, said);
  const size = Math.sqrt(told.data.reduce((sum, value) => sum + value * value, 0) / told.data.length) || 1;
  const bound = transposed(said);
  own("bound.weight").data.set(bound.data.map((value) => (value * GAIN * words.scale) / size));
}
