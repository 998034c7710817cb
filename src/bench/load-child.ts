/** The child process of load.ts: loads the checkpoint it is given, or nothing, and tells its time and its size. */
import { readFileSync } from "node:fs";
import { loadCheckpoint } from "../models/load.ts";

/** Largest resident size of this process so far, in bytes. Linux only: elsewhere undefined. */
function peakBytes(): number | undefined {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    return found ? Number(found[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
}

const [folder] = process.argv.slice(2);
const start = performance.now();
const loaded = folder ? await loadCheckpoint(folder) : undefined;
const ms = performance.now() - start;
const parameters = Object.values(loaded?.weights ?? {}).reduce((sum, { data }) => sum + data.length, 0);
console.log(JSON.stringify({ ms, peakBytes: peakBytes(), parameters }));
