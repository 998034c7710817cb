/**
 * Where a fit begins: a straight path through the networks. Keys and values of a token in all layers of the base lie near
 * a subspace; P numbers in it, linear in what the encoder reads, are the token's part of a slot, and the prefix unfolds
 * them again. The aggregator hands through the like slot of what it sees most. So a document in the bank is read, to a
 * part, as if it stood before the question, and the fit starts from there. Letters as in shape.ts; W = 2 L K H.
 */
import { gram, type Matrix, product, transposed, triangleSize } from "../../memory/matrix.ts";
import { cholesky, choleskySolve } from "../../memory/pseudo-inverse.ts";
import { modelParams } from "../../models/instance.ts";
import type { LoadedModel, Weights } from "../../models/load.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { int32Host } from "../../tensor/dtype.ts";
import { cast, concat, input, iota, matmul, mul, neg, reshape, rows, sum, transpose } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/graph.ts";
import { type Random, randomStream } from "../../tensor/random.ts";
import { statesOf } from "./encoder.ts";
import { type BankShape, placeWidth, ROOT, stateWidth } from "./shape.ts";

/** Beyond this many numbers the sums of products are too large for it: a fit then begins at random. */
const MOST_NUMBERS = 6144;
/** Texts in one run. */
const AT_ONCE = 32;
/** Of the regression, in parts of the mean square. */
const RIDGE = 1e-4;
/** Variance below this part of the mean square is what rounding makes of none. */
const NOISE = 1e-7;
/** Rounds of subspace iteration. */
const ROUNDS = 12;
/** Score of the like slot above all others, at the start of the first block. */
const SHARP = 8;

/** What is read of tokens, and their keys and values as they stand at position 0: sums over all tokens. */
interface Sums {
  count: number;
  /** [S], [W]. */
  readonly states: Float64Array;
  readonly places: Float64Array;
  /** [S, S], [S, W], [W, W]. */
  readonly statesStates: Float64Array;
  readonly statesPlaces: Float64Array;
  readonly placesPlaces: Float64Array;
}

/** Keys and values of all layers [B, N, W], keys turned back to position 0. */
function placesGraph(
  { definition, config, geometry }: LoadedModel,
  present: readonly { key: Tensor; value: Tensor }[],
) {
  const { kvHeads: K, headDim: H } = geometry;
  const [B, , N] = present[0].key.shape;
  const flat = (x: Tensor): Tensor => reshape(transpose(x, [0, 2, 1, 3]), [B, N, K * H]);
  const back = cast(neg(cast(iota(N), "float32")), "int32");
  return concat(
    present.flatMap(({ key, value }) => [flat(definition.rotated?.(config, key, back) ?? key), flat(value)]),
    { axis: 2 },
  );
}

async function sumsOf(runtime: Runtime, base: LoadedModel, texts: readonly (readonly number[])[]): Promise<Sums> {
  const S = stateWidth(base.geometry);
  const W = placeWidth(base.geometry);
  const ids = input("ids", "int32", ["B", "N"]);
  const mask = reshape(cast(input("mask", "int32", ["B", "N"]), "float32"), ["B", "N", 1]);
  const { hidden, present } = base.definition.forward(modelParams(base), base.config, { ids });
  const [s, w] = [statesOf(hidden), placesGraph(base, present)].map((x) => rows(mul(x, mask)));
  const squared = (a: Tensor, b: Tensor): Tensor => matmul(a, b, { transposeA: true });
  const program = await runtime.compile(
    {
      states: sum(s, { axes: [0] }),
      places: sum(w, { axes: [0] }),
      statesStates: squared(s, s),
      statesPlaces: squared(s, w),
      placesPlaces: squared(w, w),
    },
    base.weights,
  );
  const zeros = (n: number): Float64Array => new Float64Array(n);
  const sums: Sums = {
    count: 0,
    states: zeros(S),
    places: zeros(W),
    statesStates: zeros(S * S),
    statesPlaces: zeros(S * W),
    placesPlaces: zeros(W * W),
  };
  for (let start = 0; start < texts.length; start += AT_ONCE) {
    const some = texts.slice(start, start + AT_ONCE);
    const N = Math.max(...some.map(({ length }) => length));
    const [tokens, seen] = [new Int32Array(some.length * N), new Int32Array(some.length * N)];
    for (const [b, text] of some.entries()) {
      tokens.set(text, b * N);
      seen.fill(1, b * N, b * N + text.length);
      sums.count += text.length;
    }
    const shape = [some.length, N];
    const found = await program.run({ ids: int32Host(shape, tokens), mask: int32Host(shape, seen) });
    for (const [name, { data }] of Object.entries(found)) {
      const total = sums[name as keyof Omit<Sums, "count">];
      for (let i = 0; i < total.length; i++) total[i] += data[i] as number;
    }
  }
  await program.release();
  return sums;
}

