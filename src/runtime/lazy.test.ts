/** Made once, however many ask; made again after a failure only. */
import { expect, test } from "vitest";
import { lazy } from "./lazy.ts";

test("is made at the first call, and again after a failure", async () => {
  let calls = 0;
  const { get, made } = lazy(async () => {
    if (++calls < 3) throw new Error(`failure ${calls}`);
    return calls;
  });
  expect([calls, made()]).toEqual([0, undefined]);
  const both = await Promise.allSettled([get(), get()]);
  expect(both.map((one) => one.status === "rejected" && String(one.reason))).toEqual(Array(2).fill("Error: failure 1"));
  expect(made()).toBeUndefined();
  await expect(get()).rejects.toThrow("failure 2");
  expect(await Promise.all([get(), get(), get()])).toEqual([3, 3, 3]);
  expect(await made()).toBe(3);
});
