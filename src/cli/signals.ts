/**
 * Ctrl-C. The first one aborts a signal, on which commands stop at their next step and save; the second one ends the
 * process at once. A reader that closes our stdout (`| head`) aborts as well, silently.
 */

/** Thrown by a command that stopped because it was asked to. */
export class Interrupted extends Error {
  override name = "Interrupted";
  /** The command line that goes on from here; undefined where there is nothing to go on with. */
  readonly resume: string | undefined;

  constructor(resume?: string) {
    super("interrupted");
    this.resume = resume;
  }
}

/** Exit codes that shells give to SIGINT and SIGPIPE. */
export const exitInterrupted = 130;
export const exitPipe = 141;

export interface Interrupts {
  readonly signal: AbortSignal;
  /** Has the reader of stdout gone? */
  readonly pipeClosed: boolean;
  dispose(): void;
}

/** Signals this close to the first are the same key press, sent to a whole process group and relayed once more. */
const sameKeyPress = 150;

export function listenForInterrupts(onFirst: () => void): Interrupts {
  const controller = new AbortController();
  let first: number | undefined;
  let pipeClosed = false;
  const interrupt = (): void => {
    const now = performance.now();
    if (first === undefined) {
      first = now;
      controller.abort();
      onFirst();
    } else if (now - first > sameKeyPress) {
      process.exit(exitInterrupted);
    }
  };
  const closed = (error: NodeJS.ErrnoException): void => {
    if (error.code !== "EPIPE") throw error;
    pipeClosed = true;
    controller.abort();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  process.stdout.on("error", closed);
  process.stderr.on("error", closed);
  return {
    signal: controller.signal,
    get pipeClosed() {
      return pipeClosed;
    },
    dispose() {
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    },
  };
}
