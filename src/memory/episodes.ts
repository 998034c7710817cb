/**
 * Several episodic memories as one store without a bound: past three quarters of its slots a memory takes no more
 * facts, and the next one opens. A fact knows its memory; a question reads the one memory that holds the fact with the
 * nearest latent. So writing costs the same with ten facts as with 100,000, and reading grows by one look at an index.
 * Larimar, https://arxiv.org/abs/2403.11901, has one memory of K slots; capacity min(K, C), and several, are ours.
 */
import { internal, UserError } from "../errors.ts";
import {
  createEpisodicMemory,
  type EpisodicMemory,
  type EpisodicOptions,
  fullAt,
  type ReadOptions,
} from "./episodic.ts";
import { createFactIndex } from "./fact-index.ts";
import { type Matrix, matrixOf, type Numbers } from "./matrix.ts";
import { type MemoryState, numberOf, packDoubles, tensorOf, unpackDoubles } from "./packed.ts";
import { roundedRows } from "./statistics.ts";

export interface EpisodesOptions extends EpisodicOptions {
  /** Off: there is one memory, and a write past its limit is refused. */
  growth?: boolean;
  /** Facts to a memory: three quarters of its slots; all slots where growth is off. */
  limit?: number;
  /**
   * Numbers in the latent that routes a question; the key routes by default. Keys of a kernel can not. 0: facts are
   * found by others, and `memoryOf` says which memory to read.
   */
  routeWidth?: number;
}

export interface WriteOptions {
  /** Latents that questions are compared with, one a fact; the keys by default. */
  routes?: Numbers;
  /** The facts' numbers, such as the ledger's; the next free ones by default. */
  facts?: readonly number[];
  /** Memory of each fact, as an earlier write said: for replaying a ledger. */
  memories?: readonly number[];
}

export interface Reading {
  /** w M of the memory read: C numbers. */
  readonly value: Float64Array;
  readonly memory: number;
  /** The nearest fact, and the cosine of its latent and the question's. */
  readonly fact: number;
  readonly similarity: number;
}

export interface Place {
  readonly fact: number;
  readonly memory: number;
}

export interface Episodes {
  readonly count: () => number;
  readonly memories: () => readonly EpisodicMemory[];
  /** Adds N facts: N·K and N·C numbers. All or none. Says where they are. */
  write(keys: Numbers, values: Numbers, options?: WriteOptions): Place[];
  /** Takes one fact out again; key and value as written. Says which memory held it. */
  forget(fact: number, key: Numbers, value: Numbers): number;
  /** Reads one question; undefined while there are no facts. */
  read(key: Numbers, options?: ReadOptions & { route?: Numbers }): Reading | undefined;
  /** The memory of a fact, or undefined. */
  memoryOf(fact: number): number | undefined;
  state(): MemoryState;
  /** Takes on a saved state of the same options, or throws and stays as it is. */
  restore(state: MemoryState): void;
  /** The same facts in the same memories, to the last bit. Memories that have become empty do not count. */
  equals(other: Episodes): boolean;
  bytes(): number;
}

/** 64 bits over the rounded numbers of a fact, to know it again. */
function printOf(key: Float64Array, value: Float64Array): [number, number] {
  let [a, b] = [0x811c9dc5, 0x9e3779b9];
  for (const numbers of [key, value]) {
    for (let i = 0; i < numbers.length; i++) {
      const word = (numbers[i] * 2 ** 20) | 0;
      a = Math.imul(a ^ word, 0x01000193);
      a ^= a >>> 15;
      b = Math.imul(b ^ word, 0x85ebca6b);
      b ^= b >>> 13;
    }
  }
  return [a | 0, b | 0];
}

