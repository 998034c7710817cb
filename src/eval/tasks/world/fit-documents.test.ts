/** Facts for fits: those that are held out of one were never practised in it, in whatever words. */
import { expect, test } from "vitest";
import { divided } from "../../../methods/larimar/held-out.ts";
import type { Document } from "../../../methods/method.ts";
import { worldFitDocuments } from "./fit-documents.ts";

test("of generated worlds nothing held out was practised, and what is practised is as ever", async () => {
  const documents: Document[] = [];
  for await (const document of worldFitDocuments({ count: 1500, seed: 0 })) documents.push(document);
  const { learned, kept } = divided(documents);
  const factOf = ({ id }: Document): string => id.slice(0, id.lastIndexOf("/"));
  const practised = new Set(learned.map(factOf));
  expect(learned).toEqual(documents.slice(0, -128));
  // The last documents begin within a world
  const shared = documents.slice(-128).filter((document) => practised.has(factOf(document)));
  expect(shared.length).toBeGreaterThan(0);
  expect(kept.length).toBe(128 - shared.length);
  expect(kept.filter((document) => practised.has(factOf(document)))).toEqual([]);
});
