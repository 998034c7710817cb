/** Rows of a mixture: a function of their number, shares as asked for, texts once an epoch, examples whole. */
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.ts";
import type { Random } from "../tensor/random.ts";
import { type ExampleSource, mixedBatches, type MixtureOptions } from "./mixture.ts";

const T = 64;
const END = 0;
/** A token per character, from 1 on; tokens of the stream are numbers from 1000 on, each once. */
const tokenizer = {
  encode: (text: string) => [...text].map((letter) => letter.charCodeAt(0)),
} as unknown as MixtureOptions["tokenizer"];
const stream = Int32Array.from({ length: 20 * T + 7 }, (_, i) => 1000 + i);

/** `<` letters, read only, then `=` digits `>`, of weight 3: 8 to 37 tokens. */
const example = (letter: string): ExampleSource => ({
  example: (random: Random) => [
    { text: `<${letter.repeat(3 + random.integer(20))}`, weight: 0 },
    { text: `=${"7".repeat(2 + random.integer(10))}`, weight: 3 },
    { text: ">" },
  ],
});
const sources = { as: example("a"), bs: example("b") };
const options: MixtureOptions = {
  tokenizer,
  stream,
  sources,
  shares: { texts: 5, as: 3, bs: 2 },
  rowCount: 1600,
  contextLength: T,
  batchSize: 8,
  eosId: END,
  seed: 11,
};

interface Row {
  readonly tokens: number[];
  readonly weights: number[];
}

function rowsOf(changes: Partial<MixtureOptions> = {}, steps?: number): Row[] {
  const batches = mixedBatches({ ...options, ...changes });
  const { batchSize: B, contextLength, rowCount } = batches;
  return Array.from({ length: steps ?? Math.ceil(rowCount / B) }, (_, step) => batches.batchAt(step)).flatMap(
    ({ ids, targets, mask = new Float32Array() }) =>
      Array.from({ length: B }, (_, b) => {
        const [from, to] = [b * contextLength, (b + 1) * contextLength];
        expect([...targets.subarray(from, to - 1)]).toEqual([...ids.subarray(from + 1, to)]);
        return { tokens: [ids[from], ...targets.subarray(from, to)], weights: [...mask.subarray(from, to)] };
      }),
  );
}

const kindOf = ({ tokens }: Row): string => (tokens[0] >= 1000 ? "texts" : String.fromCharCode(tokens[2]));