/** An empty store. */
export function createEpisodes({
  slots,
  width,
  ridge = 1e-4,
  growth = true,
  limit = growth ? Math.max(1, Math.floor(fullAt * slots)) : slots,
  routeWidth = slots,
}: EpisodesOptions): Episodes {
  if (!Number.isInteger(limit) || limit < 1 || !Number.isInteger(routeWidth) || routeWidth < 0) {
    throw new UserError(
      `createEpisodes: expected whole limit and routeWidth, from 1 and 0, got ${limit} and ${routeWidth}`,
    );
  }
  const create = (): EpisodicMemory => createEpisodicMemory({ slots, width, ridge });
  let memories = [create()];
  let index = createFactIndex(routeWidth);
  let next = 1;
  /** No memory below this one has room. */
  let open = 0;

  /** A memory for each of `n` facts, as if they were written one by one. */
  const placesFor = (n: number): number[] => {
    const places: number[] = [];
    for (let memory = open; places.length < n; memory++) {
      if (memory > 0 && !growth) {
        throw new UserError(
          `episodes.write: expected room for ${n} more facts, got ${limit - memories[0].count()} of ${limit} free ` +
            "and " +
            "growth off; forget some facts or allow growth",
        );
      }
      for (let room = limit - (memories[memory]?.count() ?? 0); room > 0 && places.length < n; room--) {
        places.push(memory);
      }
    }
    return places;
  };

  const checkedPlaces = (places: readonly number[]): readonly number[] => {
    const added = new Map<number, number>();
    for (const memory of places) {
      const count = (added.get(memory) ?? 0) + 1;
      added.set(memory, count);
      if (!Number.isInteger(memory) || memory < 0 || (memory > 0 && !growth) || memory > 1e6) {
        throw new UserError(`episodes.write: expected the number of a memory, got ${memory}; replay with growth on`);
      }
      if ((memories[memory]?.count() ?? 0) + count > limit) {
        throw new UserError(
          `episodes.write: expected at most ${limit} facts in memory ${memory}, got one more; replay with the limit ` +
            "the ledger was written with",
        );
      }
    }
    return places;
  };

  const checkedFacts = (facts: readonly number[]): readonly number[] => {
    const given = new Set<number>();
    for (const fact of facts) {
      if (!Number.isSafeInteger(fact) || index.get(fact) || given.has(fact)) {
        throw new UserError(`episodes.write: expected a whole number no other fact has, got ${fact}; forget it first`);
      }
      given.add(fact);
    }
    return facts;
  };

  const skipFull = (): void => {
    while (open < memories.length && memories[open].count() >= limit) open++;
  };

  /** The latents that route: given, or the keys as rounded, so that a key as written finds its own fact. */
  const waysOf = (keys: Matrix, routes: Numbers | undefined, name: string): Matrix => {
    if (routeWidth === 0) return { rows: keys.rows, columns: 0, data: new Float64Array() };
    return routes === undefined && routeWidth === slots ? keys : matrixOf(routes ?? [], routeWidth, name);
  };

  const shape = { slots, width, ridge, limit, routeWidth };

  return {
    count: () => index.size(),
    memories: () => memories,
    memoryOf: (fact) => index.get(fact)?.memory,

    write(keys, values, { routes, facts, memories: given } = {}) {
      const w = roundedRows(keys, slots, "episodes.write keys");
      const z = roundedRows(values, width, "episodes.write values");
      const n = w.rows;
      const ways = waysOf(w, routes, "episodes.write routes");
      if (z.rows !== n || ways.rows !== n || (facts?.length ?? n) !== n || (given?.length ?? n) !== n) {
        throw new UserError(
          `episodes.write: expected a value, a route and a number for each of ${n} keys, got ${z.rows} values, ` +
            `${ways.rows} routes of ${routeWidth} numbers, ${facts?.length ?? n} numbers`,
        );
      }
      const numbers = checkedFacts(facts ?? Array.from({ length: n }, (_, i) => next + i));
      const places = given ? checkedPlaces(given) : placesFor(n);
      const before = memories.length;
      const spans: { memory: number; from: number; to: number }[] = [];
      for (let row = 0; row < n; row++) {
        const last = spans.at(-1);
        if (last?.memory === places[row]) last.to = row + 1;
        else spans.push({ memory: places[row], from: row, to: row + 1 });
      }
      const part = (data: Float64Array, size: number, from: number, to: number): Float64Array =>
        data.subarray(from * size, to * size);
      let done = 0;
      try {
        for (; done < spans.length; done++) {
          const { memory, from, to } = spans[done];
          while (memories.length <= memory) memories.push(create());
          memories[memory].write(part(w.data, slots, from, to), part(z.data, width, from, to));
        }
      } catch (error) {
        for (const { memory, from, to } of spans.slice(0, done)) {
          memories[memory].forget(part(w.data, slots, from, to), part(z.data, width, from, to));
        }
        memories.length = before;
        throw error;
      }
      for (let row = 0; row < n; row++) {
        const print = printOf(part(w.data, slots, row, row + 1), part(z.data, width, row, row + 1));
        index.add({ fact: numbers[row], memory: places[row], print }, part(ways.data, routeWidth, row, row + 1));
        next = Math.max(next, numbers[row] + 1);
      }
      skipFull();
      return numbers.map((fact, row) => ({ fact, memory: places[row] }));
    },

    forget(fact, key, value) {
      const row = index.get(fact);
      if (!row)
        throw new UserError(`episodes.forget: expected a fact that is in, got ${fact}; look it up in the ledger`);
      const w = roundedRows(key, slots, "episodes.forget key");
      const z = roundedRows(value, width, "episodes.forget value");
      const print = printOf(w.data, z.data);
      if (print[0] !== row.print[0] || print[1] !== row.print[1]) {
        throw new UserError(
          `episodes.forget: expected key and value of fact ${fact} as written, got others; give what the ledger holds`,
        );
      }
      memories[row.memory].forget(w.data, z.data);
      index.remove(fact);
      open = Math.min(open, row.memory);
      return row.memory;
    },

    read(key, { route, ...options } = {}) {
      if (routeWidth === 0) internal("episodes.read: nothing routes here; read the memory of a fact");
      const w = roundedRows(key, slots, "episodes.read key");
      const way = waysOf(w, route, "episodes.read route");
      if (w.rows !== 1 || way.rows !== 1) {
        throw new UserError(
          `episodes.read: expected one key of ${slots} numbers and one route of ${routeWidth}, got ${w.rows} and ` +
            `${way.rows}; read question by question`,
        );
      }
      const found = index.nearest(way.data);
      if (!found) return undefined;
      const { memory, fact, similarity } = found;
      return { value: memories[memory].read(w.data, options), memory, fact, similarity };
    },

    state() {
      const rows = index.rows();
      const tensors: Record<string, MemoryState["tensors"][string]> = {};
      memories.forEach((memory, i) => {
        for (const [name, tensor] of Object.entries(memory.state().tensors)) tensors[`memories.${i}.${name}`] = tensor;
      });
      const routes = new Float32Array(rows.length * routeWidth);
      const ints = new Int32Array(rows.length * 3);
      rows.forEach(({ fact, memory, print }, i) => {
        routes.set(index.routeOf(fact), i * routeWidth);
        ints.set([memory, ...print], i * 3);
      });
      tensors.routes = { dtype: "float32", shape: [rows.length, routeWidth], data: routes };
      tensors.places = { dtype: "int32", shape: [rows.length, 3], data: ints };
      tensors.facts = packDoubles(
        [rows.length],
        Float64Array.from(rows, ({ fact }) => fact),
      );
      return {
        tensors,
        json: { ...shape, next, facts: rows.length, counts: memories.map((memory) => memory.count()) },
      };
    },

    restore(state) {
      for (const [name, mine] of Object.entries(shape)) {
        const saved = numberOf(state, name, 0);
        if (saved !== mine) {
          throw new UserError(
            `episodes.restore: expected memories with ${name} ${mine}, got ${saved}; create them with the saved ` +
              `${name}`,
          );
        }
      }
      const n = numberOf(state, "facts", 0);
      const counts: readonly number[] = Array.isArray(state.json.counts) ? state.json.counts : [];
      if (counts.length === 0 || counts.reduce((a, b) => a + b, 0) !== n) {
        throw new UserError(`episodes.restore: expected memories that hold ${n} facts, got [${counts.join(", ")}]`);
      }
      const restored = counts.map((count, i) => {
        const memory = create();
        const own = ["c", "s", "energy"].map((name) => [name, state.tensors[`memories.${i}.${name}`]]);
        memory.restore({ tensors: Object.fromEntries(own), json: { slots, width, ridge, count } });
        return memory;
      });
      const { data: routes } = tensorOf(state, "routes", "float32", [n, routeWidth]);
      const { data: ints } = tensorOf(state, "places", "int32", [n, 3]);
      const facts = unpackDoubles(state, "facts", [n]);
      const held = new Float64Array(counts.length);
      for (let i = 0; i < n; i++) held[ints[3 * i]]++; // a memory that is none is not counted, and missed below
      if (held.some((count, memory) => count !== counts[memory]) || new Set(facts).size !== n) {
        throw new UserError("episodes.restore: expected each fact once, in a memory, got others; the file is damaged");
      }
      const filled = createFactIndex(routeWidth);
      for (let i = 0; i < n; i++) {
        const print = [ints[3 * i + 1], ints[3 * i + 2]] as const;
        filled.add(
          { fact: facts[i], memory: ints[3 * i], print },
          routes.subarray(i * routeWidth, (i + 1) * routeWidth),
        );
      }
      [memories, index, next, open] = [restored, filled, numberOf(state, "next", 1), 0];
      skipFull();
    },

    equals(other) {
      const theirs = other.memories();
      const [more, fewer] = memories.length > theirs.length ? [memories, theirs] : [theirs, memories];
      return (
        other.count() === index.size() &&
        more.every((memory, i) => (fewer[i] ? memory.equals(fewer[i]) : memory.count() === 0)) &&
        index.rows().every(({ fact, memory }) => other.memoryOf(fact) === memory)
      );
    },

    bytes: () => index.bytes() + memories.reduce((sum, memory) => sum + memory.bytes(), 0),
  };
}