/** Columns made orthonormal: Q of a [n, k]; undefined where they are not k directions. */
function orthonormal(a: Matrix): Matrix | undefined {
  const across = transposed(a);
  const squares = gram(across);
  for (let i = 1; i <= a.columns; i++) squares[triangleSize(i) - 1] *= 1 + 1e-12;
  const factor = cholesky(squares, a.columns);
  if (!factor) return undefined;
  // Rows of L⁻¹ A': forward substitution
  const q = across.data.slice();
  const n = a.rows;
  for (let i = 0; i < a.columns; i++) {
    for (let j = 0; j < i; j++) {
      const part = factor[triangleSize(i) + j];
      for (let x = 0; x < n; x++) q[i * n + x] -= part * q[j * n + x];
    }
    const own = factor[triangleSize(i) + i];
    for (let x = 0; x < n; x++) q[i * n + x] /= own;
  }
  return transposed({ rows: a.columns, columns: n, data: q });
}

/**
 * The k leading eigenvectors of a symmetric matrix [n, n] as columns, with the mean of their eigenvalues; undefined
 * where it has fewer.
 */
function leading(symmetric: Matrix, k: number, random: Random): { directions: Matrix; mean: number } | undefined {
  const n = symmetric.rows;
  let q = orthonormal({ rows: n, columns: k, data: Float64Array.from({ length: n * k }, () => random.normal()) });
  for (let round = 0; round < ROUNDS && q; round++) q = orthonormal(product(symmetric, q));
  if (!q) return undefined;
  const image = product(symmetric, q);
  const { data } = q;
  const trace = image.data.reduce((total, value, i) => total + value * data[i], 0);
  return { directions: q, mean: trace / k };
}

/**
 * Writes the straight path into fresh weights; false where the base is too large for it or too small for the slots,
 * where the texts are too few or too much alike to tell directions, or where an encoder reads no states of the base: then
 * only the aggregator gets its part of it.
 */
