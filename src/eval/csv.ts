/**
 * Tables as comma-separated values (RFC 4180): CRLF line ends, fields with commas, quotes or line breaks quoted,
 * quotes doubled. Numbers are written in full, so that nothing is lost on the way into a notebook or a spreadsheet.
 */
import { internal } from "../errors.ts";

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
