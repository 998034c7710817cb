/**
 * Tables as comma-separated values (RFC 4180): CRLF line ends, fields with commas, quotes or line breaks quoted,
 * quotes doubled. Numbers are written in full, so that nothing is lost on the way into a notebook or a spreadsheet.
 */
import { internal, UserError } from "../errors.ts";

/** Null and numbers that are not finite become empty fields. */
export type CsvCell = string | number | boolean | null | undefined;

/** A table with named columns: what the report shows and what a CSV file holds. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly CsvCell[])[];
}

function field(cell: CsvCell): string {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "number") return Number.isFinite(cell) ? String(cell) : "";
  const text = String(cell);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The table with its header line; every line, the last one too, ends with CRLF. */
export function csvText({ columns, rows }: Table): string {
  for (const row of rows) {
    if (row.length !== columns.length) internal(`csvText: a row of ${row.length} in a table of ${columns.length}`);
  }
  // A single empty field is quoted: an empty line would be no record at all to many readers.
  const line = (cells: readonly CsvCell[]) =>
    cells.length === 1 ? field(cells[0]) || '""' : cells.map(field).join(",");
  return [columns, ...rows].map((cells) => `${line(cells)}\r\n`).join("");
}

/**
 * What `csvText` writes, read again: every cell as text, an empty field as "". What is no such table is a
 * UserError.
 */
export function parseCsv(text: string): { columns: string[]; rows: string[][] } {
  const records: string[][] = [];
  let record: string[] = [];
  let at = 0;
  while (at < text.length || record.length > 0) {
    // A field, quoted or plain, and what ends it: a line end may have lost its CR on the way
    const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
    field.lastIndex = at;
    const [whole, quoted, plain, end] = field.exec(text) ?? [];
    const place = `record ${records.length + 1}, field ${record.length + 1}`;
    if (whole === undefined) throw new UserError(`csv: expected a field or a line end in ${place}; correct the file`);
    record.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    at += whole.length;
    if (end === ",") continue;
    records.push(record);
    record = [];
  }
  const [columns = [], ...rows] = records;
  const odd = rows.findIndex((row) => row.length !== columns.length);
  if (odd < 0) return { columns, rows };
  throw new UserError(
    `csv: expected ${columns.length} fields as in the first line, got ${rows[odd].length} in record ${odd + 2}; ` +
      "correct the file",
  );
}
