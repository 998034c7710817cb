/** The parts of the command line that need no process: columns, progress lines, flags from schemas, signals. */
import { spawn } from "node:child_process";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { loader, moduleUrl } from "../../tests/support/script.ts";
import { tasks } from "../eval/tasks/index.ts";
import { methods } from "../methods/index.ts";
import { planSchema } from "../runs/evaluation.ts";
import { addMethodFlags, addTaskFlags, methodOptions, propertiesOf, taskOptions } from "./method-flags.ts";
import { isForDevelopment } from "./plan-flags.ts";
import { createOutput, shellWord, table, wantsColour, wrap } from "./output.ts";
import { clockTime, createProgress } from "./progress.ts";
import { commandLine } from "./session.ts";

test("tasks that read files have no streams for development, the others do", () => {
  const plan = (task: string, taskOptions: object, stream?: object) =>
    isForDevelopment(
      planSchema.parse({ model: "m", task, taskOptions, method: "none", methodOptions: {}, seeds: [0, 1], stream }),
    );
  expect(plan("world-topics", {}, { option: "world", base: 1 })).toBe(true);
  expect(plan("world-topics", { world: 7 })).toBe(true);
  expect(plan("world-topics", { world: 150 })).toBe(false);
  expect(plan("tokens", {}, { option: "dataSeed", base: 1_000_000 })).toBe(true);
  expect(plan("squad", { data: "f" }, { option: "dataSeed", base: 0 })).toBe(false);
  expect(plan("zsre", { data: "f" })).toBe(false);
});

test("tables align, also wide characters; text wraps; words are quoted for the shell", () => {
  expect(
    table(
      [
        ["a", "n"],
        ["日本", "1,234"],
        ["b", "7"],
      ],
      { right: [1] },
    ),
  ).toEqual(["a         n", "日本  1,234", "b         7"]);
  expect(wrap("one two three four", 9)).toEqual(["one two", "three", "four"]);
  expect(["a/b-c.txt", "it's here"].map(shellWord)).toEqual(["a/b-c.txt", "'it'\\''s here'"]);
  expect([7.4, 127, 3727].map(clockTime)).toEqual(["0:07", "2:07", "1:02:07"]);
});

test("a command line to go on with is one that can be typed where this one was", () => {
  const from = (entry: string, env: Record<string, string>) => commandLine(["show", "a b"], { entry, env });
  expect(from("/usr/bin/mneme", {})).toBe("mneme show 'a b'");
  expect(from("bin/mneme.js", { npm_execpath: "/usr/lib/npm-cli.js" })).toBe("npx mneme show 'a b'");
  expect(from("src/cli/main.ts", {})).toBe("npx tsx src/cli/main.ts show 'a b'");
});

describe("output", () => {
  const written = (json: boolean): string => {
    let text = "";
    const output = createOutput({
      json,
      stream: { isTTY: true, columns: 100, write: (piece: string) => (text += piece) },
    });
    output.print("for people");
    output.result({ n: 1 });
    return text;
  };
  test("is text or JSON, never both", () => {
    expect(written(false)).toBe("for people\n");
    expect(written(true)).toBe('{"n":1}\n');
  });
  test("takes colours on terminals only, unless told", () => {
    const [terminal, pipe] = [{ isTTY: true, write: () => true }, { write: () => true }];
    expect([wantsColour(terminal, {}), wantsColour(pipe, {}), wantsColour(terminal, { NO_COLOR: "1" })]).toEqual([
      true,
      false,
      false,
    ]);
    expect([wantsColour(terminal, { TERM: "dumb" }), wantsColour(pipe, { FORCE_COLOR: "1" })]).toEqual([false, true]);
  });
});

