/**
 * Turns a model's name into a folder. A folder is itself; `org/name` or `org/name@revision` is looked up on the
 * Hugging Face hub and kept in the standard cache (blobs by hash, snapshots by commit, refs by branch), where other
 * programs find it too. Only what mneme reads is fetched: configuration, tokenizer, safetensors.
 * Honours HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE.
 */
import { copyFile, mkdir, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { UserError } from "../errors.ts";
import { describe, download, HttpError } from "./download.ts";
import { exists, isFolder, isObject, oneLine, writeError, writeFileAtomic } from "./files.ts";
import { shardsOf } from "./safetensors.ts";
import { tokenizerFiles } from "./tokenizer.ts";

export interface DownloadProgress {
  /** The file that is being fetched. */
  readonly file: string;
  /** Bytes of all files of the model, those already cached included. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export interface HubOptions {
  /** Where the variables HF_* are looked up. */
  env?: Readonly<Record<string, string | undefined>>;
  onProgress?: (progress: DownloadProgress) => void;
  /** What the user may want to know, such as that the cache is used because the hub does not answer. */
  onNote?: (message: string) => void;
  signal?: AbortSignal;
  retryMs?: readonly number[];
}

export interface ResolvedModel {
  /** The name as it was given. */
  readonly name: string;
  readonly folder: string;
  /** Commit of a hub model; undefined for a folder. */
  readonly commit: string | undefined;
}

interface Settings {
  readonly cache: string;
  readonly endpoint: string | undefined;
  readonly token: string | undefined;
  readonly offline: boolean;
}

function settings(env: Readonly<Record<string, string | undefined>>): Settings {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  return {
    cache: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub"),
    endpoint: env.HF_ENDPOINT?.replace(/\/+$/, "") || undefined,
    token: env.HF_TOKEN || undefined,
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ""),
  };
}

interface HubName {
  readonly id: string;
  readonly revision: string;
}

/** `org/name[@revision]`, or undefined for anything else. */
export function parseHubName(name: string): HubName | undefined {
  const match = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+(?:\/[\w.-]+)*))?$/.exec(name);
  if (match === null || /\.\.|--/.test(name)) return undefined;
  return { id: match[1], revision: match[2] ?? "main" };
}

/** The folder of a model that is named by a folder or by its hub id; downloads what is missing. */
export async function resolveModel(
  name: string,
  { env = process.env, ...options }: HubOptions = {},
): Promise<ResolvedModel> {
  if (await isFolder(name)) return { name, folder: name, commit: undefined };
  const hub = parseHubName(name);
  if (hub === undefined) {
    throw new UserError(
      `model: expected a folder or a hub id (org/name or org/name@revision), got "${oneLine(name, 80)}"; ` +
        `check the name`,
    );
  }
  const where = settings(env);
  const repo = join(where.cache, `models--${hub.id.replace("/", "--")}`);
  const pinned = /^[0-9a-f]{40}$/.test(hub.revision);
  const cached = await findCached(repo, hub.revision);
  const usable =
    cached !== undefined && (await missingFile(cached.folder)) === undefined ? { name, ...cached } : undefined;
  if (usable !== undefined && pinned) return usable;
  if (where.offline) {
    if (usable !== undefined) return usable;
    const got = cached === undefined ? "nothing" : `a copy without ${await missingFile(cached.folder)}`;
    throw new UserError(
      `model: expected ${name} in the cache (HF_HUB_OFFLINE is set), got ${got}; unset HF_HUB_OFFLINE to download it`,
    );
  }
  try {
    return { name, ...(await fetchSnapshot(hub, repo, where, options)) };
  } catch (error) {
    const unreachable = isUnreachable(error) && !options.signal?.aborted;
    if (unreachable && usable !== undefined) {
      options.onNote?.(`the hub does not answer (${describe(error)}); using the cached copy of ${name}`);
      return usable;
    }
    throw options.signal?.aborted ? error : hubError(name, where, error);
  }
}

/** No answer at all, or one that says that the server is in trouble. */
function isUnreachable(error: unknown): boolean {
  const status = statusOf(error);
  return status === undefined ? error instanceof TypeError : status >= 500 || status === 429;
}

/** HTTP status of our own error or of the hub library's. */
function statusOf(error: unknown): number | undefined {
  if (error instanceof HttpError) return error.status;
  return isObject(error) && typeof error.statusCode === "number" ? error.statusCode : undefined;
}

