/**
 * Reads and writes safetensors: a single file, or a folder whose model is split over several with an index.
 * Node has no mmap, so each tensor is read by positioned reads straight into its final typed array, several chunks
 * at a time; no byte of the file is held twice. Writing streams tensor by tensor and is atomic.
 */
import type { FileHandle } from "node:fs/promises";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../errors.ts";
import type { DType, HostTensor } from "../tensor/dtype.ts";
import { bytesPerElement, sizeOf, zerosHost } from "../tensor/dtype.ts";
import { isObject, oneLine, readError, readJsonObject, writeFileAtomic } from "./files.ts";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16, upperHalf } from "./half.ts";
import type { StoredDType, TensorInfo } from "./safetensors-header.ts";
import { formatHeader, headerError, parseHeader, parseHeaderLength } from "./safetensors-header.ts";

export type { TensorInfo };

/** An open safetensors file, or a sharded checkpoint that looks like one. Close it after use. */
export interface SafetensorsFile {
  /** The file or folder it was opened from, for messages. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  /** The tensor in its stored dtype (BF16, which `DType` lacks, as float32). */
  read(name: string): Promise<HostTensor>;
  /** A floating-point tensor as float32; float16 and bfloat16 are widened exactly. */
  readFloat32(name: string): Promise<HostTensor<"float32">>;
  close(): Promise<void>;
}

const hostDType: { readonly [S in StoredDType]?: DType } = {
  F32: "float32",
  F16: "float16",
  BF16: "float32",
  I32: "int32",
  I64: "int64",
  U8: "uint8",
  I8: "int8",
  BOOL: "bool",
};

const storedDType: { readonly [D in DType]: StoredDType } = {
  float32: "F32",
  float16: "F16",
  int32: "I32",
  int64: "I64",
  uint8: "U8",
  int8: "I8",
  bool: "BOOL",
};

const chunkBytes = 4 << 20;
const parallelReads = 4;

/** Opens one file and checks its whole header. Every malformed file is a `UserError` that says what is wrong. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw readError("safetensors", path, error);
  }
  try {
    const info = await handle.stat();
    if (!info.isFile())
      throw new UserError(`safetensors: expected a file at ${path}, got a folder or device; name a file`);
    const prefix = await readHead(handle, 0, Math.min(8, info.size), path);
    const length = parseHeaderLength(prefix, info.size, path);
    const start = 8 + length;
    const header = parseHeader(await readHead(handle, 8, length, path), info.size - start, path);
    const read = async (name: string): Promise<HostTensor> => {
      const entry = lookUp(header.tensors, name, path);
      return readStored(handle, start, name, entry, path);
    };
    const readFloat32 = async (name: string): Promise<HostTensor<"float32">> => {
      const entry = lookUp(header.tensors, name, path);
      if (entry.dtype === "F16") return readWidened(handle, start, entry, path);
      const tensor = await read(name);
      if (!isFloat32(tensor)) {
        throw new UserError(
          `safetensors: ${path}: expected floats in "${name}", got ${entry.dtype}; read it as it is stored`,
        );
      }
      return tensor;
    };
    return { path, ...header, read, readFloat32, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readHead(handle: FileHandle, position: number, length: number, path: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await readInto(handle, position, bytes, path);
  return bytes;
}

function lookUp(tensors: ReadonlyMap<string, TensorInfo>, name: string, path: string): TensorInfo {
  const info = tensors.get(name);
  if (info === undefined) {
    throw new UserError(
      `safetensors: ${path}: expected a tensor "${name}", got none; it has ${listNames(tensors.keys())}`,
    );
  }
  return info;
}

async function readStored(
  handle: FileHandle,
  start: number,
  name: string,
  info: TensorInfo,
  path: string,
): Promise<HostTensor> {
  if (info.dtype === "BF16") return readWidened(handle, start, info, path);
  const dtype = hostDType[info.dtype];
  if (dtype === undefined) {
    const known = Object.keys(hostDType).join(", ");
    throw new UserError(
      `safetensors: ${path}: expected "${name}" in one of ${known}, got ${info.dtype}; convert the file first`,
    );
  }
  const tensor = allocate(dtype, info, path);
  await readInto(handle, start + info.begin, bytesOf(tensor), path);
  if (dtype === "bool") for (let i = 0; i < tensor.data.length; i++) if (tensor.data[i] !== 0) tensor.data[i] = 1;
  return tensor;
}

/** F16 or BF16 -> float32 in one buffer: the stored bytes go to its upper half and are widened from there. */
async function readWidened(
  handle: FileHandle,
  start: number,
  info: TensorInfo,
  path: string,
): Promise<HostTensor<"float32">> {
  const tensor = allocate("float32", info, path);
  const halves = upperHalf(tensor.data);
  await readInto(handle, start + info.begin, new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength), path);
  if (info.dtype === "F16") float16ToFloat32(halves, tensor.data);
  else bfloat16ToFloat32(halves, tensor.data);
  return tensor;
}

