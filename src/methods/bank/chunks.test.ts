/** Chunks of long documents: nothing is left out but blanks, and each fits the encoder. */
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { textModel } from "../../../tests/support/text-model.ts";
import { workbench } from "../../../tests/support/workbench.ts";
import { chunksOf } from "./chunks.ts";

const { root } = workbench("chunks");
let documentIds: (text: string) => number[];
beforeAll(async () => {
  const { tokenizer } = await textModel(join(root, "base"), { vocabulary: 258 });
  documentIds = (text) => tokenizer.encode(text, { addSpecialTokens: false });
});

/** A token is a byte here. */
const textsOf = (text: string, context: number): string[] => {
  const chunks = chunksOf({ context, documentIds }, text);
  for (const chunk of chunks) {
    expect(chunk.ids.length).toBeLessThanOrEqual(context);
    expect(chunk.ids).toEqual(documentIds(chunk.told));
    expect(chunk.told.endsWith(chunk.text)).toBe(true);
  }
  return chunks.map((chunk) => chunk.text);
};
const unblank = (text: string): string => text.replaceAll(/\s/gu, "");

describe("chunks", () => {
  it("are whole sentences as long as they fit", () => {
    expect(textsOf("One two. Three four. Five.", 26)).toEqual(["One two. Three four. Five."]);
    expect(textsOf(" One two. Three four. Five.\n", 20)).toEqual(["One two. Three four.", "Five."]);
    expect(textsOf("One two. Three four. Five.", 19)).toEqual(["One two.", "Three four.", "Five."]);
    expect(textsOf("一二。 三四！\n\n五", 13)).toEqual(["一二。", "三四！ 五"]);
    expect(textsOf("", 8)).toEqual([]);
    expect(textsOf(" \n\t ", 8)).toEqual([]);
  });

  it("cut long sentences between words, long words between characters, and go on with the next sentence", () => {
    expect(textsOf("The harbour wakes. Go.", 12)).toEqual(["The harbour", "wakes. Go."]);
    expect(textsOf("abcdefghijkl mn", 8)).toEqual(["abcdefgh", "ijkl mn"]);
    // Three bytes each: no character is cut in two
    expect(textsOf("一二三四五。 六", 8)).toEqual(["一二", "三四", "五。", "六"]);
    expect(textsOf("🜁🜂🜃", 9)).toEqual(["🜁🜂", "🜃"]);
  });

  it("but the first are read behind the document's opening", () => {
    const told = (text: string, context: number): string[] =>
      chunksOf({ context, documentIds }, text).map((chunk) => chunk.told);
    expect(told("Ada Lo of Harn counts. She was born in May. She has two boats there.", 40)).toEqual([
      "Ada Lo of Harn counts.",
      "Ada Lo of She was born in May.",
      "Ada Lo of She has two boats there.",
    ]);
    // A line of its own is one; too short a one goes on; none where no word fits in a quarter
    expect(told("Boats of Harn now\nThey leave at nine. They come back.", 40)[1]).toBe("Boats of They come back.");
    expect(told("Dr. Bo Lo lives. He counts all of the boats.", 40)[1]).toBe("Dr. Bo Lo He counts all of the boats.");
    expect(told("Incomprehensible boats leave. They are blue.", 32)).toEqual([
      "Incomprehensible boats leave.",
      "They are blue.",
    ]);
  });

  it("leave nothing out of any text", () => {
    const words = fc.constantFrom("a", "boats", "wall.", "Who?", "é", "一二三", "🜁", "\n", " ", "!", "x".repeat(40));
    const texts = fc.oneof(
      fc.array(words, { maxLength: 60 }).map((parts) => parts.join(" ")),
      fc.array(words, { maxLength: 60 }).map((parts) => parts.join("")),
      fc.string({ unit: "grapheme", maxLength: 120 }),
    );
    fc.assert(
      fc.property(texts, fc.integer({ min: 8, max: 40 }), (text, context) => {
        expect(unblank(textsOf(text, context).join(""))).toBe(unblank(text));
      }),
      { numRuns: 150 },
    );
  });
});
