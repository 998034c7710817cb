/** Random histories against a plain model: lists of what each fact is, and the state computed from live facts alone. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sumFact, sumIdentity, sumMemory } from "../../tests/support/sum-memory.ts";
import { createEpisodes } from "../memory/episodes.ts";
import { createEpisodesStore, packFloats } from "../memory/episodes-store.ts";
import type { MemoryStore, PlacedFact } from "../memory/memory-store.ts";
import { randomStream } from "../tensor/random.ts";
import type { NewFact } from "./ledger-fact.ts";
import { type Memory, openMemory } from "./ledger-memory.ts";

let root = "";
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), "mneme-ledger-"))));
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Step =
  | { readonly do: "write" | "crash-write"; readonly prompt: number; readonly target: number }
  | { readonly do: "forget" | "revert"; readonly pick: number }
  | { readonly do: "revert-to"; readonly pick: number }
  | { readonly do: "crash" | "save" | "other" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("write" as const, "write" as const, "crash-write" as const),
      prompt: fc.nat(3),
      target: fc.nat(2),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("forget" as const, "revert" as const), pick: fc.nat(1000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("revert-to" as const), pick: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("crash" as const, "save" as const, "other" as const) }) },
);

/** What the ledger should say: facts by number, each with the numbers of those that took its place. */
interface Model {
  facts: { prompt: string; target: string; status: string; by: number | null; changed: number }[];
  deeds: number;
}

const copyOf = ({ facts, deeds }: Model): Model => ({ facts: facts.map((fact) => ({ ...fact })), deeds });

function set({ facts, deeds }: Model, i: number, status: string, by: number | null = null): void {
  Object.assign(facts[i], { status, by, changed: deeds });
}

const liveAbout = ({ facts }: Model, prompt: string): number =>
  facts.findIndex((fact) => fact.prompt === prompt && fact.status === "live");

function modelWrite(model: Model, prompt: string, target: string): void {
  const old = liveAbout(model, prompt);
  if (old >= 0 && model.facts[old].target === target) return;
  model.deeds++;
  model.facts.push({ prompt, target, status: "live", by: null, changed: model.deeds });
  if (old >= 0) set(model, old, "superseded", model.facts.length - 1);
}

function modelRevert(model: Model, i: number): void {
  model.deeds++;
  const { status, prompt } = model.facts[i];
  if (status !== "live") {
    const rival = liveAbout(model, prompt);
    if (rival >= 0) set(model, rival, "superseded", i);
    set(model, i, "live");
    return;
  }
  const olds = model.facts.flatMap(({ by, status }, j) => (by === i && status === "superseded" ? [j] : []));
  set(model, i, "forgotten");
  const last = olds.toSorted((a, b) => model.facts[b].changed - model.facts[a].changed)[0];
  if (last !== undefined) set(model, last, "live");
}

function modelRevertTo(model: Model, past: Model): void {
  model.deeds++;
  model.facts.forEach(({ status, by }, i) => {
    const was = past.facts[i];
    if (was && (was.status !== status || was.by !== by)) set(model, i, was.status, was.by);
    if (!was && status === "live") set(model, i, "forgotten");
  });
}

interface Mechanism {
  create(): MemoryStore;
  fact(prompt: string, target: string): NewFact;
}

const sums: Mechanism = { create: () => sumMemory(), fact: sumFact };

const [K, C] = [6, 7];
const episodes: Mechanism = {
  create: () => createEpisodesStore(createEpisodes({ slots: K, width: C }), { slots: K }),
  fact(prompt, target) {
    const random = randomStream(0, prompt, target);
    const key = random.fillNormal(new Float32Array(K));
    return { prompt, target, key: packFloats(key), value: packFloats(random.fillNormal(new Float32Array(C))) };
  },
};

/** The state computed by a second memory that has seen nothing but the facts that are live. */
function computed(memory: Memory, { create }: Mechanism): string {
  const store = create();
  const live = memory.ledger.list().map(({ fact }) => memory.ledger.rows.placed(fact));
  // In another order than they were written
  const shuffled: PlacedFact[] = randomStream(live.length).shuffle(live) && live;
  for (const fact of shuffled) store.replay([fact]);
  return store.fingerprint();
}

