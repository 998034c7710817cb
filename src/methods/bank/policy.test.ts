/** Policies in planted streams, where it is known what is best: what is learned, and that seed and state are all there is. */
import { expect, test } from "vitest";
import { fullPrecision } from "../../memory/full-precision.ts";
import { createMemoryBank } from "../../memory/memory-bank.ts";
import { randomStream } from "../../tensor/random.ts";
import type { Method } from "../method.ts";
import { createCurator } from "./curator.ts";
import { type Care, createDocumentPolicy, type PolicyName, policyNames, type Taught } from "./policy.ts";

const TOPICS = 12;
const keys = { width: TOPICS, bits: 32 } as const;
const topicOf = (document: string): string => document.split("/")[0];

interface Planted {
  readonly name: PolicyName;
  readonly seed?: number;
  readonly cares?: readonly Care[];
  /** Is what is asked about a document answered right? */
  readonly right?: (document: string, group: readonly string[]) => boolean;
  readonly onCare?: (care: Care) => void;
}

/** Alike documents can share an entry and are all remembered; others in one entry are all lost. */
const alike = (document: string, group: readonly string[]): boolean =>
  group.includes(document) && group.every((other) => topicOf(other) === topicOf(document));

async function planted({ name, seed = 0, cares = ["leave"], right = alike, onCare }: Planted) {
  const bank = createMemoryBank({ module: "m", keys });
  const version = await bank.addCodebook(fullPrecision(1, 1));
  const curator = createCurator({ bank, mostEntries: TOPICS });
  let asked = 0;
  const rate: Method["rate"] = async (pairs) => {
    asked += pairs.length;
    return pairs.map(({ query: { text } }) => {
      const correct = right(text, curator.groupOf(text)) ? 2 : 0;
      return { nats: 0, tokens: 2, bytes: 2, correct };
    });
  };
  const policy = createDocumentPolicy({
    name,
    curator,
    rate,
    cares,
    care: async (care) => onCare?.(care),
    dead: () => 0,
    cost: 0.01,
    explore: 0.3,
    seed,
  });
  const arrival = (document: string): Taught => {
    const slots = Float32Array.of(1);
    const { indices } = bank.quantizer(version).encode(slots);
    const key = new Float32Array(TOPICS);
    key[Number(topicOf(document))] = 1;
    const entries = [{ document, time: 0, key, version, indices }];
    return { document, tokens: 1, slots: [slots], entries, facts: [{ prompt: { text: document }, target: "yes" }] };
  };
  /** Learns them in steps; says what was done. */
  const stream = async (documents: readonly string[], size = 30): Promise<string[]> => {
    const log: string[] = [];
    for (let at = 0; at < documents.length; at += size) {
      const { done } = await policy.take(documents.slice(at, at + size).map(arrival));
      for (const { deed, document, into, gone } of done) log.push([document, deed, into ?? "-", ...gone].join(" "));
    }
    return log;
  };
  const remembered = (documents: readonly string[]): number =>
    documents.filter((document) => right(document, curator.groupOf(document))).length / documents.length;
  return { bank, curator, policy, stream, remembered, asked: () => asked };
}

const documents = (count: number, seed = 1): string[] => {
  const random = randomStream(seed, "planted");
  return Array.from({ length: count }, (_, i) => `${random.integer(TOPICS)}/${i}`);
};

test("the bandit finds out that alike documents are to be merged, and remembers far more than chance and fixed rules", async () => {
  const all = documents(360);
  const kept: Partial<Record<PolicyName, number>> = {};
  for (const name of policyNames) {
    const { stream, remembered, asked } = await planted({ name });
    await stream(all);
    kept[name] = remembered(all.slice(-180));
    // Fixed rules and chance need no questions
    expect(asked() > 0).toBe(name === "bandit");
  }
  const { bandit = 0, random = 1, ...fixed } = kept;
  expect(bandit).toBeGreaterThan(0.8);
  expect(random).toBeLessThan(0.2);
  expect(Math.max(...Object.values(fixed))).toBeLessThan(0.75);
});

test("fixed rules do what they are called for once there is no room", async () => {
  const all = documents(60).map((document, i) => (i < TOPICS ? `${i}/${i}` : document));
  const deedsOf = async (name: PolicyName): Promise<Set<string>> => {
    const { stream } = await planted({ name });
    const log = await stream(all);
    expect(new Set(log.slice(0, TOPICS).map((line) => line.split(" ")[1]))).toEqual(new Set(["store"]));
    return new Set(log.slice(TOPICS).map((line) => line.split(" ")[1]));
  };
  expect(await deedsOf("store")).toEqual(new Set(["drop"]));
  expect(await deedsOf("oldest")).toEqual(new Set(["oldest"]));
  expect(await deedsOf("merge")).toEqual(new Set(["merge"]));
  expect(await deedsOf("replace")).toEqual(new Set(["replace"]));
  const { stream, bank } = await planted({ name: "oldest" });
  await stream(all);
  expect([...bank.documents()]).toEqual(all.slice(-TOPICS));
});

test.each(["bandit", "random"] as const)(
  "%s: one seed, one log, in parts as in one piece; another seed, another",
  async (name) => {
    const all = documents(150);
    const whole = await (await planted({ name })).stream(all);
    expect(await (await planted({ name })).stream(all)).toEqual(whole);
    expect(await (await planted({ name, seed: 1 })).stream(all)).not.toEqual(whole);
    const first = await planted({ name });
    const log = await first.stream(all.slice(0, 90));
    const second = await planted({ name });
    await second.bank.restore(await first.bank.state());
    await second.curator.open(first.curator.groups());
    second.policy.restore(JSON.parse(JSON.stringify(first.policy.state(), bigintText), textBigint));
    expect([...log, ...(await second.stream(all.slice(90)))]).toEqual(whole);
  },
);

test("care that pays is taken, care that does not is left", async () => {
  for (const pays of ["leave", "refit"] as const) {
    let care: Care = "leave";
    const chosen: Care[] = [];
    const { stream } = await planted({
      name: "bandit",
      cares: ["leave", "refit"],
      right: (document) => care === pays || document.endsWith("0"),
      onCare(next) {
        chosen.push((care = next));
      },
    });
    await stream(documents(160), 4);
    expect(chosen).toHaveLength(40);
    expect(chosen.slice(-20).filter((one) => one === pays).length).toBeGreaterThan(14);
  }
});

/** Tensors of doubles through JSON, as files would keep them. */
const bigintText = (_key: string, value: unknown): unknown =>
  value instanceof BigInt64Array ? { bigints: [...value].map(String) } : value;
const textBigint = (_key: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && "bigints" in value
    ? BigInt64Array.from((value as { bigints: string[] }).bigints, BigInt)
    : value;
