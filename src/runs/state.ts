/** A method's state as files: tensors in state.safetensors, everything else in state.json. */
import { join } from "node:path";
import { readJsonObject, writeFileAtomic } from "../checkpoint/files.ts";
import { openSafetensors, readAll, writeSafetensors } from "../checkpoint/safetensors.ts";
import type { MethodState } from "../methods/method.ts";

/** How runs save a method's state. */
export interface StateStore {
  /** Writes into an existing empty folder. */
  save(folder: string, state: MethodState): Promise<void>;
  load(folder: string): Promise<MethodState>;
}

export const safetensorsStore: StateStore = {
  async save(folder, { tensors, json }) {
    await writeSafetensors(join(folder, "state.safetensors"), tensors);
    await writeFileAtomic(join(folder, "state.json"), `${JSON.stringify(json)}\n`);
  },
  async load(folder) {
    const json = await readJsonObject(join(folder, "state.json"));
    const file = await openSafetensors(join(folder, "state.safetensors"));
    try {
      return { tensors: Object.fromEntries(await readAll(file, undefined, { float32: false })), json };
    } finally {
      await file.close();
    }
  },
};