function hubError(name: string, { endpoint, token }: Settings, error: unknown): unknown {
  const hub = endpoint ?? "the hub";
  const status = statusOf(error);
  if (status === 404)
    return new UserError(
      `model: expected ${name} on ${hub}, got none of that name or revision (nor is there such a folder); ` +
        `check the spelling`,
    );
  if (status === 401) {
    const way =
      token === undefined ? "check the spelling, or set HF_TOKEN if it is private" : "check the spelling and HF_TOKEN";
    return new UserError(`model: expected access to ${name} on ${hub}, got "unauthorized"; ${way}`);
  }
  if (status === 403)
    return new UserError(
      `model: expected access to ${name} on ${hub}, got "forbidden"; accept its terms there and set HF_TOKEN`,
    );
  if (status === 429)
    return new UserError(`model: expected ${name} from ${hub}, got "too many requests"; wait a while or set HF_TOKEN`);
  if (status !== undefined)
    return new UserError(`model: expected ${name} from ${hub}, got HTTP status ${status}; try again later`);
  if (error instanceof TypeError || error instanceof SyntaxError) {
    return new UserError(
      `model: expected ${name} from ${hub}, got no proper answer (${describe(error)}); ` +
        `check the network, HF_ENDPOINT or set HF_HUB_OFFLINE=1`,
    );
  }
  return error;
}

interface RemoteFile {
  readonly path: string;
  readonly bytes: number;
  readonly hash: string;
}

const smallFiles: readonly string[] = [
  "config.json",
  "generation_config.json",
  "adapter_config.json",
  "model.safetensors.index.json",
  ...tokenizerFiles,
];

async function fetchSnapshot(
  { id, revision }: HubName,
  repo: string,
  { endpoint, token }: Settings,
  { onProgress, signal, retryMs }: HubOptions,
): Promise<{ folder: string; commit: string }> {
  const { HUB_URL, listFiles, modelInfo } = await import("@huggingface/hub");
  const hubUrl = endpoint ?? HUB_URL;
  // The token travels here, not through the library, which refuses those that mirrors issue; and to the hub alone.
  const authorised: typeof fetch = (input, init) => {
    const headers = new Headers(init?.headers);
    const url = new URL(input instanceof Request ? input.url : input);
    if (token !== undefined && url.origin === new URL(hubUrl).origin) headers.set("Authorization", `Bearer ${token}`);
    return fetch(input, { signal, ...init, headers });
  };
  const { sha: commit } = await modelInfo({ name: id, revision, hubUrl, fetch: authorised, additionalFields: ["sha"] });
  if (!/^[0-9a-f]{40}$/.test(commit)) throw new SyntaxError("no commit hash");
  const remote = new Map<string, RemoteFile>();
  for await (const entry of listFiles({
    repo: { type: "model", name: id },
    revision: commit,
    hubUrl,
    fetch: authorised,
  })) {
    const hash = entry.lfs?.oid ?? entry.oid ?? "";
    if (entry.type !== "file" || !/^(?!\.)[\w.-]+$/.test(entry.path) || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash))
      continue;
    remote.set(entry.path, { path: entry.path, bytes: entry.lfs?.size ?? entry.size, hash });
  }

  const folder = join(repo, "snapshots", commit);
  const blobs = join(repo, "blobs");
  try {
    await mkdir(folder, { recursive: true });
    await mkdir(blobs, { recursive: true });
  } catch (error) {
    throw writeError(folder, error);
  }
  let bytesDone = 0;
  let bytesTotal = 0;
  const fetchFile = async ({ path, bytes, hash }: RemoteFile): Promise<void> => {
    const blob = join(blobs, hash);
    if (!(await exists(join(folder, path)))) {
      if (!(await exists(blob))) {
        const url = `${hubUrl}/${id}/resolve/${commit}/${path}`;
        const report = (now: number): void => onProgress?.({ file: path, bytesDone: bytesDone + now, bytesTotal });
        await download({
          url,
          name: path,
          target: blob,
          bytes,
          hash,
          fetch: authorised,
          signal,
          onProgress: report,
          retryMs,
        });
      }
      await link(blob, join(folder, path));
    }
    bytesDone += bytes;
    onProgress?.({ file: path, bytesDone, bytesTotal });
  };
  const fetchAll = async (names: readonly string[]): Promise<void> => {
    const files = names.map((name) => remote.get(name)).filter((file) => file !== undefined);
    bytesTotal += files.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const file of files) await fetchFile(file);
  };

  // The index is small and says which weights there are: first, so that the total is right from the start.
  const index = "model.safetensors.index.json";
  const single = remote.has("model.safetensors");
  let weights = single ? ["model.safetensors"] : [...remote.keys()].filter((name) => name.endsWith(".safetensors"));
  if (!single && remote.has(index)) {
    await fetchAll([index]);
    weights = await shardsOf(join(folder, index));
    const absent = weights.find((name) => !remote.has(name));
    if (absent !== undefined)
      throw new UserError(`model: expected ${absent} in ${id}, as its index says, got none; choose another model`);
  }
  if (weights.length === 0) {
    const got = remote.size === 0 ? "no files" : oneLine([...remote.keys()].join(", "), 160);
    throw new UserError(
      `model: expected weights in safetensors format in ${id}, got ${got}; choose another model or revision`,
    );
  }
  await fetchAll([...smallFiles.filter((name) => name !== index), ...weights]);
  if (revision !== commit) {
    const ref = join(repo, "refs", revision);
    await mkdir(dirname(ref), { recursive: true });
    await writeFileAtomic(ref, commit);
  }
  return { folder, commit };
}