describe("progress", () => {
  const show = (isTTY: boolean) => {
    let now = 0;
    const pieces: string[] = [];
    const progress = createProgress({
      stream: { isTTY, columns: 60, write: (piece: string) => pieces.push(piece) },
      clock: () => now,
    });
    for (let done = 0; done <= 100; done++, now += 500)
      progress.update({ label: "learning", done, total: 100, detail: "loss 1.00" });
    progress.line("learned");
    return pieces;
  };
  test("is a plain line now and then in a pipe", () => {
    const lines = show(false);
    expect(lines).toEqual([
      "learning 0 % (loss 1.00)\n",
      "learning 20 % (loss 1.00, 0:40 left)\n",
      "learning 40 % (loss 1.00, 0:30 left)\n",
      "learning 60 % (loss 1.00, 0:20 left)\n",
      "learning 80 % (loss 1.00, 0:10 left)\n",
      "learning 100 % (loss 1.00, 0:00 left)\n",
      "learned\n",
    ]);
  });
  test("is one line that is redrawn on a terminal, never wider than it", () => {
    const pieces = show(true);
    // eslint-disable-next-line no-control-regex
    const plain = pieces.map((piece) => piece.replaceAll(/\u001b\[[\d;]*[A-Za-z]|\r/g, ""));
    expect(pieces.slice(0, 101).every((piece) => piece.startsWith("\r\u001b[2K") && !piece.includes("\n"))).toBe(true);
    expect(Math.max(...plain.map((line) => line.length))).toBeLessThan(60);
    expect(plain[50]).toMatch(/^learning {2}━{24} {2}loss 1\.00 {2}0:25 left$/);
    expect(pieces.slice(-2)).toEqual(["\r\u001b[2K", "learned\n"]);
  });
});

describe("flags of methods", () => {
  const parse = (...args: string[]) => {
    const command = new Command("learn").exitOverride().configureOutput({ writeErr: () => undefined });
    addMethodFlags(command, { several: true });
    command.parse(args, { from: "user" });
    return (chosen: string[]) =>
      Object.fromEntries(methodOptions(command, chosen).map(({ definition, options }) => [definition.name, options]));
  };
  test("every option of every method has one, with its help and default", () => {
    const command = new Command("learn");
    addMethodFlags(command, { several: false });
    command.configureOutput({ getOutHelpWidth: () => 4000 });
    const help = command.helpInformation();
    for (const { name, options } of Object.values(methods)) {
      for (const [key, property] of Object.entries(propertiesOf(options))) {
        const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        expect(help, `${name} ${key}`).toMatch(new RegExp(`--(no-)?${flag}[ \n]`));
        expect(property.description, `${name} ${key}`).toBeTruthy();
        expect(help).toContain(property.description as string);
      }
    }
    expect(help).toContain("peak learning rate (finetune: 0.001, lora: 0.005");
    expect(help).toContain("(lora: 8)");
    expect(help).toMatch(/--epochs <n> .*one observation \(default: 4\)\n/);
    expect(help).toMatch(/--activation <name> .*: gelu, gelu_python, .*tanh \(adapter: gelu\)\n/);
    expect(help).toMatch(/--schedule <constant\|cosine\|linear> +course of the learning rate \(default: cosine\)\n/);
  });
  test("tasks have theirs beside those of methods and of the command, which keep their names", () => {
    const command = new Command("eval").exitOverride().configureOutput({ getOutHelpWidth: () => 4000 });
    command.option("--topics <n>", "of the command");
    addMethodFlags(command, { several: false });
    addTaskFlags(command);
    const help = command.helpInformation();
    for (const [key, property] of Object.values(tasks).flatMap(({ options }) =>
      Object.entries(propertiesOf(options)),
    )) {
      const taken = key === "topics" || Object.values(methods).some(({ options }) => key in options.shape);
      if (!taken) expect(help, key).toContain(property.description as string);
    }
    command.parse(["--pairs", "7", "--topics", "9", "--tokens.data-seed", "3", "--rank", "2"], { from: "user" });
    const { options } = taskOptions(command, "tokens");
    expect(options).toEqual({ topics: 5, pairs: 7, dataSeed: 3 });
    // What another flag hides has its own line; what is on is switched off
    expect(help).toMatch(/--world-drift\.share <n> +share of the changeable facts.*\(default: 0\.2\)\n/);
    expect(help).toMatch(/--tokens\.topics <n> +topics, .*\(default: 5\)\n/);
    expect(help).not.toContain("--tokens.pairs");
    expect(help).toMatch(/--no-answered +do not add documents/);
    expect(methodOptions(command, ["lora"])[0].options).toMatchObject({ rank: 2 });
    expect(() => taskOptions(command, "squad")).toThrow(/got --pairs of tokens; leave it out or add --task tokens/);
    expect(() => taskOptions(new Command("eval"), "squad")).toThrow(/expected --data for the task squad, got none/);
  });
  test("defaults are the schema's, a flag is for every method that has it, --METHOD.FLAG for one", () => {
    const all = parse(
      "--epochs",
      "2",
      "--rank",
      "3",
      "--learning-rate",
      "0.5",
      "--lora.learning-rate",
      "0.25",
      "--merge",
      "--targets",
      "q_proj,v_proj",
    )(["finetune", "lora"]);
    expect(all.finetune).toMatchObject({ epochs: 2, learningRate: 0.5, optimizer: "adamw" });
    expect(all.finetune).not.toHaveProperty("rank");
    expect(all.lora).toMatchObject({
      epochs: 2,
      rank: 3,
      learningRate: 0.25,
      merge: true,
      targets: ["q_proj", "v_proj"],
      alpha: 16,
    });
  });
  test("a flag that no chosen method has is refused", () => {
    expect(() => parse("--rank", "3")(["finetune"])).toThrow("got --rank of lora");
    expect(() => parse("--epochs", "x")).toThrow("Expected a number");
    expect(() => parse("--batch-size", "2.5")).toThrow("Expected a whole number");
    expect(() => parse("--optimizer", "sdg")).toThrow("did you mean sgd?");
  });
});

test("the first Ctrl-C asks, the second ends at once", async () => {
  const source = `
    import { listenForInterrupts } from ${JSON.stringify(moduleUrl("src/cli/signals.ts"))};
    const { signal } = listenForInterrupts(() => console.log("first", signal.aborted));
    setInterval(() => undefined, 1000);
    console.log("ready");
  `;
  const child = spawn(process.execPath, [...loader(), "--input-type=module", "--eval", source]);
  let stdout = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString();
    if (stdout === "ready\n") child.kill("SIGINT");
    if (stdout.includes("first")) setTimeout(() => child.kill("SIGINT"), 300);
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(stdout).toBe("ready\nfirst true\n");
  expect(code).toBe(130);
});