export async function straighten(
  runtime: Runtime,
  base: LoadedModel,
  weights: Weights,
  shape: BankShape,
  texts: readonly (readonly number[])[],
  seed: number,
): Promise<boolean> {
  const { slots: T, width: D, places: V, blockHeads } = shape;
  const S = stateWidth(base.geometry);
  const W = placeWidth(base.geometry);
  const own = (name: string): Float32Array => weights[`${ROOT}.${name}`].data as Float32Array;
  const random = randomStream(seed, "straighten");
  handThrough(own, { T, D, heads: blockHeads, random });
  const P = D / V;
  if (!(`${ROOT}.patch.weight` in weights) || Math.max(S, W) > MOST_NUMBERS || P > W || texts.length === 0)
    return false;
  const { count, ...sums } = await sumsOf(runtime, base, texts);
  const [meanS, meanW] = [sums.states, sums.places].map((total) => total.map((value) => value / count));
  const group = W / (2 * base.geometry.layers);
  // Keys and values of every layer count alike
  const scale = new Float64Array(W);
  let varies = false;
  for (let at = 0; at < W; at += group) {
    let [variance, square] = [0, 0];
    for (let i = at; i < at + group; i++) {
      variance += sums.placesPlaces[i * W + i] / count - meanW[i] ** 2;
      square += sums.placesPlaces[i * W + i] / count;
    }
    const own = variance > NOISE * square;
    varies ||= own;
    scale.fill(own ? Math.sqrt(variance / group) : 1, at, at + group);
  }
  if (!varies) return false;
  const covariance = sums.placesPlaces.map((value, at) => {
    const [i, j] = [Math.floor(at / W), at % W];
    return (value / count - meanW[i] * meanW[j]) / (scale[i] * scale[j]);
  });
  const found = leading({ rows: W, columns: W, data: covariance }, P, random);
  if (!found || !(found.mean > 0)) return false;
  const { directions, mean } = found;
  const size = 1 / Math.sqrt(mean);
  const squares = new Float64Array(triangleSize(S));
  let trace = 0;
  for (let i = 0; i < S; i++) {
    for (let j = 0; j <= i; j++) {
      const value = sums.statesStates[i * S + j] / count - meanS[i] * meanS[j];
      squares[triangleSize(i) + j] = value;
      if (i === j) trace += value;
    }
  }
  if (!(trace > NOISE * meanS.reduce((sum, value) => sum + value ** 2, 0))) return false;
  for (let i = 1; i <= S; i++) squares[triangleSize(i) - 1] += (RIDGE * trace) / S;
  const towards: Matrix = {
    rows: W,
    columns: P,
    data: directions.data.map((value, at) => (size * value) / scale[Math.floor(at / P)]),
  };
  const across: Matrix = {
    rows: S,
    columns: W,
    data: sums.statesPlaces.map((value, at) => value / count - meanS[Math.floor(at / W)] * meanW[at % W]),
  };
  const factor = cholesky(squares, S);
  if (!factor) return false;
  const solved = choleskySolve(factor, product(across, towards)); // [S, P]
  // code = size U' ((places - mean) / scale), and back
  const [expand, bias] = [own("prefix.expand.weight"), own("prefix.expand.bias")];
  for (let v = 0; v < V; v++) {
    for (let i = 0; i < W; i++) {
      for (let p = 0; p < P; p++) expand[(v * W + i) * P + p] = (scale[i] * directions.data[i * P + p]) / size;
    }
  }
  bias.set(meanW);
  const [patch, shift] = [own("patch.weight"), own("patch.bias")];
  for (let p = 0; p < P; p++) {
    let at0 = 0;
    for (let s = 0; s < S; s++) {
      patch[p * S + s] = solved.data[s * P + p];
      at0 += solved.data[s * P + p] * meanS[s];
    }
    shift[p] = -at0;
  }
  return true;
}

/** The first block looks at the like slot of every document and adds what is there; slots have an address in each head. */
function handThrough(
  own: (name: string) => Float32Array,
  { T, D, heads, random }: { T: number; D: number; heads: number; random: Random },
): void {
  const H = D / heads;
  const length = Math.sqrt(SHARP * Math.sqrt(H));
  const [asking, asked] = ["asking", "asked"].map((side) => own(`blocks.0.attention.${side}.weight`));
  for (let head = 0; head < heads; head++) {
    for (let t = 0; t < T; t++) {
      // As many slots as numbers in a head have addresses at right angles; more have random ones
      for (let h = 0; h < H; h++) {
        const address = T <= H ? (h === t ? length : 0) : ((random.uniform() < 0.5 ? -1 : 1) * length) / Math.sqrt(H);
        asking[t * D + head * H + h] = address;
        asked[t * D + head * H + h] = address;
      }
    }
  }
  for (const name of ["value", "output"]) {
    const weight = own(`blocks.0.attention.${name}.weight`);
    weight.fill(0);
    for (let i = 0; i < D; i++) weight[i * D + i] = 1;
  }
  for (const name of ["query", "key"]) {
    const weight = own(`blocks.0.attention.${name}.weight`);
    for (let i = 0; i < weight.length; i++) weight[i] *= 0.1;
  }
}
