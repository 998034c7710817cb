import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { UserError } from "../errors.ts";
import type { DownloadProgress, HubOptions } from "./hub.ts";
import { listCached, parseHubName, resolveModel } from "./hub.ts";

// Generous: a busy machine must not fail a test of correctness.
vi.setConfig({ testTimeout: 60_000 });

const commit = "0123456789abcdef0123456789abcdef01234567";
const weights = Buffer.from(Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7 + (i >> 8)) & 255));
const files: Record<string, Buffer> = {
  "config.json": Buffer.from('{"model_type": "llama"}'),
  "tokenizer.json": Buffer.from('{"model": {}}'),
  "model.safetensors": weights,
  "pytorch_model.bin": Buffer.alloc(1000),
  "README.md": Buffer.from("# hello"),
  "empty.txt": Buffer.alloc(0),
};

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Buffer): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** A hub on the loopback: one model, whose weights are on a second server as on the real one. */
interface FakeHub {
  readonly url: string;
  readonly requests: IncomingMessage[];
  /** Answers instead of the normal one, for the next requests whose URL contains `part`. */
  disturb(part: string, times: number, answer: (request: IncomingMessage, response: ServerResponse) => void): void;
  content: Record<string, Buffer>;
  close(): Promise<void>;
}

async function startHub(): Promise<FakeHub> {
  const requests: IncomingMessage[] = [];
  const disturbances: {
    part: string;
    times: number;
    answer: (request: IncomingMessage, response: ServerResponse) => void;
  }[] = [];
  const hub: FakeHub = {
    url: "",
    requests,
    content: { ...files },
    disturb: (part, times, answer) => void disturbances.push({ part, times, answer }),
    close: async () => undefined,
  };
  const send = (request: IncomingMessage, response: ServerResponse, bytes: Buffer): void => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const from = range === null ? 0 : Number(range[1]);
    if (range === null) response.writeHead(200, { "Content-Length": bytes.length });
    else
      response.writeHead(206, {
        "Content-Length": bytes.length - from,
        "Content-Range": `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
      });
    response.end(bytes.subarray(from));
  };
  const disturbed = (request: IncomingMessage, response: ServerResponse): boolean => {
    requests.push(request);
    const found = disturbances.find(({ part, times }) => times > 0 && request.url?.includes(part));
    if (found === undefined) return false;
    found.times--;
    found.answer(request, response);
    return true;
  };
  const storage = createServer((request, response) => {
    if (!disturbed(request, response)) send(request, response, hub.content[(request.url ?? "").slice("/lfs/".length)]);
  });
  const main = createServer((request, response) => {
    if (disturbed(request, response)) return;
    const url = request.url ?? "";
    const json = (value: unknown): void =>
      void response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(value));
    if (/^\/api\/models\/org\/name\/revision\/(main|v1|0123)/.test(url))
      return json({ _id: "1", id: "org/name", sha: commit });
    if (url.startsWith(`/api/models/org/name/tree/${commit}`)) {
      return json(
        Object.entries(hub.content).map(([path, bytes]) => ({
          type: "file",
          path,
          size: bytes.length,
          oid: gitSha1(bytes),
          ...(path.endsWith(".safetensors")
            ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }
            : {}),
        })),
      );
    }
    const file = url.startsWith(`/org/name/resolve/${commit}/`) ? url.slice(`/org/name/resolve/${commit}/`.length) : "";
    if (hub.content[file] === undefined) return void response.writeHead(404).end("none");
    if (!file.endsWith(".safetensors")) return send(request, response, hub.content[file]);
    response
      .writeHead(302, { Location: `http://127.0.0.1:${(storage.address() as AddressInfo).port}/lfs/${file}` })
      .end();
  });
  const listen = (server: Server): Promise<void> =>
    new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  await Promise.all([listen(storage), listen(main)]);
  const stop = (server: Server): Promise<void> =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  hub.close = async () => void (await Promise.all([stop(storage), stop(main)]));
  return Object.assign(hub, { url: `http://127.0.0.1:${(main.address() as AddressInfo).port}` });
}

