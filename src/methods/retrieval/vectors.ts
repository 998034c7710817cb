/** Exact search by cosine over vectors of length 1, keyed by numbers: every search looks at all of them. */

export interface VectorIndex {
  /** C, known from the first vector on; 0 before. */
  width(): number;
  add(key: number, vector: Float32Array): void;
  remove(key: number): void;
  /** The k nearest keys, nearest first; of equals, the larger key. */
  search(query: Float32Array, k: number): number[];
  get(key: number): Float32Array | undefined;
  bytes(): number;
}

const dot = (a: Float32Array, b: Float32Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

export function createVectorIndex(): VectorIndex {
  const vectors = new Map<number, Float32Array>();
  const width = (): number => vectors.values().next().value?.length ?? 0;
  return {
    width,
    add: (key, vector) => void vectors.set(key, vector.slice()),
    remove: (key) => void vectors.delete(key),
    search(query, k) {
      return [...vectors]
        .map(([key, vector]) => ({ key, score: dot(query, vector) }))
        .sort((x, y) => y.score - x.score || y.key - x.key)
        .slice(0, k)
        .map(({ key }) => key);
    },
    get: (key) => vectors.get(key),
    bytes: () => 4 * width() * vectors.size,
  };
}
