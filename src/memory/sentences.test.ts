import { expect, test } from "vitest";
import { sentencesOf } from "./sentences.ts";

test("sentences, without the blanks around them", () => {
  expect(sentencesOf("Mara owns a boat.  Is it blue? Yes!\nShe sails north")).toEqual([
    "Mara owns a boat.",
    "Is it blue?",
    "Yes!",
    "She sails north",
  ]);
  expect(sentencesOf("这是船。好吗？")).toEqual(["这是船。", "好吗？"]);
  expect(sentencesOf("  \n ")).toEqual([]);
  expect(sentencesOf("It is 3.5 km. Far.")).toEqual(["It is 3.5 km.", "Far."]);
});

test("titles and initials end no sentence, ends of lines do", () => {
  expect(sentencesOf("Dr. Ada K. Roe met Mr. Lund in St. Abb. He left.")).toEqual([
    "Dr. Ada K. Roe met Mr. Lund in St. Abb.",
    "He left.",
  ]);
  expect(sentencesOf("The U.S. Army came, i.e. soldiers. Who?")).toEqual([
    "The U.S. Army came, i.e. soldiers.",
    "Who?",
  ]);
  expect(sentencesOf("It was Dr.\nRoe left.")).toEqual(["It was Dr.", "Roe left."]);
});