async function follow(steps: readonly Step[], mechanism: Mechanism, folder: string): Promise<void> {
  let time = 0;
  let store = mechanism.create();
  const open = (into: MemoryStore): Promise<Memory> =>
    openMemory(folder, {
      identity: sumIdentity,
      store: into,
      clock: () => ++time,
      durability: "process",
      snapshotEvery: 5,
    });
  const reopen = async (): Promise<void> => {
    store = mechanism.create();
    memory = await open(store);
  };
  let memory = await open(store);
  const model: Model = { facts: [], deeds: 0 };
  const past: { at: number; model: Model }[] = [{ at: 0, model: copyOf(model) }];
  for (const now of steps) {
    const { length } = model.facts;
    switch (now.do) {
      case "write":
      case "crash-write": {
        const [prompt, target] = [`Question ${now.prompt}?`, `answer ${now.target}`];
        const fact = mechanism.fact(prompt, target);
        if (now.do === "crash-write") {
          // The memory took it in, and the ledger could not
          const { db } = memory.ledger;
          db.exec("CREATE TEMP TRIGGER full BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'full'); END");
          const live = liveAbout(model, prompt);
          const same = live >= 0 && model.facts[live].target === target;
          await (same ? memory.write(fact) : expect(memory.write(fact)).rejects.toThrow("full"));
          db.exec("DROP TRIGGER full");
          break;
        }
        const written = await memory.write({
          ...fact,
          prompt: now.target === 1 ? ` ${prompt.toUpperCase()} ` : prompt,
        });
        modelWrite(model, prompt, target);
        expect(written.fact).toBe(written.outcome === "duplicate" ? liveAbout(model, prompt) + 1 : model.facts.length);
        break;
      }
      case "forget": {
        const live = model.facts.flatMap(({ status }, i) => (status === "live" ? [i] : []));
        if (live.length === 0) break;
        const i = live[now.pick % live.length];
        await memory.forget(memory.ledger.rows.byNumber(i + 1)?.id ?? "");
        model.deeds++;
        set(model, i, "forgotten");
        break;
      }
      case "revert":
        if (length === 0) break;
        await memory.revert(memory.ledger.rows.byNumber((now.pick % length) + 1)?.id ?? "");
        modelRevert(model, now.pick % length);
        break;
      case "revert-to": {
        const { at, model: then } = past[now.pick % past.length];
        await memory.revertTo(now.pick % 2 === 0 ? { time: at } : { event: 0 });
        modelRevertTo(model, now.pick % 2 === 0 ? then : { facts: [], deeds: 0 });
        break;
      }
      case "crash":
        memory.ledger.close(); // nothing else is done at a crash
        await reopen();
        break;
      case "save":
        await memory.close();
        await reopen();
        break;
      case "other": {
        // Another process writes, and this one takes it in
        const other = await open(mechanism.create());
        await other.write(mechanism.fact("Question 0?", "answer 9"));
        modelWrite(model, "Question 0?", "answer 9");
        other.ledger.close();
        memory.refresh();
        break;
      }
    }
    past.push({ at: memory.ledger.rows.head().time, model: copyOf(model) });
    const found = [...memory.ledger.rows.standings().values()].map(({ status, successor }) => [status, successor]);
    expect(found).toEqual(model.facts.map(({ status, by }) => [status, by === null ? null : by + 1]));
    expect(store.fingerprint()).toBe(computed(memory, mechanism));
  }
  expect(memory.verify()).toEqual({
    events: memory.ledger.rows.head().seq,
    facts: model.facts.filter(({ status }) => status === "live").length,
    equal: true,
  });
  await memory.close();
}

for (const [name, mechanism, numRuns] of [
  ["sums", sums, 60],
  ["episodic memories", episodes, 15],
] as const) {
  test(`a ledger over ${name} equals a plain model after any history`, { timeout: 300_000 }, async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
        const folder = join(root, `${name}-${run++}`);
        await follow(steps, mechanism, folder);
        rmSync(folder, { recursive: true });
      }),
      { numRuns, endOnFailure: false },
    );
  });
}
