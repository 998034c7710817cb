/**
 * One trial of a sweep as a child process: `mneme eval --resume FOLDER --json`. Its stdin is a pipe from us, so that it
 * stops when we are killed. What it says at its end becomes the trial's end.
 */
import { spawn } from "node:child_process";
import type { TrialEnd } from "../runs/sweep.ts";
import { exitInterrupted } from "./signals.ts";

/** How much of what a child prints is kept. */
const mostKept = 1 << 16;

function lastJson(text: string): Readonly<Record<string, unknown>> | undefined {
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Runs `mneme eval --resume folder ...more` to its end. Aborting stops it in a state that can be resumed. */
export function runTrialProcess(folder: string, more: readonly string[], signal: AbortSignal): Promise<TrialEnd> {
  const [program] = process.argv.slice(1);
  const args = ["eval", "--resume", folder, "--json", "--stop-with-stdin", ...more];
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  let [out, log] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (out += data.toString()));
  child.stderr.on("data", (data: Buffer) => (log = (log + data.toString()).slice(-mostKept)));
  child.stdin.on("error", () => undefined); // it may end without reading
  const stop = (): void => void child.kill("SIGTERM");
  return new Promise((resolve) => {
    const end = (value: TrialEnd): void => {
      signal.removeEventListener("abort", stop);
      resolve(value);
    };
    child.on("error", (error) => end({ type: "failed", error: error.message }));
    child.on("close", (code, killedBy) => {
      const said = lastJson(out);
      if (code === 0 && said) return end({ type: "finished", summary: said });
      if (code === exitInterrupted || signal.aborted) return end({ type: "interrupted" });
      const last = log
        .trimEnd()
        .split("\n")
        .at(-1)
        ?.replace(/^mneme: /, "");
      const how = killedBy === null ? `exit code ${code}` : `killed by ${killedBy}`;
      end({ type: "failed", error: typeof said?.error === "string" ? said.error : `${how}${last ? `: ${last}` : ""}` });
    });
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
  });
}
