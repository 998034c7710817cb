/** Where a run took place: stored with every result, because a number without its machine cannot be compared. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { availableParallelism, cpus, release, totalmem } from "node:os";

export type MachineInfo = Readonly<Record<"cpu" | "cores" | "memoryGB" | "platform" | "system", string | number>>;

/** Processor, usable cores, memory (GB, 10^9 bytes) and system. */
export function machineInfo(): MachineInfo {
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    cores: availableParallelism(),
    memoryGB: Math.round(totalmem() / 1e8) / 10,
    platform: `${process.platform} ${process.arch}`,
    system: release(),
  };
}

/** Bytes that this process holds now, and the most it ever held. */
export interface MemoryUse {
  readonly now: number;
  readonly peak: number;
}

export const memoryUse = (): MemoryUse => ({
  now: process.memoryUsage.rss(),
  peak: process.resourceUsage().maxRSS * 1024,
});

/** The version in a package.json, or "absent": a missing optional part is no reason to fail. */
function packageVersion(read: () => string): string {
  try {
    const { version } = JSON.parse(read()) as { version?: unknown };
    return typeof version === "string" ? version : "unknown";
  } catch {
    return "absent";
  }
}

/** Versions of this package, of Node.js and of the parts that compute. */
export function versionInfo(): Readonly<Record<string, string>> {
  const require = createRequire(import.meta.url);
  // Not every package exports its package.json, so look where resolution would look
  const dependency = (name: string) =>
    packageVersion(() => {
      const folders = require.resolve.paths(name) ?? [];
      const found = folders.map((folder) => join(folder, name, "package.json")).find((path) => existsSync(path));
      return readFileSync(found ?? "", "utf8");
    });
  return {
    // Two folders up both from src/runs and from the built dist/runs.
    mneme: packageVersion(() => readFileSync(new URL("../../package.json", import.meta.url), "utf8")),
    node: process.version,
    "onnxruntime-node": dependency("onnxruntime-node"),
    "@huggingface/tokenizers": dependency("@huggingface/tokenizers"),
  };
}
