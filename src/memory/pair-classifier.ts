/**
 * Do two latents mean the same fact? Logistic regression on what two vectors have in common, as InferSent compares
 * sentences (https://arxiv.org/abs/1705.02364, section 3.1): per dimension the product and the distance, and the cosine.
 * Larimar's internal scope detector is "a binary classifier" on the encoder's latents, of which it says no more.
 */
import { UserError } from "../errors.ts";
import { fitLogistic, type LogisticModel, type LogisticOptions, logOdds } from "./logistic.ts";
import { dot, type Matrix, matrixOf, type Numbers, norm } from "./matrix.ts";
import { type MemoryState, numberOf, packDoubles, unpackDoubles } from "./packed.ts";

/** Examples: N pairs of latents, N·C numbers on either side, and whether each pair is of one fact. */
export interface LatentPairs {
  readonly left: Numbers;
  readonly right: Numbers;
  readonly same: ArrayLike<boolean>;
}

export interface PairClassifier {
  /** C. */
  readonly width: number;
  /** Log-odds that the two latents of each of N pairs mean the same fact. */
  scores(left: Numbers, right: Numbers): Float64Array;
  /** For `pairClassifierOf`. */
  state(): MemoryState;
  bytes(): number;
}

/** Features of N pairs [N, 2C + 1]: a_i b_i C and |a_i - b_i| √C of unit vectors, about 1 each; and their cosine. */
function pairFeatures(left: Matrix, right: Matrix): Float64Array {
  const { rows: N, columns: C } = left;
  const size = 2 * C + 1;
  const features = new Float64Array(N * size);
  for (let row = 0; row < N; row++) {
    const [a, b] = [left, right].map(({ data }) => data.subarray(row * C, (row + 1) * C));
    const [lengthA, lengthB] = [norm(a) || 1, norm(b) || 1];
    for (let i = 0; i < C; i++) {
      const [x, y] = [a[i] / lengthA, b[i] / lengthB];
      features[row * size + i] = C * (x * y); // the same whichever is left
      features[row * size + C + i] = Math.sqrt(C) * Math.abs(x - y);
    }
    features[row * size + 2 * C] = dot(a, 0, b, 0, C) / (lengthA * lengthB);
  }
  return features;
}

function pairsOf(left: Numbers, right: Numbers, width: number, who: string): [Matrix, Matrix] {
  const [a, b] = [matrixOf(left, width, who), matrixOf(right, width, who)];
  if (a.rows !== b.rows) {
    throw new UserError(`${who}: expected as many latents on both sides, got ${a.rows} and ${b.rows}; give pairs`);
  }
  return [a, b];
}

function classifierOf(width: number, model: LogisticModel): PairClassifier {
  return {
    width,
    scores: (left, right) => logOdds(model, pairFeatures(...pairsOf(left, right, width, "pairClassifier.scores"))),
    state: () => ({
      tensors: {
        weights: packDoubles([2 * width + 1], model.weights),
        bias: packDoubles([1], Float64Array.of(model.bias)),
      },
      json: { width },
    }),
    bytes: () => 8 * (2 * width + 2),
  };
}

/**
 * A classifier fitted to pairs of latents of `width` numbers. There are hundreds of features and seldom many more pairs,
 * so the ridge is stronger than usual: of 0.1, 1 ... 1,000 this one did best within the records that `mneme bench
 * scope` fits it on.
 */
export function fitPairClassifier(
  { left, right, same }: LatentPairs,
  width: number,
  { ridge = 100, ...options }: LogisticOptions = {},
): PairClassifier {
  const features = pairFeatures(...pairsOf(left, right, width, "fitPairClassifier"));
  return classifierOf(width, fitLogistic(features, 2 * width + 1, same, { ridge, ...options }));
}

/** A classifier from its saved state. */
export function pairClassifierOf(state: MemoryState): PairClassifier {
  const width = numberOf(state, "width", 1);
  const weights = unpackDoubles(state, "weights", [2 * width + 1]);
  return classifierOf(width, { weights, bias: unpackDoubles(state, "bias", [1])[0] });
}