function allocate<D extends DType>(dtype: D, info: TensorInfo, path: string): HostTensor<D> {
  try {
    return zerosHost(dtype, info.shape);
  } catch {
    const megabytes = Math.ceil((sizeOf(info.shape) * bytesPerElement[dtype]) / 1e6);
    throw new UserError(
      `safetensors: ${path}: expected memory for a tensor of ${megabytes} MB, got none; free some memory`,
    );
  }
}

/** Fills `target` from `position`, a few chunks at a time so that several threads copy from the file cache. */
async function readInto(handle: FileHandle, position: number, target: Uint8Array, path: string): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < target.length) {
      let at = next;
      const stop = Math.min(at + chunkBytes, target.length);
      next = stop;
      while (at < stop) {
        const { bytesRead } = await handle.read(target, at, stop - at, position + at);
        if (bytesRead === 0)
          throw headerError(path, `${position + target.length} bytes or more`, `its end at ${position + at}`);
        at += bytesRead;
      }
    }
  };
  const workers = Math.min(parallelReads, Math.ceil(target.length / chunkBytes));
  try {
    await Promise.all(Array.from({ length: workers }, worker));
  } catch (error) {
    throw error instanceof UserError ? error : readError("safetensors", path, error);
  }
}

const bytesOf = ({ data }: HostTensor): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const isFloat32 = (tensor: HostTensor): tensor is HostTensor<"float32"> => tensor.dtype === "float32";

/**
 * Opens a model folder (`model.safetensors`, else `model.safetensors.index.json` and its shards) or a single
 * `.safetensors` file. The shards appear as one file; `begin` and `end` count within a tensor's own shard.
 */
export async function openCheckpoint(folder: string): Promise<SafetensorsFile> {
  const info = await stat(folder).catch((error: unknown) => {
    throw readError("openCheckpoint", folder, error);
  });
  if (!info.isDirectory()) return openSafetensors(folder);
  const names = await readdir(folder);
  if (names.includes("model.safetensors")) return openSafetensors(join(folder, "model.safetensors"));
  if (names.includes("model.safetensors.index.json")) return openSharded(folder);
  const others = names.filter((name) => /\.(bin|pt|pth|h5|onnx|gguf|msgpack|safetensors)$/.test(name));
  const got = others.length > 0 ? listNames(others) : names.length > 0 ? "no weights" : "an empty folder";
  throw new UserError(
    `openCheckpoint: expected model.safetensors or model.safetensors.index.json in ${folder}, got ${got}; ` +
      `choose a model folder in safetensors format`,
  );
}

/** The file of each tensor, as an index says; not yet checked. */
async function readWeightMap(indexPath: string): Promise<Record<string, unknown>> {
  const { weight_map: map } = await readJsonObject(indexPath);
  if (isObject(map)) return map;
  throw new UserError(
    `openCheckpoint: expected "weight_map" in ${indexPath}, got none; delete that file and download or save the ` +
      "model again",
  );
}

/** The files that an index names, sorted. */
export async function shardsOf(indexPath: string): Promise<string[]> {
  return [...new Set(Object.values(await readWeightMap(indexPath)).map(String))].sort();
}

async function openSharded(folder: string): Promise<SafetensorsFile> {
  const indexPath = join(folder, "model.safetensors.index.json");
  const weightMap = await readWeightMap(indexPath);
  const shards = new Map<string, SafetensorsFile>();
  const homes = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, TensorInfo>();
  const close = async (): Promise<void> => {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
  };
  try {
    for (const [name, file] of Object.entries(weightMap)) {
      if (typeof file !== "string" || !/^[^/\\\0]+\.safetensors$/.test(file)) {
        throw new UserError(
          `openCheckpoint: ${indexPath}: expected the name of a .safetensors file beside it, ` +
            `got ${oneLine(JSON.stringify(file), 80)}; repair the index`,
        );
      }
      const shard = shards.get(file) ?? (await openSafetensors(join(folder, file)));
      shards.set(file, shard);
      tensors.set(name, lookUp(shard.tensors, name, shard.path));
      homes.set(name, shard);
    }
  } catch (error) {
    await close();
    throw error;
  }
  const home = (name: string): SafetensorsFile => {
    lookUp(tensors, name, folder);
    return homes.get(name) as SafetensorsFile;
  };
  const metadata = shards.values().next().value?.metadata ?? {};
  return {
    path: folder,
    tensors,
    metadata,
    close,
    read: async (name) => home(name).read(name),
    readFloat32: async (name) => home(name).readFloat32(name),
  };
}

/**
 * Reads many tensors (all by default), in file order, a few at a time. With `float32` (the default) floating-point
 * tensors come as float32 and the others as stored; without it everything comes as stored.
 */