let hub: FakeHub;
let home = "";
let env: Record<string, string>;
beforeEach(async () => {
  hub = await startHub();
  home = mkdtempSync(join(tmpdir(), "mneme-hub-"));
  env = { HF_HOME: home, HF_ENDPOINT: hub.url };
});
afterEach(async () => {
  await hub.close();
  rmSync(home, { recursive: true });
});

const resolve = (name = "org/name", options: HubOptions = {}): ReturnType<typeof resolveModel> =>
  resolveModel(name, { env, retryMs: [1, 1], ...options });

async function failure(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof UserError)) throw error ?? new Error("nothing was thrown");
  expect(error.message).not.toContain("\n");
  return error.message;
}

const repo = (): string => join(home, "hub/models--org--name");
const blob = join("blobs", sha256(weights));
/** The weights' place on the storage server. */
const stored = "/lfs/model.safetensors";
const paths = (): string[] => hub.requests.map(({ url }) => (url ?? "").replace(/\?.*/, ""));

/** Sends the first `bytes` of the answer and then cuts the connection. */
const cutAfter =
  (bytes: number) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const headers = {
      "Content-Length": weights.length - from,
      "Content-Range": `bytes ${from}-${weights.length - 1}/${weights.length}`,
    };
    response.writeHead(from > 0 ? 206 : 200, headers);
    response.write(weights.subarray(from, from + bytes), () => setTimeout(() => response.destroy(), 20));
  };

