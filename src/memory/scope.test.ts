/** Detectors with an encoder of letters: what is in scope can be worked out by hand. */
import { describe, expect, test } from "vitest";
import { randomStream } from "../tensor/random.ts";
import { randomReference, referenceAddressing } from "./addressing.ts";
import { createEpisodicMemory } from "./episodic.ts";
import { fitPairClassifier } from "./pair-classifier.ts";
import { createClassifierScope, createExternalScope, createResidualScope } from "./scope.ts";
import { createVectorStore } from "./vector-store.ts";

/** How often a text has each of the letters a, b, c. */
const embed = async (texts: readonly string[]): Promise<number[]> =>
  texts.flatMap((text) => ["a", "b", "c"].map((letter) => text.split(letter).length - 1));
const external = (threshold = 0.9) => createExternalScope({ width: 3, embed, threshold });

describe("external", () => {
  test("the nearest written fact, and nothing in scope while there is none", async () => {
    const scope = external();
    expect(await scope.ask(["aab"])).toEqual([{ inScope: false, score: Number.NEGATIVE_INFINITY, sentence: "aab" }]);
    await scope.write([
      { fact: 1, texts: ["aa"] },
      { fact: 2, texts: ["bb", "cc"] },
    ]);
    expect(scope.count()).toBe(2);
    expect(await scope.ask(["a", "aab", "ab", "c"])).toEqual([
      { inScope: true, score: 1, fact: 1, sentence: "a" },
      { inScope: false, score: expect.closeTo(2 / Math.sqrt(5), 12), fact: 1, sentence: "aab" },
      { inScope: false, score: expect.closeTo(Math.SQRT1_2, 12), fact: 1, sentence: "ab" },
      { inScope: true, score: 1, fact: 2, sentence: "c" },
    ]);
    scope.forget(1);
    expect((await scope.ask(["ab"]))[0]).toMatchObject({ fact: 2 });
  });

  test("of several sentences the nearest; a prompt as written always", async () => {
    const scope = external();
    await scope.write([
      { fact: 1, texts: ["aa"] },
      { fact: 2, texts: ["B b. C c."] },
    ]);
    // "C c." alone has one c, "B b. C c." one b and one c
    expect(await scope.ask(["Mr. B b! Cab c cc. It has a.", "B b. C c."])).toEqual([
      { inScope: true, score: 1, fact: 1, sentence: "It has a." },
      { inScope: true, score: expect.closeTo(1, 7), fact: 2, sentence: "B b. C c." },
    ]);
  });

  test("saved and restored", async () => {
    const [scope, copy] = [external(), external()];
    await scope.write([{ fact: 4, texts: ["ab", "bc"] }]);
    copy.restore(scope.state());
    expect(await copy.ask(["abc"])).toEqual(await scope.ask(["abc"]));
    expect(copy.bytes()).toBe(scope.bytes());
  });

  test("all or none is written, and bad input is named", async () => {
    const scope = external();
    await scope.write([{ fact: 1, texts: ["a"] }]);
    const twice = [
      { fact: 2, texts: ["b"] },
      { fact: 1, texts: ["c"] },
    ];
    await expect(scope.write(twice)).rejects.toThrow("expected a whole number no other fact has, got 1");
    expect(scope.count()).toBe(1);
    await expect(scope.write([{ fact: 2, texts: [" "] }])).rejects.toThrow("expected a prompt for fact 2");
    await expect(scope.write([{ fact: 2, texts: [] }])).rejects.toThrow("expected a prompt for fact 2");
    await expect(scope.ask([" "])).rejects.toThrow("expected a question, got an empty text");
    await expect(scope.ask(["xyz"])).rejects.toThrow("expected vectors with a direction, got zeros in row 0");
    expect(() => external(Number.NaN)).toThrow("expected a number as threshold, got NaN");
    const short = createExternalScope({ width: 3, embed: async () => [1, 0, 0], threshold: 0 });
    await expect(short.write([{ fact: 1, texts: ["a", "b"] }])).rejects.toThrow("for each of 2 texts, got 1");
    const broken = createExternalScope({ width: 1, embed: async () => [Number.NaN], threshold: 0 });
    await expect(broken.write([{ fact: 1, texts: ["a"] }])).rejects.toThrow(
      "expected finite numbers, got NaN in row 0",
    );
  });
});

