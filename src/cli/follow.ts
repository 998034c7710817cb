/** Events of a run as a person follows them: a bar for what is going on, a line for what is done. */
import { formatCount, formatSeconds } from "../eval/format.ts";
import type { RunEvent } from "../runs/events.ts";
import type { Session } from "./session.ts";

/** Returns a function that shows events as they come; `who` is whose they are, such as the method's name. */
export function follow({ progress, output }: Session): (who: string, event: RunEvent) => void {
  let topics: readonly string[] = [];
  const when = (row: number): string => (row < 0 ? "before learning" : `after ${topics[row]}`);
  return (who, event) => {
    if (event.type === "run-start") {
      topics = event.topics;
      if (event.resumed) progress.line(`${who}: going on after ${event.learned} of ${topics.length} topics`);
    } else if (event.type === "method" && event.event.type === "step") {
      const { step, steps, loss, tokensPerSecond } = event.event;
      const detail = `loss ${loss.toFixed(2)}, ${formatCount(Math.round(tokensPerSecond))} tokens/s`;
      const place = `${event.topic + 1}/${topics.length}`;
      progress.update({ label: `${who} ${place} ${topics[event.topic]}`, done: step, total: steps, detail });
    } else if (event.type === "method" && event.event.type === "note") {
      progress.line(`${who}: ${event.event.message}`);
    } else if (event.type === "topic-learned") {
      const { steps, seconds, finalLoss, stopped } = event.receipt;
      const why = stopped === "done" ? "" : `, ${stopped}`;
      const work = steps === 0 ? "" : ` (${steps} steps, loss ${finalLoss.toFixed(2)}${why})`;
      const line = `${who}: learned ${event.name} in ${formatSeconds(seconds)}${work}`;
      progress.line(output.terminal ? output.style("dim", line) : line);
    } else if (event.type === "cell") {
      const [done, total] = [event.column + 1, topics.length];
      progress.update({ label: `${who}: scoring ${when(event.row)}`, done, total, brief: true });
    } else if (event.type === "probe") {
      progress.update({ label: `${who}: ${event.name} ${when(event.row)}`, brief: true });
    } else {
      progress.clear();
    }
  };
}
