import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseTiming, startPeer } from "./peer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mneme-peer-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A peer that says `first`, then runs `answer` (an expression over `request`) for every request. */
async function fakePeer(name: string, first: string, answer: string): Promise<string[]> {
  const path = join(folder, `${name}.cjs`);
  await writeFile(
    path,
    `console.log(${JSON.stringify(first)});
     const lines = require("node:readline").createInterface({ input: process.stdin });
     lines.on("line", (line) => { const request = JSON.parse(line); console.log(${answer}); });`,
  );
  return [process.execPath, path];
}

const ready = JSON.stringify({ ready: true, torch: "9.9" });
const timing = `JSON.stringify({ ...request, medianMs: 300 / request.threads, minMs: 100, variant: "plain" })`;

test("the first command that is ready is the peer, and answers with the threads and steps asked for", async () => {
  const missing = [join(folder, "no-such-program")];
  const unready = await fakePeer("unready", JSON.stringify({ ready: false, error: "no torch" }), "0");
  const good = await fakePeer("good", ready, timing);
  const peer = await startPeer([missing, unready, good]);
  expect(peer?.info).toEqual({ ready: true, torch: "9.9" });
  expect(await peer?.measure(1, 5)).toEqual({ threads: 1, medianMs: 300, minMs: 100, steps: 5, variant: "plain" });
  expect(await peer?.measure(2, 7)).toEqual({ threads: 2, medianMs: 150, minMs: 100, steps: 7, variant: "plain" });
  await peer?.close();
});

test("no peer when every command is missing, silent or talks of something else", async () => {
  const silent = [process.execPath, "-e", ""];
  const chatty = [process.execPath, "-e", "console.log('hello')"];
  expect(await startPeer([[join(folder, "none")], silent, chatty])).toBeUndefined();
});

test("a peer that ends or answers wrongly in mid-run is a clear error", async () => {
  const dying = await startPeer([await fakePeer("dying", ready, "process.exit(3)")]);
  await expect(dying?.measure(1, 5)).rejects.toThrow("timing of 5 steps with 1 threads, got the end of its output");
  await dying?.close();
  const wrong = await startPeer([await fakePeer("wrong", ready, `JSON.stringify({ ...request, medianMs: "fast" })`)]);
  await expect(wrong?.measure(2, 4)).rejects.toThrow(/got \{"threads":2,"steps":4,"medianMs":"fast"\}/);
  await wrong?.close();
});

test("a timing must be of what was asked, with positive times", () => {
  const line = (changes: object) => JSON.stringify({ threads: 2, steps: 5, medianMs: 200, minMs: 190, ...changes });
  expect(parseTiming(line({}), 2, 5)).toEqual({ threads: 2, steps: 5, medianMs: 200, minMs: 190 });
  for (const wrong of [
    line({ threads: 1 }),
    line({ steps: 4 }),
    line({ medianMs: 0 }),
    line({ minMs: null }),
    "[]",
    "{",
    "null",
  ]) {
    expect(() => parseTiming(wrong, 2, 5), wrong).toThrow(
      "bench: expected the peer's timing of 5 steps with 2 threads",
    );
  }
});
