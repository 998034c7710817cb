/**
 * The state of a memory saved now and then, so that opening it replays little. A snapshot is a file beside the ledger
 * and a row in it: the event it stands at, that event's link, and a checksum. It is a convenience: one that is missing,
 * damaged or of another history is passed over, and the state is computed from the ledger.
 */
import { readdirSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { sha256File } from "../checkpoint/files.ts";
import { openSafetensors, readAll, writeSafetensors } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import type { MemoryState } from "../memory/packed.ts";
import type { HostTensor } from "../tensor/dtype.ts";
import type { Ledger } from "./ledger.ts";

export interface Snapshot {
  /** The event after which the memory was in this state, and its link. */
  readonly seq: number;
  readonly chain: Uint8Array;
  readonly state: MemoryState;
  /** The facts in it and the memory of each. */
  readonly held: ReadonlyMap<number, number>;
}

const pattern = /^snapshot-(\d+)\.safetensors$/;
/** Where the latest is damaged, the one before serves. */
const kept = 2;
/** Milliseconds after which a temporary file can be nothing but the left-over of a crash. */
const debrisAge = 3_600_000;

/** The latest event that a snapshot in the folder stands at; 0 for none. */
export const latestSnapshotFile = (folder: string): number =>
  Math.max(0, ...readdirSync(folder).map((name) => Number(pattern.exec(name)?.[1] ?? 0)));

/** Saves a snapshot and removes those that it makes superfluous. */
export async function saveSnapshot({ folder, rows, clock, db }: Ledger, snapshot: Snapshot): Promise<void> {
  const { seq, chain, state, held } = snapshot;
  const file = `snapshot-${seq}.safetensors`;
  const path = join(folder, file);
  const tensors: Record<string, HostTensor> = {
    "ledger.held": { dtype: "int32", shape: [held.size, 2], data: Int32Array.from([...held].flat()) },
  };
  for (const [name, tensor] of Object.entries(state.tensors)) tensors[`memory.${name}`] = tensor;
  // Never a snapshot on the disk of events that are not: after this the log is
  db.exec("PRAGMA wal_checkpoint(PASSIVE)");
  await writeSafetensors(path, tensors, { metadata: { json: JSON.stringify(state.json) } });
  rows.putSnapshot({ seq, chain, file, sha256: await sha256File(path), bytes: statSync(path).size, time: clock() });
  const wanted = new Set<string>();
  for (const row of rows.snapshots()) {
    if (wanted.size < kept) wanted.add(row.file);
    else rows.dropSnapshot(row.seq);
  }
  for (const name of readdirSync(folder)) {
    const number = Number(pattern.exec(name)?.[1] ?? seq);
    const old = number < seq && !wanted.has(name);
    const debris = name.startsWith(".snapshot-") && name.endsWith(".tmp");
    const info = debris ? statSync(join(folder, name), { throwIfNoEntry: false }) : undefined;
    if (old || (info && Date.now() - info.mtimeMs > debrisAge)) await rm(join(folder, name), { force: true });
  }
}

/** The latest snapshot that is whole and of this history, and why others were passed over. */
export async function loadSnapshot(ledger: Ledger): Promise<{ snapshot?: Snapshot; passedOver: readonly string[] }> {
  const { folder, rows } = ledger;
  const passedOver: string[] = [];
  for (const { seq, chain, file, sha256 } of rows.snapshots()) {
    const path = join(folder, file);
    try {
      const there = rows.chainAt(seq);
      if (!there || Buffer.compare(there, chain) !== 0) throw new UserError(`${file} is of another history`);
      if ((await sha256File(path)) !== sha256) throw new UserError(`${file} is damaged: wrong checksum`);
      return { snapshot: { seq, chain, ...(await readSnapshot(path)) }, passedOver };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      passedOver.push(error.message);
    }
  }
  return { passedOver };
}

async function readSnapshot(path: string): Promise<Pick<Snapshot, "state" | "held">> {
  const file = await openSafetensors(path);
  try {
    const all = await readAll(file, undefined, { float32: false });
    const tensors: Record<string, HostTensor> = {};
    for (const [name, tensor] of all) if (name.startsWith("memory.")) tensors[name.slice("memory.".length)] = tensor;
    const pairs = (all.get("ledger.held")?.data ?? []) as Int32Array;
    const held = new Map<number, number>();
    for (let i = 0; i < pairs.length; i += 2) held.set(pairs[i], pairs[i + 1]);
    return { state: { tensors, json: JSON.parse(file.metadata.json) as MemoryState["json"] }, held };
  } finally {
    await file.close();
  }
}
