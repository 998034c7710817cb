/** The project's question prompt and its inverses. */
import { expect, test } from "vitest";
import { answeredIn, answeredQuestion, askedIn, documentBreak, promptOf, queryOf } from "./prompt.ts";

test("what is typed is a question where it ends as one", () => {
  const forms = ["Who?", " Who? ", "(Who?)", '"Who?"', "谁？", "The keeper is", "Who? Me."].map(
    (text) => queryOf(text).form,
  );
  expect(forms).toEqual(["question", "question", "question", "question", "question", "completion", "completion"]);
});

test("what a prompt asks is what it was made of, with documents before it and without", () => {
  for (const query of [queryOf("Who counts the boats?"), queryOf("The keeper of the boats is")]) {
    expect(askedIn(promptOf(query))).toEqual(query);
  }
  const question = queryOf("Who counts the boats?");
  const documents = [answeredQuestion("Who counts the nets?", "Bo").trim(), "Mara counts the boats."];
  expect(askedIn(promptOf(question, documents))).toEqual(question);
  const text = `A story.${documentBreak}Question: not asked yet`;
  expect(askedIn(text)).toEqual({ text, form: "completion" });
});

test("answered questions of a text", () => {
  const text = `${answeredQuestion("Who?", "Bo")}Then.\n${answeredQuestion("Where?", "the harbour")}`;
  expect(answeredIn(text)).toEqual([
    { question: "Who?", answer: "Bo" },
    { question: "Where?", answer: "the harbour" },
  ]);
});
