/** The file system as it answers when the disk is full: for tests of what a failed save leaves behind. */
import fsPromises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

/** While `action` runs, every file that is opened takes its first `taken` bytes and no more. */
export async function onFullDisk(taken: number, action: () => Promise<void>): Promise<void> {
  const original = fsPromises.open;
  fsPromises.open = async (...parameters) => {
    const handle = await original(...parameters);
    const write = handle.write.bind(handle);
    let calls = 0;
    handle.write = (async (bytes: Uint8Array, at: number, _length: number, position?: number) => {
      if (calls++ > 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      return write(bytes, at, taken, position);
    }) as typeof handle.write;
    return handle;
  };
  syncBuiltinESMExports();
  try {
    await action();
  } finally {
    fsPromises.open = original;
    syncBuiltinESMExports();
  }
}
