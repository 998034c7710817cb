import { expect, test } from "vitest";
import { nearest } from "./nearest.ts";

test("nearest finds typing errors and keeps silent about other words", () => {
  const names = ["finetune", "lora", "larimar"];
  expect(["lroa", "fintune", "LORA", "larimer"].map((word) => nearest(word, names))).toEqual([
    "lora",
    "finetune",
    "lora",
    "larimar",
  ]);
  expect(nearest("replay", names)).toBeUndefined();
});
