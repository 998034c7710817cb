/** coldStartMs: from the start of the command's process to the first generated token on its output. */
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { exists } from "../checkpoint/files.ts";
import { runNode } from "./child.ts";
import { absent, type Measure } from "./measure.ts";
import { spread } from "./stats.ts";

/** The built command, for the sources and the build alike: running a source would time its compilation. */
const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));

export const coldStartMs: Measure = async ({ quick, model, signal }) => {
  if (!(await exists(join(model, "config.json"))))
    return absent(`expected a model folder at ${model}, got none; name one with --model`);
  // In a checkout, build what is there now; an installed package has its build
  if (await exists(join(root, "src")))
    await runNode([join(root, "node_modules/typescript/bin/tsc"), "-p", root], signal);
  if (!(await exists(command))) return absent("expected the built command dist/cli/main.js, got none; build it first");
  const args = [command, "generate", "--model", model, "--max-tokens", "1", "Once upon a time"];
  const repeats = quick ? 3 : 15;
  await runNode(args, signal); // files into the system's cache
  const first: number[] = [];
  const bare: number[] = [];
  for (let i = 0; i < repeats; i++) {
    first.push((await runNode(args, signal)).firstByteMs);
    bare.push((await runNode(["--eval", "console.log(1)"], signal)).firstByteMs);
  }
  return { value: spread(first).median, ms: spread(first), bareNodeMs: spread(bare), model: basename(model) };
};