export async function readAll(
  file: SafetensorsFile,
  names: Iterable<string> = file.tensors.keys(),
  { float32 = true }: { float32?: boolean } = {},
): Promise<Map<string, HostTensor>> {
  const wanted = [...names];
  const byPlace = [...wanted].sort(
    (a, b) => lookUp(file.tensors, a, file.path).begin - lookUp(file.tensors, b, file.path).begin,
  );
  const done = new Map<string, HostTensor>();
  const worker = async (): Promise<void> => {
    for (let name = byPlace.shift(); name !== undefined; name = byPlace.shift()) {
      const half = float32 && file.tensors.get(name)?.dtype === "F16";
      done.set(name, await (half ? file.readFloat32(name) : file.read(name)));
    }
  };
  await Promise.all(Array.from({ length: parallelReads }, worker));
  return new Map(wanted.map((name) => [name, done.get(name) as HostTensor]));
}

/**
 * Checks that `file` holds every expected tensor in the expected shape; other tensors are allowed. The error names
 * the first fault, both shapes, how many there are, and what was expected.
 */
export function requireTensors(file: SafetensorsFile, expected: Readonly<Record<string, readonly number[]>>): void {
  const names = Object.keys(expected);
  const missing = names.filter((name) => !file.tensors.has(name));
  const show = (shape: readonly number[]): string => `[${shape.join(", ")}]`;
  const list = listNames(names.map((name) => `${name} ${show(expected[name])}`));
  const more = (count: number): string => (count > 1 ? ` (and ${count - 1} more like it)` : "");
  if (missing.length > 0) {
    const [name] = missing;
    throw new UserError(
      `checkpoint: ${file.path}: expected tensor "${name}" of shape ${show(expected[name])}, ` +
        `got none${more(missing.length)}; ` +
        `expected are ${list}; the file has ${listNames(file.tensors.keys())}`,
    );
  }
  const shapeOf = (name: string): readonly number[] => lookUp(file.tensors, name, file.path).shape;
  const wrong = names.filter((name) => show(shapeOf(name)) !== show(expected[name]));
  if (wrong.length > 0) {
    const [name] = wrong;
    throw new UserError(
      `checkpoint: ${file.path}: expected tensor "${name}" of shape ${show(expected[name])}, ` +
        `got ${show(shapeOf(name))}${more(wrong.length)}; config.json and weights disagree; expected are ${list}`,
    );
  }
}

function listNames(names: Iterable<string>, limit = 8): string {
  const all = [...names];
  const shown = all.slice(0, limit).map((name) => oneLine(name, 80));
  return all.length === 0 ? "nothing" : shown.join(", ") + (all.length > limit ? `, ... (${all.length} in all)` : "");
}

/** How float32 tensors are stored. */
export type FloatStorage = "float32" | "float16" | "bfloat16";

/**
 * Writes tensors atomically. Order is by element size (largest first, so that all are aligned), then by name: equal
 * tensors give equal bytes. `dtype` narrows float32 tensors on the way (round to nearest even); others stay.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, HostTensor>>,
  { dtype = "float32", metadata }: { dtype?: FloatStorage; metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const entries = Object.entries(tensors).map(([name, tensor]) => {
    const count = sizeOf(tensor.shape);
    if (name === "__metadata__" || tensor.data.length !== count) {
      throw new UserError(
        `writeSafetensors: expected ${count} elements for "${name}" [${tensor.shape.join(", ")}], ` +
          `got ${tensor.data.length}; fix the shape or the name`,
      );
    }
    const narrow = tensor.dtype === "float32" && dtype !== "float32";
    const bytes = narrow ? 2 : bytesPerElement[tensor.dtype];
    const stored: StoredDType = narrow ? (dtype === "float16" ? "F16" : "BF16") : storedDType[tensor.dtype];
    return { name, tensor, bytes, stored };
  });
  entries.sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  let at = 0;
  const infos = entries.map(({ name, tensor, bytes, stored }): readonly [string, TensorInfo] => {
    const begin = at;
    at += bytes * tensor.data.length;
    return [name, { dtype: stored, shape: tensor.shape, begin, end: at }];
  });
  await writeFileAtomic(path, chunksOf(formatHeader(infos, metadata), entries));
}

function* chunksOf(
  header: Uint8Array,
  entries: readonly { tensor: HostTensor; stored: StoredDType }[],
): Generator<Uint8Array> {
  yield header;
  const elements = chunkBytes / 4;
  for (const { tensor, stored } of entries) {
    if (!isFloat32(tensor) || stored === "F32") {
      yield bytesOf(tensor);
      continue;
    }
    for (let from = 0; from < tensor.data.length; from += elements) {
      const part = tensor.data.subarray(from, from + elements);
      const halves = stored === "F16" ? float32ToFloat16(part) : float32ToBfloat16(part);
      yield new Uint8Array(halves.buffer);
    }
  }
}
