/** What the memory of Larimar costs by itself, at K = 512 and C = 768: one write and one forget, with few facts and many. */
import { createLarimarStore, type LarimarStore } from "../methods/larimar/store.ts";
import type { StoredFact } from "../memory/memory-store.ts";
import { randomStream } from "../tensor/random.ts";
import type { Measure } from "./measure.ts";
import { median, type Spread, spread } from "./stats.ts";

const SLOTS = 512;
const WIDTH = 768;
/** Numbers in the vector of a text, and texts that a question may find a fact by. */
const TEXT_WIDTH = 384;
const TEXTS = 2;
/** Latents and vectors that were drawn; every fact has a key of its own all the same. */
const DRAWN = 512;
/** Facts written together while a memory is filled. */
const TOGETHER = 384;

const createStore = (): LarimarStore =>
  createLarimarStore({
    slots: SLOTS,
    width: WIDTH,
    textWidth: TEXT_WIDTH,
    addressing: "gaussian",
    ridge: 1e-4,
    growth: true,
  });

/** Facts of random latents, as bytes; fact numbers from 1. */
function factsOf(store: LarimarStore): (fact: number) => StoredFact {
  const random = randomStream(0, "bench", "larimar");
  const drawn = Array.from({ length: DRAWN }, () => {
    const value = random.fillNormal(new Float32Array(WIDTH));
    const texts = random.fillNormal(new Float32Array(TEXTS * TEXT_WIDTH));
    return store.pack({ prompt: new Float32Array(), value, texts });
  });
  return (fact) => ({ fact, ...drawn[fact % DRAWN] });
}

interface Times {
  readonly write: number[];
  readonly forget: number[];
}

/** One write and one forget in turns; the store holds as much afterwards. */
function alternating(store: LarimarStore, factOf: (fact: number) => StoredFact, from: number, rounds: number): Times {
  const times: Times = { write: [], forget: [] };
  // The first ones compile, and make the inverse that a fill has left out
  for (let round = -3; round < rounds; round++) {
    const fact = factOf(from + 3 + round);
    const start = performance.now();
    const [placement] = store.apply([fact]);
    const middle = performance.now();
    store.remove([{ ...fact, placement }]);
    const end = performance.now();
    if (round < 0) continue;
    times.write.push(middle - start);
    times.forget.push(end - middle);
  }
  return times;
}

function fill(store: LarimarStore, factOf: (fact: number) => StoredFact, from: number, to: number): void {
  for (let first = from; first < to; first += TOGETHER) {
    store.apply(Array.from({ length: Math.min(TOGETHER, to - first) }, (_, i) => factOf(first + i)));
  }
}

/** Milliseconds of one write and of one forget in a memory that holds half its facts; `value`: the slower of the two. */
export const writeForgetMs: Measure = async ({ quick }) => {
  const store = createStore();
  const factOf = factsOf(store);
  fill(store, factOf, 1, SLOTS / 2);
  const { write, forget } = alternating(store, factOf, SLOTS / 2, quick ? 5 : 101);
  const [writeMs, forgetMs] = [spread(write), spread(forget)];
  return { value: Math.max(writeMs.median, forgetMs.median), slots: SLOTS, width: WIDTH, writeMs, forgetMs };
};

interface Point {
  readonly facts: number;
  readonly writeMs: Spread;
  readonly forgetMs: Spread;
  readonly bytes: number;
  readonly bytesPerFact: number;
}

/** Write time and bytes from 10 facts to 100,000. `value`: the median write with most facts over that with fewest. */
export const writeGrowth: Measure = async ({ quick, log, signal }) => {
  const sizes = quick ? [10, 100, 1000] : [10, 100, 1000, 10_000, 100_000];
  const rounds = quick ? 3 : 7;
  const each = quick ? 5 : 15;
  const stores = sizes.map((facts) => {
    const store = createStore();
    const factOf = factsOf(store);
    fill(store, factOf, 1, facts + 1);
    log(`writeGrowth: filled with ${facts} facts`);
    return { facts, store, factOf, times: { write: [], forget: [] } as Times };
  });
  // In turns, so that what else the machine does falls on all of them
  for (let round = 0; round < rounds; round++) {
    for (const { facts, store, factOf, times } of stores) {
      signal?.throwIfAborted();
      const found = alternating(store, factOf, facts + 1, each);
      times.write.push(median(found.write));
      times.forget.push(median(found.forget));
    }
  }
  const points = stores.map(({ facts, store, times }): Point => {
    const bytes = store.bytes();
    return {
      facts,
      writeMs: spread(times.write),
      forgetMs: spread(times.forget),
      bytes,
      bytesPerFact: bytes / facts,
    };
  });
  return { value: points[points.length - 1].writeMs.median / points[0].writeMs.median, points };
};