/** A relative link, so that the cache can be moved; a copy where links are not allowed. */
async function link(blob: string, path: string): Promise<void> {
  await rm(path, { force: true });
  await symlink(relative(dirname(path), blob), path).catch(() => copyFile(blob, path));
}

/** The snapshot that a revision (branch, tag or commit) stands for in the cache. */
async function findCached(repo: string, revision: string): Promise<{ folder: string; commit: string } | undefined> {
  const ref = await readFile(join(repo, "refs", revision), "utf8").catch(() => revision);
  const folder = join(repo, "snapshots", ref.trim());
  return /^[0-9a-f]{40}$/.test(ref.trim()) && (await isFolder(folder)) ? { folder, commit: ref.trim() } : undefined;
}

/** The first file that a model folder lacks before it can be loaded; undefined when it is complete. */
async function missingFile(folder: string): Promise<string | undefined> {
  const has = (name: string): Promise<boolean> => exists(join(folder, name));
  if (await has("adapter_model.safetensors"))
    return (await has("adapter_config.json")) ? undefined : "adapter_config.json";
  if (!(await has("config.json"))) return "config.json";
  if (await has("model.safetensors")) return undefined;
  const index = join(folder, "model.safetensors.index.json");
  if (!(await exists(index))) return "model.safetensors";
  for (const name of await shardsOf(index).catch(() => [])) if (!(await has(name))) return name;
  return undefined;
}

export interface CachedModel {
  /** Hub id, `org/name`. */
  readonly name: string;
  readonly commit: string;
  /** Branches and tags that point to this commit. */
  readonly refs: readonly string[];
  readonly folder: string;
  readonly bytes: number;
  /** Whether it can be loaded as it is. */
  readonly complete: boolean;
}

/** Every model snapshot in the cache, by name. Needs no network. */
export async function listCached({ env = process.env }: Pick<HubOptions, "env"> = {}): Promise<CachedModel[]> {
  const { cache } = settings(env);
  const found: CachedModel[] = [];
  for (const entry of (await listFolder(cache)).sort()) {
    const match = /^models--(.+?)--(.+)$/.exec(entry);
    if (match === null) continue;
    const refs = await listRefs(join(cache, entry, "refs"));
    for (const commit of await listFolder(join(cache, entry, "snapshots"))) {
      const folder = join(cache, entry, "snapshots", commit);
      if (!(await isFolder(folder))) continue;
      let bytes = 0;
      for (const name of await listFolder(folder))
        bytes += await stat(join(folder, name)).then(
          (s) => (s.isFile() ? s.size : 0),
          () => 0,
        );
      const mine = refs.filter(([, to]) => to === commit).map(([name]) => name);
      const complete = (await missingFile(folder)) === undefined;
      found.push({ name: `${match[1]}/${match[2]}`, commit, refs: mine, folder, bytes, complete });
    }
  }
  return found;
}

async function listRefs(folder: string): Promise<[string, string][]> {
  const names = await readdir(folder, { recursive: true }).catch((): string[] => []);
  const read = names.map(
    async (name): Promise<[string, string]> => [
      name,
      (await readFile(join(folder, name), "utf8").catch(() => "")).trim(),
    ],
  );
  return (await Promise.all(read)).filter(([, to]) => to !== "");
}

const listFolder = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
