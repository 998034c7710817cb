/** What was written for a while is gone afterwards, however it ended and whether or not the method can forget. */
import { expect, it } from "vitest";
import { writingMethod } from "../../tests/support/writing-method.ts";
import type { Document } from "../methods/method.ts";
import { passing, whileWritten } from "./written.ts";

const document = (id: string): Document => ({
  id,
  text: id,
  facts: [{ prompt: { text: `${id}?` }, target: id }],
});
const asked = [{ text: "a?" }, { text: "b?" }];

it.each([true, false])("is taken back, forgetting %s", async (forgets) => {
  const method = writingMethod({ known: { "b?": "old" }, forgets });
  expect(await whileWritten(method, [document("a"), document("b")], () => method.answer(asked))).toEqual(["a", "b"]);
  expect(await method.answer(asked)).toEqual(["", "old"]);
  const failing = whileWritten(method, [document("a")], async () => {
    throw new Error("on the way");
  });
  await expect(failing).rejects.toThrow("on the way");
  expect(await method.answer(asked)).toEqual(["", "old"]);
});

it("one write is forgotten on the way, the others at the end", async () => {
  const method = writingMethod();
  await passing(method, async ({ write, forget }) => {
    const receipt = await write([document("a")]);
    await write([document("b")]);
    await forget?.(receipt);
    expect(await method.answer(asked)).toEqual(["", "b"]);
  });
  expect(await method.answer(asked)).toEqual(["", ""]);
  await passing(writingMethod({ forgets: false }), async ({ forget }) => expect(forget).toBeUndefined());
});

it("stops before anything is asked", async () => {
  const method = writingMethod();
  const controller = new AbortController();
  controller.abort(new Error("enough"));
  const run = whileWritten(method, [document("a")], () => method.answer(asked), { signal: controller.signal });
  await expect(run).rejects.toThrow("enough");
  expect(method.facts_.held).toBe(0);
});