describe("download", () => {
  test("fetches what is needed into the standard layout, once, with progress, and prints nothing", async () => {
    const spies = (["log", "debug", "info", "warn", "error"] as const).map((kind) => vi.spyOn(console, kind));
    const progress: DownloadProgress[] = [];
    const model = await resolve("org/name", { onProgress: (p) => progress.push(p) });
    expect(model).toEqual({ name: "org/name", folder: join(repo(), "snapshots", commit), commit });
    expect(readdirSync(model.folder).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect(readFileSync(join(model.folder, "model.safetensors"))).toEqual(weights);
    expect(readlinkSync(join(model.folder, "model.safetensors"))).toBe(join("../..", blob));
    expect(readFileSync(join(repo(), "refs/main"), "utf8")).toBe(commit);
    expect(readdirSync(join(repo(), "blobs")).length).toBe(3);
    const total = weights.length + files["config.json"].length + files["tokenizer.json"].length;
    expect(progress.at(-1)).toEqual({ file: "model.safetensors", bytesDone: total, bytesTotal: total });
    expect(progress.every((p, i) => i === 0 || p.bytesDone >= progress[i - 1].bytesDone)).toBe(true);

    hub.requests.length = 0;
    await resolve();
    expect(paths().filter((path) => path.includes("resolve"))).toEqual([]);
    for (const spy of spies) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  test("the token goes to the hub and not to the storage it redirects to", async () => {
    env.HF_TOKEN = "mirror-token";
    await resolve();
    const ofStorage = hub.requests.filter(({ url }) => url === stored);
    expect(ofStorage.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    const others = hub.requests.filter(({ url }) => url !== stored);
    expect(new Set(others.map(({ headers }) => headers.authorization))).toEqual(new Set(["Bearer mirror-token"]));
  });

  test("a revision, a commit, and a sharded model", async () => {
    const shard = Buffer.from("second");
    delete hub.content["model.safetensors"];
    Object.assign(hub.content, {
      "model-1.safetensors": weights,
      "model-2.safetensors": shard,
      "consolidated.safetensors": Buffer.alloc(9),
      "model.safetensors.index.json": Buffer.from(
        JSON.stringify({ weight_map: { a: "model-1.safetensors", b: "model-2.safetensors" } }),
      ),
    });
    const { folder } = await resolve("org/name@v1");
    expect(readdirSync(folder).sort()).toEqual([
      "config.json",
      "model-1.safetensors",
      "model-2.safetensors",
      "model.safetensors.index.json",
      "tokenizer.json",
    ]);
    expect(existsSync(join(repo(), "refs/v1"))).toBe(true);
    hub.requests.length = 0;
    expect((await resolve(`org/name@${commit}`)).folder).toBe(folder);
    expect(hub.requests).toEqual([]); // a commit never changes
  });

  test("an interrupted connection is continued within one run", async () => {
    hub.disturb(stored, 3, cutAfter(40_000));
    const { folder } = await resolve();
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
    const ranges = hub.requests.filter(({ url }) => url === stored).map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, "bytes=40000-", "bytes=80000-", "bytes=120000-"]);
  });

  test("an interrupted run says so, keeps what it has, and the next one continues there", async () => {
    hub.disturb(stored, 1, cutAfter(70_000));
    hub.disturb(stored, 9, (_, response) => response.destroy());
    const message = await failure(resolve());
    expect(message).toMatch(
      /expected 200000 bytes of model.safetensors, got 70000 \(.*\); check the connection and run again/,
    );
    expect(readFileSync(join(repo(), `${blob}.incomplete`)).length).toBe(70_000);
    expect(existsSync(join(repo(), "refs/main"))).toBe(false);

    await hub.close();
    hub = await startHub();
    env.HF_ENDPOINT = hub.url;
    const { folder } = await resolve();
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
    expect(hub.requests.filter(({ url }) => url === stored).map(({ headers }) => headers.range)).toEqual([
      "bytes=70000-",
    ]);
    expect(readdirSync(join(repo(), "blobs")).some((name) => name.endsWith(".incomplete"))).toBe(false);
  });

  test("a server without ranges starts the file anew", async () => {
    mkdirSync(join(repo(), "blobs"), { recursive: true });
    writeFileSync(join(repo(), `${blob}.incomplete`), "old junk");
    hub.disturb(`resolve/${commit}/model.safetensors`, 1, (_, response) => void response.writeHead(200).end(weights));
    const { folder } = await resolve();
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  });

  test("corrupted content is deleted: LFS by SHA-256, small files by git's SHA-1, a bad continuation too", async () => {
    const flipped = Buffer.from(weights);
    flipped[100_000] ^= 1;
    hub.disturb(`resolve/${commit}/model.safetensors`, 1, (_, response) => void response.writeHead(200).end(flipped));
    expect(await failure(resolve())).toBe(
      `download: expected model.safetensors with checksum ${sha256(weights)}, got ${sha256(flipped)}; ` +
        `the corrupted file was deleted, run again`,
    );
    const names = readdirSync(join(repo(), "blobs"));
    expect(names.some((name) => name.startsWith(sha256(weights)))).toBe(false);

    rmSync(repo(), { recursive: true });
    hub.disturb("config.json", 1, (_, response) => void response.writeHead(200).end('{"model_type": "llamb"}'));
    expect(await failure(resolve())).toContain(`expected config.json with checksum ${gitSha1(files["config.json"])}`);
    expect(readdirSync(join(repo(), "blobs"))).toEqual([]);

    writeFileSync(join(repo(), `${blob}.incomplete`), "junk from elsewhere");
    expect(await failure(resolve())).toContain("the corrupted file was deleted");
    await resolve();
  });

  test("more bytes than announced, or far more on the disk, do not pass", async () => {
    mkdirSync(join(repo(), "blobs"), { recursive: true });
    writeFileSync(join(repo(), `${blob}.incomplete`), Buffer.alloc(weights.length + 1));
    hub.disturb(
      `resolve/${commit}/model.safetensors`,
      1,
      (_, response) => void response.writeHead(200).end(Buffer.alloc(weights.length + 5)),
    );
    const { folder } = await resolve().catch(() => resolve());
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  });
});

describe("answers and names", () => {
  test("404, 401, 403, 429 and 500 are one line each", async () => {
    expect(await failure(resolve("org/other"))).toMatch(
      /expected org\/other on http.*, got none of that name or revision/,
    );
    expect(await failure(resolve("org/name@none"))).toContain("got none of that name or revision");
    const answer =
      (status: number) =>
      (_: IncomingMessage, response: ServerResponse): void =>
        void response.writeHead(status, { "Content-Type": "application/json" }).end('{"error": "line\\nbreak"}');
    hub.disturb("/api/", 1, answer(401));
    expect(await failure(resolve())).toContain('got "unauthorized"; check the spelling, or set HF_TOKEN');
    hub.disturb("/api/", 1, answer(403));
    expect(await failure(resolve())).toContain("accept its terms");
    hub.disturb("/api/", 1, answer(429));
    expect(await failure(resolve())).toContain("too many requests");
    hub.disturb("/api/", 1, answer(500));
    expect(await failure(resolve())).toContain("HTTP status 500");
    hub.disturb("/api/", 1, (_, response) => void response.writeHead(200).end("<html>"));
    expect(await failure(resolve())).toContain("got no proper answer");
    hub.disturb("config.json", 1, answer(404));
    expect(await failure(resolve())).toContain("got none of that name");
  });

  test("no safetensors: the files that are there are named", async () => {
    delete hub.content["model.safetensors"];
    expect(await failure(resolve())).toMatch(
      /expected weights in safetensors format in org\/name, got config.json, .*pytorch_model.bin/,
    );
  });

  test("offline: the cache or one line; nothing is asked", async () => {
    const offline = { ...env, HF_HUB_OFFLINE: "1" };
    expect(await failure(resolve("org/name", { env: offline }))).toContain("(HF_HUB_OFFLINE is set), got nothing");
    const { folder } = await resolve();
    hub.requests.length = 0;
    expect((await resolve("org/name", { env: offline })).folder).toBe(folder);
    expect(hub.requests).toEqual([]);
    rmSync(join(folder, "model.safetensors"));
    expect(await failure(resolve("org/name", { env: offline }))).toContain("got a copy without model.safetensors");
  });

  test("a hub that does not answer: the cached copy with a note, or one line", async () => {
    const { folder } = await resolve();
    const notes: string[] = [];
    await hub.close();
    expect((await resolve("org/name", { onNote: (note) => notes.push(note) })).folder).toBe(folder);
    expect(notes).toEqual(["the hub does not answer (ECONNREFUSED); using the cached copy of org/name"]);
    expect(await failure(resolve("org/other"))).toMatch(/got no proper answer \(ECONNREFUSED\)/);
  });

  test("a stopped download leaves what can be continued", async () => {
    const controller = new AbortController();
    const stop = (): void => controller.abort(new Error("stopped by the user"));
    const promise = resolve("org/name", {
      signal: controller.signal,
      onProgress: ({ file }) => file === "model.safetensors" && stop(),
    });
    await expect(promise).rejects.toThrow(/stopped|abort/i);
    const { folder } = await resolve();
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  });

  test("a folder is itself; other names are refused", async () => {
    expect(await resolve(home)).toEqual({ name: home, folder: home, commit: undefined });
    for (const name of [
      "",
      "gpt2",
      "/no/such/folder",
      "./no/models",
      "a/b/c",
      "../x",
      "a/..",
      "org/name@../x",
      "a\\b",
      "https://x/y",
    ]) {
      expect(parseHubName(name)).toBeUndefined();
      expect(await failure(resolve(name))).toContain("expected a folder or a hub id");
    }
    expect(parseHubName("a/b-c.d_e@refs/pr/1")).toEqual({ id: "a/b-c.d_e", revision: "refs/pr/1" });
  });

  test("listCached: names, refs, sizes, completeness; HF_HUB_CACHE wins over HF_HOME", async () => {
    expect(await listCached({ env })).toEqual([]);
    const { folder } = await resolve();
    const bytes = weights.length + files["config.json"].length + files["tokenizer.json"].length;
    const entry = { name: "org/name", commit, refs: ["main"], folder, bytes, complete: true };
    expect(await listCached({ env })).toEqual([entry]);
    const moved = { HF_HOME: "/nowhere", HF_HUB_CACHE: join(home, "hub") };
    expect(await listCached({ env: moved })).toEqual([entry]);
    rmSync(join(repo(), blob));
    expect((await listCached({ env }))[0].complete).toBe(false);
  });
});
