import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scriptArguments } from "../../tests/support/script.ts";
import { UserError } from "../errors.ts";
import { readEvents } from "./event-log.ts";
import type { RunEvent } from "./events.ts";
import { openRunFolder } from "./folder.ts";

const note = (time: number): RunEvent => ({ type: "failed", message: "m", time });

let root = "";
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "mneme-folder-"))));
afterAll(() => rm(root, { recursive: true, force: true }));

/** Starts a child and waits for its first line. */
async function startChild(
  path: string,
  resume: "new" | "resume",
  mode: "write" | "hold",
): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [...scriptArguments("tests/support/folder-child.ts"), path, resume, mode], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  return { child, line: text.split("\n")[0] };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

test("a new folder is created, locked, written and can be resumed", async () => {
  const path = join(root, "deep", "run");
  const folder = await openRunFolder(path);
  expect(folder).toMatchObject({ path, name: "run", isNew: true });
  await folder.writeJson("config.json", { a: 1 });
  await folder.append(note(1));
  await folder.writeFolder("state-1", (at) => writeFile(join(at, "x"), "1"));
  await folder.writeFolder("state-1", (at) => writeFile(join(at, "y"), "2"));
  expect(await readdir(folder.file("state-1"))).toEqual(["y"]);
  expect(await folder.readJson("none.json")).toBeUndefined();
  await folder.close();
  expect((await readdir(path)).sort()).toEqual(["config.json", "events.jsonl", "state-1"]);
  const again = await openRunFolder(path, { resume: true });
  expect(again.isNew).toBe(false);
  expect(await again.readJson("config.json")).toEqual({ a: 1 });
  await again.append(note(2));
  expect((await again.events()).map((event) => event.time)).toEqual([1, 2]);
  await again.close();
});

test("a folder that was opened for nothing leaves nothing", async () => {
  const path = join(root, "nothing");
  await (await openRunFolder(path)).close();
  expect(existsSync(path)).toBe(false);
});

test("a failing writeFolder keeps the old folder and leaves no temporary one", async () => {
  const path = join(root, "failing");
  const folder = await openRunFolder(path);
  await folder.writeFolder("state-1", (at) => writeFile(join(at, "x"), "old"));
  await expect(
    folder.writeFolder("state-1", async (at) => {
      await writeFile(join(at, "x"), "new");
      throw new Error("disk full");
    }),
  ).rejects.toThrow("disk full");
  expect(await readFile(join(path, "state-1", "x"), "utf8")).toBe("old");
  expect((await readdir(path)).sort()).toEqual(["run.lock", "state-1"]);
  await folder.close();
});

describe("what is refused", () => {
  const put = async (name: string, files: Record<string, string>) => {
    const path = join(root, name);
    await mkdir(path);
    for (const [file, text] of Object.entries(files)) await writeFile(join(path, file), text);
    return path;
  };
  const refusal = async (path: string, resume: boolean) => {
    const before = existsSync(path) ? await readdir(path) : undefined;
    const error: unknown = await openRunFolder(path, { resume }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UserError);
    expect(existsSync(path) ? await readdir(path) : undefined).toEqual(before);
    expect((error as Error).message).not.toContain("\n");
    return (error as Error).message;
  };

  test("a finished or unfinished run without resume", async () => {
    const finished = await put("finished", { "config.json": "{}", "progress.json": "{}", "result.json": "{}" });
    expect(await refusal(finished, false)).toMatch(/with a finished run .*resume that run, or use another folder/);
    const unfinished = await put("unfinished", { "config.json": "{}", "events.jsonl": "" });
    expect(await refusal(unfinished, false)).toContain("an unfinished run");
  });

  test("half-deleted folders", async () => {
    const noConfig = await put("no-config", { "progress.json": "{}", "events.jsonl": "" });
    for (const resume of [true, false])
      expect(await refusal(noConfig, resume)).toMatch(/expected config\.json.*half deleted/);
    const noProgress = await put("no-progress", { "config.json": "{}", "result.json": "{}" });
    expect(await refusal(noProgress, true)).toMatch(/expected progress\.json beside result\.json.*half deleted/);
  });

  test("somebody else's folder, nothing to resume, a file in the way", async () => {
    expect(await refusal(await put("holiday", { "photo.jpg": "" }), false)).toContain(
      "with photo.jpg; use another folder",
    );
    expect(await refusal(join(root, "absent"), true)).toContain("no such folder");
    expect(await refusal(await put("empty", {}), true)).toContain("an empty folder");
    const file = join(root, "a-file");
    await writeFile(file, "");
    await expect(openRunFolder(file)).rejects.toThrow(/expected a folder .*got a file/);
  });
});

