/** Building blocks of the report: escaping, tables of pairs. Everything from outside goes through `escape`. */

import { truncate } from "./format.ts";
import { flattened } from "./report-groups.ts";
import { style } from "./report-style.ts";

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text for element content and quoted attributes; control characters, which HTML cannot hold, become "?". */
export function escape(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, "?").replace(/[&<>"']/g, (c) => entities[c]);
}

/** A value of a configuration on one line. */
function plain(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return JSON.stringify(value) ?? "–";
}

/** A two-column table of names and values; nested objects become dotted names. */
export function pairs(caption: string, record: Readonly<Record<string, unknown>>): string {
  const rows = flattened(record).map(
    ([key, value]) => `<tr><th scope="row">${escape(key)}</th><td>${escape(plain(value))}</td></tr>`,
  );
  return `<table class="pairs"><caption>${escape(caption)}</caption><tbody>${rows.join("")}</tbody></table>`;
}

/** A topic's or method's name as a table has room for it, escaped. */
export const short = (name: string): string => escape(truncate(name, 28));

/** Rows of a table that may be wider than a phone: it scrolls by itself, its first column stays. */
export function numbers(
  head: readonly string[],
  rows: readonly { readonly name: string; readonly cells: readonly string[] }[],
  caption = "",
): string {
  const [corner, ...columns] = head;
  return (
    `<div class="scroll"><table class="numbers">${caption === "" ? "" : `<caption><span>${caption}</span></caption>`}` +
    `<thead><tr><th scope="col">${corner}</th>${columns.map((text) => `<th scope="col">${text}</th>`).join("")}</tr></thead>` +
    `<tbody>${rows.map(({ name, cells }) => `<tr><th scope="row">${name}</th>${cells.join("")}</tr>`).join("")}</tbody>` +
    `</table></div>`
  );
}

/** Formulas beside their names. */
export const formulaList = (formulas: readonly string[]): string =>
  `<ul class="formulas">${formulas.map((text) => `<li class="formula">${escape(text)}</li>`).join("")}</ul>`;

/** A whole page that needs nothing from outside; `header` and `main` are HTML, the title is text. */
export const htmlPage = ({ title, header, main }: { title: string; header: string; main: string }): string =>
  `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n` +
  `<meta name="viewport" content="width=device-width, initial-scale=1">\n` +
  `<title>${escape(title)}</title>\n<style>\n${style}\n</style>\n</head>\n<body>\n` +
  `<header>${header}</header>\n<main>${main}</main>\n</body>\n</html>\n`;