describe("mixedBatches", () => {
  const rows = rowsOf();

  it("serves rows of the shares asked for", () => {
    const share = (kind: string): number => rows.filter((row) => kindOf(row) === kind).length / rows.length;
    // Four standard deviations of a draw of 1600
    expect(Math.abs(share("texts") - 0.5)).toBeLessThan(0.05);
    expect(Math.abs(share("a") - 0.3)).toBeLessThan(0.046);
    expect(Math.abs(share("b") - 0.2)).toBeLessThan(0.04);
    expect(share("texts") + share("a") + share("b")).toBe(1);
  });

  it("serves the windows of the texts without a repeat in an epoch, in another order in the next", () => {
    const starts = rows.filter((row) => kindOf(row) === "texts").map(({ tokens }) => tokens[0] - 1000);
    const all = Array.from({ length: 20 }, (_, w) => w * T);
    const epochs = Array.from({ length: Math.floor(starts.length / 20) }, (_, e) => starts.slice(20 * e, 20 * e + 20));
    expect(epochs.length).toBeGreaterThan(35);
    for (const epoch of epochs) expect(epoch.toSorted((a, b) => a - b)).toEqual(all);
    expect(epochs[0]).not.toEqual(epochs[1]);
    for (const { tokens, weights } of rows.filter((row) => kindOf(row) === "texts").slice(0, 50)) {
      expect(tokens).toEqual(Array.from({ length: T + 1 }, (_, i) => tokens[0] + i));
      expect(weights).toEqual(Array.from({ length: T }, () => 1));
    }
  });

  it("never cuts an example, ends each, weighs its tokens, and fills the row with text", () => {
    let examples = 0;
    for (const row of rows.filter((one) => kindOf(one) !== "texts")) {
      const { tokens, weights } = row;
      const text = tokens.map((id) => (id >= 1000 ? "T" : id === END ? "." : String.fromCharCode(id))).join("");
      expect(text).toMatch(/^\.((<a+=7+>\.)+|(<b+=7+>\.)+)T*$/);
      examples += text.split("<").length - 1;
      const wanted = [...text].map((letter) => (/[<ab]/.test(letter) ? 0 : /[=7]/.test(letter) ? 3 : 1));
      expect(weights).toEqual(wanted.slice(1));
      const rest = tokens.filter((id) => id >= 1000);
      expect(rest).toEqual(rest.map((_, i) => rest[0] + i));
      // No more than the room in which no other example was tried
      expect(rest.length).toBeLessThan(48);
    }
    expect(examples).toBeGreaterThan(800);
  });

  it("is a function of the row's number: in any order, from any start, in batches of any size", () => {
    const fresh = mixedBatches(options);
    for (const step of [7, 0, 199, 7, 3]) {
      const { ids, targets, mask, targetCount, read } = fresh.batchAt(step);
      const own = rows.slice(8 * step, 8 * step + 8);
      expect([...ids]).toEqual(own.flatMap(({ tokens }) => tokens.slice(0, T)));
      expect([...targets]).toEqual(own.flatMap(({ tokens }) => tokens.slice(1)));
      expect([...(mask as Float32Array)]).toEqual(own.flatMap(({ weights }) => weights));
      expect(targetCount).toBe(own.flatMap(({ weights }) => weights).reduce((a, b) => a + b, 0));
      expect(read).toBe(8 * T);
    }
    expect(rowsOf({ batchSize: 5 }, 20)).toEqual(rows.slice(0, 100));
    // A longer run begins alike, and one that goes on at its end begins anew
    expect(rowsOf({ rowCount: 3200 }, 10)).toEqual(rows.slice(0, 80));
    expect(rowsOf({}, 201).slice(1600)).toEqual(rows.slice(0, 8));
    expect(rowsOf({ seed: 12 }, 10)).not.toEqual(rows.slice(0, 80));
  });

  it("gives a row to the texts where no example fits", () => {
    const long: ExampleSource = { example: (_, room) => [{ text: "x".repeat(room + 1) }] };
    const none: ExampleSource = { example: () => [] };
    const exact: ExampleSource = { example: (_, room) => [{ text: "x".repeat(room), weight: 0.5 }] };
    for (const source of [long, none])
      for (const { tokens, weights } of rowsOf({ sources: { one: source }, shares: { one: 1 }, rowCount: 16 })) {
        expect(tokens[0]).toBe(END);
        expect(tokens.slice(1)).toEqual(Array.from({ length: T }, (_, i) => tokens[1] + i));
        expect(weights).toEqual(Array.from({ length: T }, () => 1));
      }
    const [{ tokens, weights }] = rowsOf({ sources: { exact }, shares: { exact: 1 }, rowCount: 8 });
    expect(tokens).toEqual([END, ...Array.from({ length: T - 1 }, () => "x".charCodeAt(0)), END]);
    expect(weights).toEqual([...Array.from({ length: T - 1 }, () => 0.5), 1]);
  });

  it("leaves out sources without a share", () => {
    expect(new Set(rowsOf({ shares: { texts: 0, as: 1, bs: 0 }, rowCount: 80 }).map(kindOf))).toEqual(new Set(["a"]));
    expect(new Set(rowsOf({ shares: { texts: 2 }, rowCount: 80 }).map(kindOf))).toEqual(new Set(["texts"]));
  });

  it.each([
    [{ shares: { texts: 1, cs: 1 } }, "mixture: expected sources among texts, as, bs, got cs; correct the recipe"],
    [{ shares: { toString: 1 } }, "mixture: expected sources among texts, as, bs, got toString; correct the recipe"],
    [{ shares: { texts: 0 } }, "mixture: expected a share above 0, got none; name a source"],
    [{ shares: {} }, "mixture: expected a share above 0, got none; name a source"],
    [{ stream: stream.subarray(0, T) }, `mixture: expected texts of more than ${T} tokens, got ${T}`],
  ])("refuses %#", (changes, message) => {
    expect(() => mixedBatches({ ...options, ...(changes as Partial<MixtureOptions>) })).toThrow(UserError);
    expect(() => mixedBatches({ ...options, ...(changes as Partial<MixtureOptions>) })).toThrow(message);
  });
});
