/**
 * The other engine of a comparison: a child process that trains the same model and answers one line of JSON per line
 * of request. It stays alive over a whole run, so that its steps can alternate with ours.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.ts";

/** What a peer tells of itself when it is ready, as it says it. */
type PeerInfo = Readonly<Record<string, unknown>>;

interface PeerTiming {
  readonly threads: number;
  readonly medianMs: number;
  readonly minMs: number;
  readonly steps: number;
  /** How the peer ran, in its own words. */
  readonly variant?: string;
}

export interface Peer {
  readonly info: PeerInfo;
  /** Train `steps` steps with this many threads. */
  measure(threads: number, steps: number): Promise<PeerTiming>;
  close(): Promise<void>;
}

const script = fileURLToPath(new URL("../../bench/peers/torch_gpt.py", import.meta.url));

/** The PyTorch peer by every Python that may have it: a distribution installs it for its own Python only. */
const pythons = ["/usr/bin/python3", "python3"];

/** How to start the peer: as PyTorch is installed, or with what an expert can force. */
export const torchCommands = ({ tuned }: { tuned: boolean }): readonly (readonly string[])[] =>
  pythons.map((python) => [python, script, ...(tuned ? ["--tuned"] : [])]);

/** Start the first of the commands that becomes ready; undefined when none does. */
export async function startPeer(commands: readonly (readonly string[])[]): Promise<Peer | undefined> {
  for (const command of commands) {
    const peer = await start(command);
    if (peer) return peer;
  }
  return undefined;
}

/** One line of a peer as an object; undefined when it is none. */
function parseLine(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** A reply to a request for `steps` steps with `threads` threads. */
export function parseTiming(line: string, threads: number, steps: number): PeerTiming {
  const reply = parseLine(line) ?? {};
  const { medianMs, minMs, variant } = reply;
  const positive = (x: unknown): x is number => typeof x === "number" && Number.isFinite(x) && x > 0;
  if (reply.threads !== threads || reply.steps !== steps || !positive(medianMs) || !positive(minMs)) {
    throw new UserError(
      `bench: expected the peer's timing of ${steps} steps with ${threads} threads, got ${line.slice(0, 120)}; ` +
        "run bench/peers/torch_gpt.py by hand to see what is wrong",
    );
  }
  return { threads, medianMs, minMs, steps, ...(typeof variant === "string" ? { variant } : {}) };
}

async function start([program, ...args]: readonly string[]): Promise<Peer | undefined> {
  // Detached: Ctrl-C in a terminal is for this process, which then ends the peer
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"], detached: true });
  const ended = new Promise<void>((resolve) => {
    child.on("error", () => resolve()); // no such program
    child.on("close", () => resolve());
  });
  child.stdin.on("error", () => {}); // it ended before it read: its missing reply says so
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string | undefined> => {
    const next = await Promise.race([lines.next(), ended]);
    return next?.done === false ? next.value : undefined;
  };
  const info = parseLine((await nextLine()) ?? "");
  if (info?.ready !== true) {
    child.kill();
    await ended;
    return undefined;
  }
  return {
    info,
    async measure(threads, steps) {
      child.stdin.write(`${JSON.stringify({ threads, steps })}\n`);
      return parseTiming((await nextLine()) ?? "the end of its output", threads, steps);
    },
    async close() {
      child.kill();
      await ended;
    },
  };
}
