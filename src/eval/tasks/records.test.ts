/** Records of files: every fault with its place, and what is done with records. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { jsonLines, textFile } from "../../../tests/support/table-method.ts";
import { UserError } from "../../errors.ts";
import { randomStream } from "../../tensor/random.ts";
import { fingerprintOf, parseRecords, refuseRepeats, sampleInOrder, shareOut, uniqueNames } from "./records.ts";

const schema = z.strictObject({ id: z.string(), tags: z.array(z.string().min(1)) });

describe("parseRecords", () => {
  it("reads lines and arrays, empty lines passed over, CRLF too", () => {
    const record = { id: "a", tags: ["x"] };
    const json = JSON.stringify(record);
    expect(parseRecords("t", textFile("f", `${json}\r\n\n${json}`), schema)).toEqual([
      { place: "line 1", value: record },
      { place: "line 3", value: record },
    ]);
    expect(parseRecords("t", textFile("f", ` [${json},\n ${json}]`), schema).map(({ place }) => place)).toEqual([
      "record 1",
      "record 2",
    ]);
  });

  const one = '{"id":"a","tags":[]}\n';
  it.each([
    [`${one}{"id":`, /^t: expected JSON in f, line 2, got .+; repair the file$/],
    ['[{"id":1,]', /^t: expected JSON in f, got .+; repair the file$/],
    [
      `${one}{"id":7,"tags":[]}`,
      /^t: expected valid records in f, got line 2, field id: .*expected string.*; correct it$/,
    ],
    [`${one}{"id":"b","tags":["x",""]}`, /got line 2, field tags\.1: Too small/],
    [`${one}{"id":"b"}`, /got line 2, field tags: .*expected array, received undefined/],
    [`${one}{"id":"b","tags":[],"tgas":1}`, /got line 2: Unrecognized key: "tgas"/],
    [`${one}"text"`, /got line 2: .*expected object, received string/],
    ['[{"id":"a","tags":[]},null]', /got record 2: .*expected object, received null/],
    ["[]", /^t: expected records in f, got none; name another file$/],
  ])("%j: %s", (text, message) => {
    expect(() => parseRecords("t", textFile("f", text), schema)).toThrow(UserError);
    expect(() => parseRecords("t", textFile("f", text), schema)).toThrow(message);
  });

  it("property: whatever the text, the records or one line of error", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `[${json}]`),
        ),
        (text) => {
          try {
            parseRecords("t", textFile("f", text), schema);
          } catch (error) {
            expect(error).toBeInstanceOf(UserError);
            expect((error as Error).message).not.toContain("\n");
          }
        },
      ),
    );
  });

  it("names the fault within the form that got furthest", () => {
    const either = z.object({ answer: z.union([z.string(), z.array(z.object({ text: z.string() }))]) });
    expect(() => parseRecords("t", jsonLines({ answer: [{ text: 3 }] }), either)).toThrow(/field answer\.0\.text: /);
  });
});

it("refuses the second of two equal ids", () => {
  const ids = ["x", "y", "x"].map((id, i) => ({ id, place: `line ${i + 1}` }));
  expect(() => refuseRepeats("t", "f", ids)).toThrow(
    't: expected unique ids in f, got "x" in line 1 and again in line 3; give each its own',
  );
  expect(() => refuseRepeats("t", "f", ids.slice(1))).not.toThrow();
});

it("names that came before get a number", () => {
  expect(uniqueNames(["a", "b", "a", "a (2)", "a"])).toEqual(["a", "b", "a (2)", "a (2) (2)", "a (3)"]);
});

it("samples without repeats, in order, the same for the same seed", () => {
  const items = Array.from({ length: 50 }, (_, i) => i);
  const drawn = sampleInOrder(items, 20, randomStream(1));
  expect(new Set(drawn).size).toBe(20);
  expect(drawn).toEqual([...drawn].sort((a, b) => a - b));
  expect(sampleInOrder(items, 20, randomStream(1))).toEqual(drawn);
  expect(sampleInOrder(items, 20, randomStream(2))).not.toEqual(drawn);
  expect(sampleInOrder(items, 60, randomStream(1))).toEqual(items);
});

it("shares out evenly, up to what each part has", () => {
  expect(shareOut(10, [100, 2, 100])).toEqual([4, 2, 4]);
  expect(shareOut(2, [5, 5, 5])).toEqual([1, 1, 0]);
  expect(shareOut(99, [1, 2, 3])).toEqual([1, 2, 3]);
  expect(shareOut(Infinity, [1, 2])).toEqual([1, 2]);
});

it("fingerprints keep apart where one value ends and the next begins", () => {
  expect(fingerprintOf(["a"], "b")).toBe(fingerprintOf(["a"], "b"));
  expect(fingerprintOf("ab", "c")).not.toBe(fingerprintOf("a", "bc"));
});
