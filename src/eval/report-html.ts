/** Building blocks of the report: escaping, tables of pairs. Everything from outside goes through `escape`. */

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
  const flat = (object: object, prefix: string): [string, unknown][] =>
    Object.entries(object).flatMap(([key, value]: [string, unknown]) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? flat(value, `${prefix}${key}.`)
        : value === undefined
          ? []
          : [[`${prefix}${key}`, value] as [string, unknown]],
    );
  const rows = flat(record, "").map(
    ([key, value]) => `<tr><th scope="row">${escape(key)}</th><td>${escape(plain(value))}</td></tr>`,
  );
  return `<table class="pairs"><caption>${escape(caption)}</caption><tbody>${rows.join("")}</tbody></table>`;
}
