/** Episodes practise what is asked later: to the token. */
import { describe, expect, it } from "vitest";
import { repositoryFile } from "../../../tests/support/model-fixture.ts";
import { loadTokenizer } from "../../checkpoint/tokenizer.ts";
import { promptAfter } from "./episodes.ts";

describe("a prompt behind documents", () => {
  it("is the tokens of the whole text, where a break between documents alone would be another one", async () => {
    const tokenizer = await loadTokenizer(repositoryFile("models/mneme-base"));
    const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
    const text = "\n\nQuestion: Where does Ada live?\nAnswer:";
    expect(encode("\n\n")).not.toEqual(encode(text).slice(0, encode("\n\n").length));
    expect(promptAfter(tokenizer, { text: "Where does Ada live?", form: "question" })).toEqual(encode(text));
  });
});
