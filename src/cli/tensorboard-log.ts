/** Events of an evaluation as TensorBoard files while it runs: a folder per seed below the one that the user names. */
import { join } from "node:path";
import type { RunEvent } from "../runs/events.ts";
import { seedFolder } from "../runs/evaluation.ts";
import { runName } from "../runs/run-name.ts";
import type { RunStore } from "../runs/store.ts";
import { openTensorboard, runScalars, type TensorboardWriter } from "../runs/tensorboard.ts";

export interface TensorboardLog {
  write(seed: number, event: RunEvent): Promise<void>;
  close(): Promise<void>;
}

/** Without a `root` it does nothing. */
export function tensorboardLog(root: string | undefined, store: RunStore, folder: string): TensorboardLog {
  const open = new Map<number, { writer: TensorboardWriter; scalars: ReturnType<typeof runScalars> }>();
  /** A resumed run counts its steps on from those of its earlier sittings, which the store has. */
  const begin = async (seed: number, path: string) => {
    const scalars = runScalars();
    const id = store.runIn(folder)?.id;
    const known = id === undefined ? [] : store.events(id, seed);
    const sitting = known.findLastIndex(({ type }) => type === "run-start");
    for (const event of known.slice(0, Math.max(0, sitting))) scalars(event);
    const opened = { writer: await openTensorboard(path), scalars };
    open.set(seed, opened);
    return opened;
  };
  return {
    async write(seed, event) {
      if (root === undefined) return;
      const path = join(root, runName(seedFolder(folder, seed), store.path));
      const { writer, scalars } = open.get(seed) ?? (await begin(seed, path));
      await writer.write(scalars(event));
    },
    async close() {
      for (const { writer } of open.values()) await writer.close();
    },
  };
}
