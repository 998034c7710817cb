/**
 * What a bank's folder says about itself, and its codebooks. bank.json has the settings, a line for each codebook
 * version and how long the log was when the bank was last closed. A version's numbers lie in codebook-<version>.safetensors
 * and are never changed: a new codebook is a new version, and entries go on to name the one they were made with.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isFile, readChecked, sha256File, writeFileAtomic } from "../checkpoint/files.ts";
import { openSafetensors, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import type { Codebook } from "./codebook.ts";

const whole = z.number().int().nonnegative();

const codebookSchema = z.strictObject({
  version: z.number().int().positive(),
  kind: z.enum(["token", "residual", "slot", "full"]),
  tokens: z.number().int().positive(),
  width: z.number().int().positive(),
  codes: z.number().int().positive(),
  books: whole,
  /** Bits of a number in the file. */
  bits: z.union([z.literal(16), z.literal(32)]),
  /** Of the file; "" where there is none. */
  sha256: z.string(),
});

const manifestSchema = z.strictObject({
  format: z.literal(1),
  /** What encoded the documents: entries of another module mean nothing to this one. */
  module: z.string(),
  keys: z.strictObject({ width: whole, bits: z.literal([4, 8, 16, 32]) }),
  /** Numbers are not used twice, so that no entry can come to mean another codebook. */
  nextVersion: z.number().int().positive(),
  codebooks: z.array(codebookSchema),
  /** The log when the bank was last closed: from then on it may grow, but not shrink. */
  sealed: z.strictObject({ generation: whole, bytes: whole }),
});

export type CodebookLine = z.infer<typeof codebookSchema>;
export type Manifest = z.infer<typeof manifestSchema>;

const lockName = "bank.lock";
export const lockPath = (folder: string): string => join(folder, lockName);
const manifestPath = (folder: string): string => join(folder, "bank.json");
export const logPath = (folder: string): string => join(folder, "entries.log");
const codebookPath = (folder: string, version: number): string => join(folder, `codebook-${version}.safetensors`);

/** The manifest of a folder; undefined where there is none. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = manifestPath(folder);
  if (!(await isFile(path))) return undefined;
  const wayOut = "put the file back, or use a newer mneme";
  return readChecked(path, manifestSchema, { caller: "openBank", what: "the settings of a bank", wayOut });
}

/** Settings that were kept somewhere else; undefined where they are none. */
export const manifestOf = (json: unknown): Manifest | undefined => manifestSchema.safeParse(json).data;

const textOf = (manifest: Manifest): string => `${JSON.stringify(manifest)}\n`;

export const writeManifest = (folder: string, manifest: Manifest): Promise<void> =>
  writeFileAtomic(manifestPath(folder), textOf(manifest));

export const manifestBytes = (manifest: Manifest): number => Buffer.byteLength(textOf(manifest));

/** Writes a codebook as a version, and gives its line. */
export async function saveCodebook(
  folder: string,
  version: number,
  codebook: Codebook,
  bits: 16 | 32,
): Promise<CodebookLine> {
  const { kind, tokens, width, codes, books, data } = codebook;
  const line = { version, kind, tokens, width, codes, books, bits, sha256: "" };
  if (data.length === 0) return line;
  const path = codebookPath(folder, version);
  const tensor = { dtype: "float32", shape: [books, codes, width], data } as const;
  await writeSafetensors(path, { codebook: tensor }, { dtype: bits === 16 ? "float16" : "float32" });
  return { ...line, sha256: await sha256File(path) };
}

/** The codebook of a line, or an error where its file is not the one that was saved. */
export async function loadCodebook(folder: string, line: CodebookLine): Promise<Codebook> {
  const { version, kind, tokens, width, codes, books, sha256 } = line;
  const shape = { kind, tokens, width, codes, books };
  if (sha256 === "") return { ...shape, data: new Float32Array() };
  const path = codebookPath(folder, version);
  const found = await sha256File(path);
  if (found !== sha256) {
    throw new UserError(
      `openBank: expected codebook ${version} with SHA-256 ${sha256.slice(0, 12)} in ${path}, got ` +
        `${found.slice(0, 12)}; put the bank's own file back`,
    );
  }
  const file = await openSafetensors(path);
  try {
    return { ...shape, data: (await file.readFloat32("codebook")).data };
  } finally {
    await file.close();
  }
}

/** Bytes of a version's file. */
export const codebookBytes = async (folder: string, { version, sha256 }: CodebookLine): Promise<number> =>
  sha256 === "" ? 0 : (await stat(codebookPath(folder, version))).size;

export const removeCodebook = (folder: string, { version }: CodebookLine): Promise<void> =>
  rm(codebookPath(folder, version), { force: true });

/** Takes away what a killed process left half written, and gives the names of the other files. */
export async function sweep(folder: string): Promise<string[]> {
  const kept: string[] = [];
  for (const name of await readdir(folder)) {
    if (/^\.(bank\.json|entries\.log|codebook-\d+\.safetensors)\..*\.tmp$/.test(name)) await rm(join(folder, name));
    else if (!name.startsWith(lockName)) kept.push(name);
  }
  return kept;
}