describe("the lock", () => {
  test("keeps this process out twice and another process out, naming it", async () => {
    const path = join(root, "locked");
    const folder = await openRunFolder(path);
    await expect(openRunFolder(path)).rejects.toThrow(/got a lock of this process since/);
    await folder.writeJson("config.json", {});
    const other = await startChild(path, "resume", "write");
    expect(other.line).toContain(`got a lock of process ${process.pid} since`);
    await stopChild(other.child);
    await folder.close();

    const holder = await startChild(path, "resume", "hold");
    expect(holder.line).toBe("open");
    await expect(openRunFolder(path, { resume: true })).rejects.toThrow(
      new RegExp(`lock of process ${holder.child.pid} since .*wait for it`),
    );
    await stopChild(holder.child);
    await (await openRunFolder(path, { resume: true })).close();
  });

  test("of a dead process, of a reused process id, or a damaged one is taken over; of another host not", async () => {
    const path = join(root, "stale");
    await mkdir(path);
    const lock = join(path, "run.lock");
    const holder = { pid: 2 ** 22 + 1, started: "x:1", host: hostname(), since: "then", token: "t" };
    // Only Linux tells the start of a process, so only there a reused process id is seen.
    const reused = process.platform === "linux" ? [JSON.stringify({ ...holder, pid: process.ppid })] : [];
    for (const text of [JSON.stringify(holder), ...reused, "", "{", "[]", '{"pid":-1}']) {
      await writeFile(lock, text);
      const folder = await openRunFolder(path);
      expect(JSON.parse(await readFile(lock, "utf8"))).toMatchObject({ pid: process.pid });
      await folder.close();
      expect(await readdir(path)).toEqual([]);
    }
    await writeFile(lock, JSON.stringify({ ...holder, host: "another-host" }));
    await expect(openRunFolder(path)).rejects.toThrow(
      /process \d+ on another-host since then; if it no longer runs, delete .*run\.lock/,
    );
  });

  test("goes to exactly one of many that want a stale one at the same time", async () => {
    const path = join(root, "contended");
    await mkdir(path);
    const holder = { pid: 2 ** 22 + 1, started: null, host: hostname(), since: "then", token: "t" };
    for (let round = 0; round < 5; round++) {
      await writeFile(join(path, "run.lock"), JSON.stringify(holder));
      const opened = await Promise.allSettled(Array.from({ length: 8 }, () => openRunFolder(path)));
      const winners = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      expect(winners).toHaveLength(1);
      await winners[0].close();
      expect(await readdir(path)).toEqual([]);
    }
  });
});

describe("the event log", () => {
  test("drops a torn last line, at every length, and goes on behind the whole ones", async () => {
    const path = join(root, "torn");
    const lines = [note(1), note(2)].map((event) => `${JSON.stringify(event)}\n`).join("");
    const torn = JSON.stringify({ ...note(3), message: "é語" });
    const bytes = Buffer.from(torn);
    for (let length = 0; length <= bytes.length; length += 5) {
      await rm(path, { recursive: true, force: true });
      await mkdir(path);
      await writeFile(join(path, "config.json"), "{}");
      await writeFile(join(path, "events.jsonl"), Buffer.concat([Buffer.from(lines), bytes.subarray(0, length)]));
      expect(await readEvents(join(path, "events.jsonl"))).toHaveLength(2);
      const folder = await openRunFolder(path, { resume: true });
      await folder.append(note(4));
      expect((await folder.events()).map((event) => event.time)).toEqual([1, 2, 4]);
      await folder.close();
    }
  });

  test("zeros after a power failure are dropped, damage in the middle is reported with its line", async () => {
    const file = join(root, "events.jsonl");
    await writeFile(file, `${JSON.stringify(note(1))}\n`);
    await appendFile(file, "\0\0\0\0\n");
    expect(await readEvents(file)).toHaveLength(1);
    await appendFile(file, `${JSON.stringify(note(2))}\n`);
    await expect(readEvents(file)).rejects.toThrow(/something else in line 2/);
    expect(await readEvents(join(root, "none.jsonl"))).toEqual([]);
  });
});

test("a folder opens again after its process was killed at any moment while writing", async () => {
  const path = join(root, "killed");
  const stepOf = async (file: string) =>
    (JSON.parse(await readFile(join(path, file), "utf8")) as { step: number }).step;
  for (let round = 0; round < 8; round++) {
    const { child, line } = await startChild(path, round === 0 ? "new" : "resume", "write");
    expect(line).toBe("open");
    // The first round gets the time to save its configuration; the others die anywhere.
    await sleep(round === 0 ? 100 : (round * 37) % 90);
    await stopChild(child);
    const folder = await openRunFolder(path, { resume: true });
    const events = await folder.events();
    // Steps count up from 0 in each sitting, without a gap or a damaged line.
    events.forEach((event, i) =>
      expect([0, events[i - 1] === undefined ? 0 : events[i - 1].time + 1]).toContain(event.time),
    );
    expect(await folder.readJson("config.json")).toEqual({ written: 0 });
    if (await folder.has("progress.json")) expect(await stepOf("progress.json")).toBeGreaterThanOrEqual(0);
    if (await folder.has("state-1")) expect(await stepOf("state-1/s.json")).toBeGreaterThanOrEqual(0);
    expect((await folder.list()).filter((name) => name.endsWith(".tmp") && name !== "run.lock")).toEqual([]);
    await folder.close();
  }
}, 60_000);
