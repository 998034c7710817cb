/** A process that tests kill: runs (or resumes) a stream with a fake method in the folder given as argument. */
import { parseStreamConfig } from "../../src/runs/config.ts";
import { openRunFolder } from "../../src/runs/folder.ts";
import { runStream } from "../../src/runs/run.ts";
import { richTask, transparentMethod } from "./rich-stream.ts";

const [path, mode] = process.argv.slice(2);
const folder = await openRunFolder(path, { resume: mode === "resume" });
const config = parseStreamConfig({ model: "m", method: "fake", files: ["a.txt", "b.txt", "c.txt"], seed: 7, out: "x" });
process.stdout.write("started\n");
const deps = { task: richTask(), createMethod: async () => transparentMethod({ seed: 7, delay: 3 }), folder };
for await (const event of runStream(config, deps)) process.stdout.write(`${event.type}\n`);
await folder.close();
