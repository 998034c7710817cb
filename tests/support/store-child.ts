/** A process that works on a store beside others: opens it, adds a run of its own and many events, closes it. */
import type { RunEvent } from "../../src/runs/events.ts";
import { openStore } from "../../src/runs/store.ts";

const [path, name, count] = process.argv.slice(2);
const store = openStore(path);
const run = { name, folder: `/nowhere/${name}`, task: "t", method: "m", model: "b", seeds: [0] };
const id = store.begin({ ...run, config: {}, versions: {}, machine: {}, started: "2026-01-01T00:00:00.000Z" });
for (let line = 0; line < Number(count); line++) {
  const event: RunEvent = { type: "row", row: line, scores: [line], time: line };
  store.addEvents(id, 0, line, [event]);
}
store.setStatus(id, "finished", "2026-01-02T00:00:00.000Z");
store.close();
