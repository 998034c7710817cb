/** The vector store against brute force, and after removals against one built anew. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { createVectorStore, type VectorStore } from "./vector-store.ts";

const width = 6;
/** Few directions, so that equally near facts are common. */
const vectorOf = (n: number): number[] => [...randomStream(n % 7, "vector").fillNormal(new Float32Array(width))];

/** The nearest of all vectors, looked at one by one. */
function bruteForce(facts: ReadonlyMap<number, readonly number[][]>, question: readonly number[]) {
  const cosine = (a: readonly number[], b: readonly number[]): number => {
    const product = (x: readonly number[], y: readonly number[]): number =>
      x.reduce((sum, one, i) => sum + one * y[i], 0);
    return product(a, b) / Math.sqrt(product(a, a) * product(b, b));
  };
  return [...facts]
    .flatMap(([fact, vectors]) => vectors.map((vector) => ({ fact, similarity: cosine(vector, question) })))
    .sort((a, b) => b.similarity - a.similarity || a.fact - b.fact)[0];
}

test("by hand", () => {
  const store = createVectorStore(2);
  expect(store.nearest([1, 0, 0, 1])).toEqual([undefined, undefined]);
  store.add(7, [3, 0]);
  store.add(3, [0, 5, -1, 0]);
  expect(store.nearest([2, 0, 3, 4, -9, 1])).toEqual([
    { fact: 7, similarity: 1 },
    { fact: 3, similarity: expect.closeTo(0.8, 12) },
    { fact: 3, similarity: expect.closeTo(9 / Math.sqrt(82), 12) },
  ]);
  expect([store.count(), store.rows(), store.facts()]).toEqual([2, 3, [3, 7]]);
  expect([...store.vectorsOf(3)]).toEqual([0, 1, -1, 0]);
  store.add(1, [1, 0]);
  expect(store.nearest([1, 0])[0]?.fact).toBe(1); // as near as 7
  store.remove(3);
  expect(store.nearest([-9, 1])).toEqual([{ fact: 1, similarity: expect.closeTo(-9 / Math.sqrt(82), 12) }]);
});

test("1,000 facts of 33 numbers: every question finds what brute force finds", () => {
  const [wide, random] = [33, randomStream(1, "many")];
  const store = createVectorStore(wide);
  const facts = new Map<number, number[][]>();
  for (let fact = 0; fact < 1000; fact++) {
    const vector = [...random.fillNormal(new Float32Array(wide))];
    facts.set(fact, [vector]);
    store.add(fact, vector);
  }
  // Half of the questions lie near a fact: there whole halves of rows are not read
  const questions = Array.from({ length: 60 }, (_, q) => {
    const near = facts.get(q)?.[0] ?? [];
    return near.map((value) => (q % 2 === 0 ? value + 0.3 * random.normal() : random.normal()));
  });
  const found = store.nearest(questions.flat());
  for (const [q, question] of questions.entries()) {
    const expected = bruteForce(facts, question);
    expect(found[q]?.fact).toBe(expected.fact);
    expect(found[q]?.similarity).toBeCloseTo(expected.similarity, 6);
    expect(store.nearest(question)).toEqual([found[q]]); // alone as in a batch
  }
});

describe("any order of adding and removing", () => {
  const actions = fc.array(
    fc.record({ fact: fc.integer({ min: 0, max: 12 }), vectors: fc.array(fc.nat(30), { minLength: 1, maxLength: 3 }) }),
    { maxLength: 40 },
  );

  /** A fact that is there is taken out, any other put in. */
  const apply = (store: VectorStore, list: readonly { fact: number; vectors: readonly number[] }[]) => {
    const facts = new Map<number, number[][]>();
    for (const { fact, vectors } of list) {
      if (facts.delete(fact)) store.remove(fact);
      else {
        facts.set(fact, vectors.map(vectorOf));
        store.add(fact, vectors.flatMap(vectorOf));
      }
    }
    return facts;
  };

  test("leaves what a store built anew has, and what brute force finds", () => {
    fc.assert(
      fc.property(actions, fc.nat(30), (list, ask) => {
        const store = createVectorStore(width);
        const facts = apply(store, list);
        const anew = createVectorStore(width);
        for (const [fact, vectors] of facts) anew.add(fact, vectors.flat());
        expect(store.state()).toEqual(anew.state());
        const question = vectorOf(ask).map((value, i) => value + 0.1 * i);
        expect(store.nearest(question)).toEqual(anew.nearest(question));
        const expected = bruteForce(facts, question);
        expect(store.nearest(question)[0]?.fact).toBe(expected?.fact);
        const copy = createVectorStore(width);
        copy.restore(store.state());
        expect(copy.state()).toEqual(store.state());
        expect(copy.nearest(question)).toEqual(store.nearest(question));
        expect(copy.facts()).toEqual([...facts.keys()].sort((a, b) => a - b));
      }),
    );
  });
});

describe("bad input", () => {
  test("is refused in one line, and nothing changes", () => {
    const store = createVectorStore(2);
    store.add(1, [1, 0]);
    const before = store.state();
    expect(() => createVectorStore(0)).toThrow("createVectorStore: expected a whole width from 1, got 0");
    expect(() => store.add(1, [1, 0])).toThrow("expected a whole number no other fact has, got 1");
    expect(() => store.add(0.5, [1, 0])).toThrow("got 0.5");
    expect(() => store.add(2, [])).toThrow("expected at least one vector for fact 2, got none");
    expect(() => store.add(2, [1, 2, 3])).toThrow("expected rows of 2 numbers, got 3 numbers");
    expect(() => store.add(2, [1, 0, 0, 0])).toThrow("expected vectors with a direction, got zeros in row 1");
    expect(() => store.add(2, [1, Number.NaN])).toThrow("expected finite numbers, got NaN in row 0");
    expect(() => store.remove(2)).toThrow("expected a fact that is in, got 2");
    expect(() => store.vectorsOf(2)).toThrow("expected a fact that is in, got 2");
    expect(() => store.nearest([0, 0])).toThrow("got zeros in row 0");
    expect(store.state()).toEqual(before);
  });

  test("a damaged state is refused", () => {
    const store = createVectorStore(2);
    store.add(1, [1, 0]);
    store.add(2, [0, 1]);
    const state = store.state();
    const { vectors, facts } = state.tensors;
    expect(() => createVectorStore(3).restore(state)).toThrow("expected vectors of 3 numbers, got 2");
    const with_ = (changed: object) => ({ ...state, tensors: { ...state.tensors, ...changed } });
    expect(() => store.restore(with_({ vectors: facts }))).toThrow("expected vectors as float32 [2, 2], got int64 [2]");
    const longer = { ...vectors, data: Float32Array.of(1, 0, 0, 2) };
    expect(() => store.restore(with_({ vectors: longer }))).toThrow("got fact 2 of length 2 in row 1");
    const swapped = { ...facts, data: BigInt64Array.from(facts.data as BigInt64Array).reverse() };
    expect(() => store.restore(with_({ facts: swapped }))).toThrow("expected facts in order");
    expect(store.state()).toEqual(state);
  });
});

test("bytes grow by what a row needs", () => {
  const store = createVectorStore(64);
  for (let fact = 0; fact < 1024; fact++) store.add(fact, randomStream(fact).fillNormal(new Float32Array(64)));
  expect(store.bytes()).toBe(1024 * (4 * 64 + 8 + 8 + 8));
});
