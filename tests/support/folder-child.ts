/** A process that tests kill: opens a run folder and writes to it as fast as it can, or only holds its lock. */
import { openRunFolder } from "../../src/runs/folder.ts";

const [path, resume, mode] = process.argv.slice(2);
try {
  const folder = await openRunFolder(path, { resume: resume === "resume" });
  process.stdout.write("open\n");
  if (mode === "hold") await new Promise((resolve) => setTimeout(resolve, 60_000));
  await folder.writeJson("config.json", { written: 0 });
  for (let step = 0; ; step++) {
    await folder.append({ type: "failed", message: "x".repeat((step * 7919) % 5000), time: step });
    await folder.writeJson("progress.json", { step, filler: "y".repeat((step * 104729) % 20_000) });
    if (step % 5 === 0)
      await folder.writeFolder("state-1", (at) =>
        folder.writeJson(`${at.slice(folder.path.length + 1)}/s.json`, { step }),
      );
  }
} catch (error) {
  process.stdout.write(`error ${error instanceof Error ? error.message : String(error)}\n`);
}
