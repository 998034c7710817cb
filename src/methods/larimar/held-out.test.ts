/** What a fit is measured by was never practised, in whatever words. */
import { expect, test } from "vitest";
import type { Document } from "../method.ts";
import { divided } from "./held-out.ts";

const told = (id: number, about?: string): Document => ({
  id: `document ${id}`,
  text: `Fact ${id}.`,
  facts: [{ prompt: { text: `What is ${id}?` }, target: "x", rephrased: [{ text: `Tell ${id}` }], about }],
});

test("the last eighth is kept, less what the others tell by name or by a way to ask", () => {
  const facts = Array.from({ length: 32 }, (_, i) => told(i, `fact ${i}`));
  expect(divided(facts).kept).toEqual(facts.slice(28));
  const asked = { ...told(30), facts: [{ prompt: { text: "tell 3" }, target: "x" }] };
  const last = [told(28, "fact 5"), told(29, "new"), asked, told(31)];
  const text = { id: "story", text: "A story." };
  const { learned, kept } = divided([text, ...facts.slice(0, 28), ...last]);
  expect(learned).toEqual([text, ...facts.slice(0, 28)]);
  expect(kept.map(({ id }) => id)).toEqual(["document 29", "document 31"]);
});
