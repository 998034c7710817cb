/** `mneme score`: how well a model predicts texts, in nats per token and bits per byte. */
import type { Command } from "commander";
import { formatCount } from "../../eval/format.ts";
import { readTextFile } from "../../checkpoint/text.ts";
import { defaultModel } from "../../models/embedded.ts";
import { createScorer } from "../../models/score.ts";
import { openModel } from "../open-model.ts";
import { table } from "../output.ts";
import { type FileScore, fileScore } from "../score-text.ts";
import { addEngineFlags, type EngineFlags, openRuntime, type Session } from "../session.ts";

interface Flags extends EngineFlags {
  readonly model: string;
  readonly adapter?: string;
}

export function define(command: Command): void {
  command
    .argument("<file...>", "UTF-8 text files")
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--adapter <folder>", "adapter to add to the model: of `mneme learn`, or LoRA of PEFT");
  addEngineFlags(command);
}

const row = (name: string, { natsPerToken, bitsPerByte, tokens, bytes }: FileScore): string[] => {
  return [name, natsPerToken.toFixed(4), bitsPerByte.toFixed(4), formatCount(tokens), formatCount(bytes)];
};

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { output, progress, signal } = session;
  const [paths] = command.processedArgs as [string[]];
  const texts = await Promise.all(paths.map(readTextFile));
  const model = await openModel(flags.model, session, { adapter: flags.adapter });
  const runtime = openRuntime(flags);
  try {
    const scorer = await createScorer(runtime, model, model.tokenizer);
    const scores: FileScore[] = [];
    for (const { path, text } of texts) {
      const onProgress = (done: number, total: number): void => {
        if (done < total) progress.update({ label: `scoring ${path}`, done, total });
      };
      scores.push(fileScore(await scorer.scoreText("", text, { onProgress, signal })));
    }
    progress.clear();
    const total = fileScore(...scores);
    const rows = [
      ["file", "nats/token", "bits/byte", "tokens", "bytes"],
      ...scores.map((score, i) => row(paths[i], score)),
      ...(scores.length > 1 ? [row("all", total)] : []),
    ];
    const [head, ...lines] = table(rows, { right: [1, 2, 3, 4] });
    output.print(output.style("bold", head));
    for (const line of lines) output.print(line);
    return {
      command: "score",
      model: flags.model,
      files: scores.map((score, i) => ({ file: paths[i], ...score })),
      total,
    };
  } finally {
    await runtime.dispose();
  }
}
