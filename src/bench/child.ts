/** Child processes for what needs a process of its own: cold starts and peak memory. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.ts";

/** Arguments of `node` for a file beside this one, named without its ending: compiled, or a source read through tsx. */
export function nodeArguments(name: string): string[] {
  const compiled = !import.meta.url.endsWith(".ts");
  const file = fileURLToPath(new URL(`./${name}.${compiled ? "js" : "ts"}`, import.meta.url));
  return compiled ? [file] : ["--import", import.meta.resolve("tsx"), file];
}

interface ChildResult {
  readonly stdout: string;
  /** From the start of the process to its first byte on stdout, and to its end. */
  readonly firstByteMs: number;
  readonly endMs: number;
}

/** Run `node` with these arguments to its end. A child that fails is an error with the last line it wrote. */
export function runNode(args: readonly string[], signal?: AbortSignal): Promise<ChildResult> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    let firstByteMs = Number.NaN;
    let stdout = "";
    let stderr = "";
    // Detached: Ctrl-C in a terminal is for this process, which ends the child through the signal
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, signal });
    child.stdout.on("data", (data) => {
      if (stdout === "") firstByteMs = performance.now() - start;
      stdout += data;
    });
    child.stderr.on("data", (data) => (stderr += data));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) return resolve({ stdout, firstByteMs, endMs: performance.now() - start });
      const last = stderr.trim().split("\n").pop();
      reject(
        new UserError(
          `bench: expected "node ${args.join(" ")}" to succeed, got exit code ${code}: ${last}; run it by hand`,
        ),
      );
    });
  });
}
