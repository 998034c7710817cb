import fc from "fast-check";
import { expect, test } from "vitest";
import { createStopFilter } from "./stop-text.ts";

/** The whole text through the filter, in the given pieces. */
function filtered(
  pieces: readonly string[],
  stops: readonly string[],
): { text: string; stopped: boolean; shown: string[] } {
  const filter = createStopFilter(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = filter.push(piece);
    shown.push(text);
    if (stopped) return { text: shown.join(""), stopped, shown };
  }
  shown.push(filter.end());
  return { text: shown.join(""), stopped: false, shown };
}

test("a stop string across pieces is never shown, and text is withheld only while it may begin one", () => {
  expect(filtered(["He said", " \n", "\nUser", ":", " no"], ["\n\nUser:"])).toMatchObject({
    text: "He said ",
    stopped: true,
    shown: ["He said", " ", "", ""],
  });
  expect(filtered(["a\n", "b\n", "\n"], ["\n\nUser:"])).toMatchObject({
    text: "a\nb\n\n",
    stopped: false,
    shown: ["a", "\nb", "", "\n\n"],
  });
  expect(filtered(["aab"], ["ab", "aa"])).toMatchObject({ text: "", stopped: true });
});

test("text before the first stop string comes out, in any pieces", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 14 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 6 }), fc.array(letters, { maxLength: 3 }), (pieces, stops) => {
      const whole = pieces.join("");
      const found = stops
        .filter((stop) => stop !== "")
        .map((stop) => whole.indexOf(stop))
        .filter((at) => at >= 0);
      const { text, stopped, shown } = filtered(pieces, stops);
      expect(stopped).toBe(found.length > 0);
      if (!stopped) {
        expect(text).toBe(whole);
        return;
      }
      // The first stop string to be complete ends the text; an earlier beginning may complete later
      expect(whole.startsWith(text)).toBe(true);
      expect(stops.some((stop) => stop !== "" && whole.startsWith(stop, text.length))).toBe(true);
      expect(shown.join("")).toBe(text);
    }),
    { numRuns: 500 },
  );
});