describe("residual", () => {
  test("standardised by what was written", () => {
    // A memory that halves the second number: residual of (x, y) is |y| / 2 over the length
    const read = (latents: ArrayLike<number>) =>
      Float64Array.from(latents, (value, i) => (i % 2 === 0 ? value : value / 2));
    const scope = createResidualScope({ width: 2, read, threshold: -1 });
    expect(scope.ask([1, 0])).toEqual([{ inScope: false, score: Number.NEGATIVE_INFINITY }]);
    expect(scope.standardise([1, 0, 0, 3])).toEqual({ mean: 0.25, deviation: 0.25, count: 2 });
    const scores = scope.scores([0, 2, 5, 0, 3, 4]);
    expect(scores[0]).toBeCloseTo(-1, 12); // residual 1/2
    expect(scores[1]).toBeCloseTo(1, 12); // residual 0
    expect(scores[2]).toBeCloseTo(-0.6, 12); // residual 2/5
    const copy = createResidualScope({ width: 2, read, threshold: -0.7 });
    copy.restore(scope.state());
    expect(copy.ask([0, 2, 3, 4]).map(({ inScope }) => inScope)).toEqual([false, true]);
    expect(scope.standardise([7, 0])).toEqual({ mean: 0, deviation: 0.05, count: 1 });
  });

  test("an episodic memory restores what was written and not the rest", () => {
    const [slots, width, facts] = [16, 24, 5];
    const memory = createEpisodicMemory({ slots, width });
    const random = randomStream(3, "residual");
    const addressing = referenceAddressing(randomReference(slots, width, random));
    const latents = (rows: number) => random.fillNormal(new Float32Array(rows * width));
    const written = latents(facts);
    memory.write(addressing.keys(written), written);
    const read = (z: ArrayLike<number>) => memory.read(addressing.keys(z));
    const scope = createResidualScope({ width, read, threshold: -3 });
    scope.standardise(written);
    expect(scope.ask(written).map(({ inScope }) => inScope)).toEqual(Array(facts).fill(true));
    expect(scope.ask(latents(20)).some(({ inScope }) => inScope)).toBe(false);
  });

  test("bad input", () => {
    const scope = createResidualScope({ width: 2, read: (z) => z, threshold: 0 });
    expect(() => scope.standardise([1, 2, 3])).toThrow("expected rows of 2 numbers, got 3 numbers");
    expect(() => scope.scores([0, 0])).toThrow("expected latents with a direction, got zeros in row 0");
    expect(() => createResidualScope({ width: 2, read: () => [], threshold: 0 }).scores([1, 2])).toThrow(
      "expected 1 latents from `read`, got 0",
    );
    expect(() => scope.restore({ tensors: {}, json: { mean: 0, deviation: 0, count: 1 } })).toThrow(
      "expected deviation as a number from 0.05",
    );
  });
});

describe("classifier", () => {
  const pairs = {
    left: [1, 0, 0, 1, 1, 0, 0, 1],
    right: [1, 0, 0, 1, 0, 1, 1, 0],
    same: [true, true, false, false],
  };

  test("judges a question by its nearest fact, and by the best of its vectors", () => {
    const store = createVectorStore(2);
    const classifier = fitPairClassifier(pairs, 2);
    const scope = createClassifierScope({ store, classifier, threshold: 0 });
    expect(scope.ask([1, 0])).toEqual([{ inScope: false, score: Number.NEGATIVE_INFINITY }]);
    store.add(9, [1, 0, -1, 0]);
    const [best, worst] = [classifier.scores([1, 0], [1, 0])[0], classifier.scores([1, 0], [-1, 0])[0]];
    expect(best).toBeGreaterThan(worst);
    expect(scope.ask([1, 0, 0, 1])).toEqual([
      { inScope: true, score: best, fact: 9 },
      {
        inScope: false,
        score: classifier.scores([0, 1, 0, 1], [1, 0, -1, 0]).reduce((a, b) => Math.max(a, b)),
        fact: 9,
      },
    ]);
  });

  test("a classifier of another width is refused", () => {
    const options = { store: createVectorStore(3), classifier: fitPairClassifier(pairs, 2), threshold: 0 };
    expect(() => createClassifierScope(options)).toThrow("of latents of 3 numbers, got one of 2");
  });
});
