import fc from "fast-check";
import { expect, test } from "vitest";
import { csvText, parseCsv } from "./csv.ts";

/** A reader of RFC 4180 that knows nothing of the writer. */
function parse(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at < text.length) {
    let value = "";
    if (text[at] === '"') {
      at++;
      for (;;) {
        if (text[at] !== '"') value += text[at++];
        else if (text[at + 1] === '"') {
          value += '"';
          at += 2;
        } else break;
      }
      at++;
    } else {
      while (at < text.length && text[at] !== "," && !text.startsWith("\r\n", at)) value += text[at++];
    }
    row.push(value);
    if (text[at] === ",") at++;
    else {
      expect(text.slice(at, at + 2)).toBe("\r\n");
      at += 2;
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

test("exact bytes of a small table", () => {
  const columns = ["method", "rkr", "note"];
  const rows = [
    ["replay", 0.1 + 0.2, 'says "hi", twice'],
    ["ewc, online", null, "two\nlines"],
    ["none", Number.NaN, true],
    ["é", 1e-7, " blanks "],
  ];
  expect(csvText({ columns, rows })).toBe(
    'method,rkr,note\r\nreplay,0.30000000000000004,"says ""hi"", twice"\r\n' +
      '"ewc, online",,"two\nlines"\r\nnone,,true\r\né,1e-7," blanks "\r\n',
  );
  expect(csvText({ columns: ["a"], rows: [[null], ["x"]] })).toBe('a\r\n""\r\nx\r\n');
  expect(csvText({ columns: ["a"], rows: [] })).toBe("a\r\n");
  expect(() => csvText({ columns: ["a"], rows: [["x", "y"]] })).toThrow("internal");
});

test("property: an independent reader gets every text and number back", () => {
  const character = fc.constantFrom("a", "é", "🙂", ",", '"', "\r", "\n", " ", "=", "\t", "\u2028", "\0", ";", "'");
  const cell = fc.oneof(fc.string({ unit: character, maxLength: 12 }), fc.constantFrom('"', ",", "\r\n", "", '""'));
  const table = fc.integer({ min: 1, max: 4 }).chain((width) =>
    fc.record({
      columns: fc.array(cell, { minLength: width, maxLength: width }),
      rows: fc.array(
        fc.array(fc.oneof(cell, fc.double({ noNaN: true, noDefaultInfinity: true })), {
          minLength: width,
          maxLength: width,
        }),
        { maxLength: 5 },
      ),
    }),
  );
  fc.assert(
    fc.property(table, ({ columns, rows }) => {
      const [head, ...others] = [columns, ...rows].map((row) => row.map(String));
      const text = csvText({ columns, rows });
      expect(parse(text)).toEqual([head, ...others]);
      expect(parseCsv(text)).toEqual({ columns: head, rows: others });
    }),
  );
});

test("reading: line ends without CR, no last line end; what is no table is refused with its place", () => {
  expect(parseCsv('a,b\n1,"x\r\ny"\n,')).toEqual({
    columns: ["a", "b"],
    rows: [
      ["1", "x\r\ny"],
      ["", ""],
    ],
  });
  expect(parseCsv("")).toEqual({ columns: [], rows: [] });
  expect(() => parseCsv("a,b\r\n1,2\r\n3\r\n")).toThrow(
    "csv: expected 2 fields as in the first line, got 1 in record 3",
  );
  expect(() => parseCsv('a,b\r\n1,"2\r\n')).toThrow("csv: expected a field or a line end in record 2, field 2");
  expect(() => parseCsv('a\r\nx"y\r\n')).toThrow("in record 2, field 1");
});
