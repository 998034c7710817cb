/**
 * How far something is, on stderr: on a terminal one line that is redrawn, in a pipe a plain line now and then.
 * Drawing happens when there is news, never by a timer: computing keeps this thread busy.
 */
import { displayWidth, truncate } from "../eval/format.ts";
import { paint, wantsColour } from "./output.ts";

interface ProgressState {
  /** What is being done; a new label starts a new bar. */
  readonly label: string;
  readonly done?: number;
  readonly total?: number;
  /** Shown behind the bar, such as the loss. */
  readonly detail?: string;
  /** Over in a moment: for a terminal only. */
  readonly brief?: boolean;
}

export interface Progress {
  update(state: ProgressState): void;
  /** A line that stays. */
  line(text: string): void;
  /** Takes the bar away. */
  clear(): void;
}

interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface ProgressOptions {
  stream?: Stream;
  /** Milliseconds that only grow. */
  clock?: () => number;
  /** Seconds between two plain lines. */
  plainSeconds?: number;
}

/** Seconds as "0:07" or "1:02:07". */
export function clockTime(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const barWidth = 24;

function bar(share: number, colour: boolean): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * barWidth);
  const [done, left] = ["━".repeat(full), "━".repeat(barWidth - full)];
  return colour ? paint("cyan", done) + paint("dim", left) : `${done}${"─".repeat(barWidth - full)}`;
}

export function createProgress({
  stream = process.stderr,
  clock = () => performance.now(),
  plainSeconds = 10,
}: ProgressOptions = {}): Progress {
  const live = stream.isTTY === true && process.env.TERM !== "dumb";
  const colour = live && wantsColour(stream);
  let label: string | undefined;
  let started = { at: 0, done: 0 };
  let drawn = Number.NEGATIVE_INFINITY;
  let visible = false;

  /** Seconds to go, once there is something to judge by. */
  const remaining = (done: number, total: number, now: number): number | undefined => {
    const seconds = (now - started.at) / 1000;
    return seconds < 1.5 || done <= started.done ? undefined : (seconds / (done - started.done)) * (total - done);
  };
  const clear = (): void => {
    if (visible) stream.write("\r\u001b[2K");
    visible = false;
  };

  return {
    clear,
    line(text) {
      clear();
      stream.write(`${text}\n`);
    },
    update({ label: next, done, total, detail = "", brief = false }) {
      if (brief && !live) return;
      const now = clock();
      const fresh = next !== label;
      if (fresh) {
        label = next;
        started = { at: now, done: done ?? 0 };
      }
      if (!fresh && now - drawn < (live ? 80 : plainSeconds * 1000)) return;
      drawn = now;
      const known = done !== undefined && total !== undefined && total > 0;
      const left = known ? remaining(done, total, now) : undefined;
      const time = left === undefined ? "" : `${clockTime(left)} left`;
      if (!live) {
        const share = known ? ` ${Math.floor((100 * done) / total)} %` : "";
        const rest = [detail, time].filter((part) => part !== "").join(", ");
        stream.write(`${next}${share}${rest === "" ? "" : ` (${rest})`}\n`);
        return;
      }
      const columns = (stream.columns ?? 80) - 1;
      const shown = truncate(next, Math.max(12, Math.floor(columns / 2)));
      // Parts are dropped from the end until the line fits: a line that wraps cannot be redrawn
      const behind = [detail, time].filter((part) => part !== "");
      const plainWidth = (parts: readonly string[]): number =>
        displayWidth([shown, ...(known ? ["━".repeat(barWidth)] : []), ...parts].join("  "));
      while (behind.length > 0 && plainWidth(behind) > columns) behind.pop();
      const parts = [shown, ...(known && plainWidth([]) <= columns ? [bar(done / total, colour)] : []), ...behind];
      stream.write(`\r\u001b[2K${parts.join("  ")}`);
      visible = true;
    },
  };
}
