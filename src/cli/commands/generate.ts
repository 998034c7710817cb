/** `mneme generate`: continues a text, streaming it as it comes. */
import type { Command } from "commander";
import { UserError } from "../../errors.ts";
import { formatCount } from "../../eval/format.ts";
import { createDecoder, type Decoder } from "../../models/decoder.ts";
import { type Finish, generate, promptIds } from "../../models/generate.ts";
import type { LoadedModel } from "../../models/load.ts";
import { defaultModel } from "../../models/embedded.ts";
import { openModel } from "../open-model.ts";
import { addEngineFlags, type EngineFlags, numberFlag, openRuntime, type Session } from "../session.ts";
import { Interrupted } from "../signals.ts";

interface Flags extends EngineFlags {
  readonly model: string;
  readonly adapter?: string;
  readonly chat?: boolean;
  readonly maxTokens: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly stop: string[];
  readonly beams?: number;
  readonly groups?: number;
  readonly diversityPenalty?: number;
  readonly lengthPenalty?: number;
}

const count = numberFlag({ min: 1, integer: true });

export function define(command: Command): void {
  command
    .argument("<prompt>", "the text to continue; - reads it from stdin")
    .option("--model <name>", "embedded name, folder or hub id", defaultModel)
    .option("--adapter <folder>", "adapter to add to the model: of `mneme learn`, or LoRA of PEFT")
    .option("--chat", "put the prompt into the model's chat template")
    .option("--max-tokens <n>", "most tokens to generate", numberFlag({ min: 0, integer: true }), 128)
    .option(
      "--temperature <t>",
      "sample with this temperature (default: 0, always the best token)",
      numberFlag({ min: 0 }),
    )
    .option("--top-k <k>", "sample among the k best tokens", numberFlag({ min: 0, integer: true }))
    .option("--top-p <p>", "sample among the best tokens that hold this probability", numberFlag({ min: 0, max: 1 }))
    .option("--min-p <p>", "sample among tokens at least p times as likely as the best", numberFlag({ min: 0, max: 1 }))
    .option("--repetition-penalty <r>", "make earlier tokens less likely; 1 is off", numberFlag({ min: 0 }))
    .option("--stop <text>", "end before this text (repeatable)", (text: string, all: string[]) => [...all, text], [])
    .option("--beams <n>", "beam search with n beams instead of sampling", count)
    .option("--groups <n>", "divide the beams into n groups that differ (diverse beam search)", count)
    .option("--diversity-penalty <x>", "how much groups shun each other's tokens (default: 0.5)", numberFlag())
    .option("--length-penalty <x>", "over 1 favours long hypotheses (default: 1)", numberFlag());
  addEngineFlags(command);
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Buffer));
  const bytes = Buffer.concat(chunks);
  const text = bytes.toString("utf8");
  if (!Buffer.from(text).equals(bytes))
    throw new UserError("generate: expected UTF-8 on stdin, got other bytes; convert the text");
  // The line break that ends piped text is not part of what shall be continued
  return text.replace(/\r?\n$/, "");
}

/** Options of one way of searching, given together with the other. */
function checkFlags({ beams, groups, diversityPenalty, lengthPenalty, ...flags }: Flags): void {
  const given = (names: readonly (keyof typeof flags)[]) => names.filter((name) => flags[name] !== undefined);
  const sampling = given(["temperature", "topK", "topP", "minP", "repetitionPenalty"]);
  if (beams !== undefined && (sampling.length > 0 || flags.stop.length > 0)) {
    const name = sampling.length > 0 ? sampling[0].replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`) : "stop";
    throw new UserError(`generate: expected --beams or sampling, got --beams and --${name}; leave one out`);
  }
  if (beams === undefined && (groups ?? diversityPenalty ?? lengthPenalty) !== undefined) {
    throw new UserError("generate: expected --beams with --groups and the beam penalties, got none; add --beams N");
  }
  if (!flags.temperature && (flags.topK ?? flags.topP ?? flags.minP) !== undefined) {
    throw new UserError(
      "generate: expected --temperature with --top-k, --top-p and --min-p, got none or 0; add --temperature 1",
    );
  }
}

interface Job {
  readonly decoder: Decoder;
  readonly model: LoadedModel;
  readonly ids: readonly number[];
  readonly flags: Flags;
  readonly session: Session;
}

async function searchBeams({ decoder, model, ids, flags, session: { output } }: Job): Promise<Record<string, unknown>> {
  const { beamSearch } = await import("../../models/beam.ts");
  const { tokenizer, eosIds } = model;
  const { beams, groups, diversityPenalty, lengthPenalty, maxTokens } = flags;
  const found = await beamSearch(decoder, ids, { beams, groups, diversityPenalty, lengthPenalty, maxTokens, eosIds });
  const decode = (tokens: readonly number[]): string => tokenizer.decode(tokens, { skipSpecialTokens: true });
  const before = decode(ids).length;
  const hypotheses = found
    .map(({ ids: tokens, group, logProb, score }) => {
      return { text: decode([...ids, ...tokens]).slice(before), group, tokens: tokens.length, logProb, score };
    })
    .sort((a, b) => b.score - a.score);
  for (const { text, group, score } of hypotheses) {
    const mark = (groups ?? 1) > 1 ? `group ${group + 1}, ` : "";
    output.print(`${output.style("dim", `[${mark}${score.toFixed(3)}]`)}${text}`);
  }
  return { hypotheses };
}

async function sampleText({ decoder, model, ids, flags, session }: Job): Promise<Record<string, unknown>> {
  const { maxTokens, temperature, topK, topP, minP, repetitionPenalty, stop, seed } = flags;
  const { output, signal, progress } = session;
  const started = performance.now();
  let firstAt = started;
  let text = "";
  let tokens = 0;
  let finish: Finish = "length";
  const options = {
    tokenizer: model.tokenizer,
    maxTokens,
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    stop,
    seed,
  };
  for await (const piece of generate(decoder, [ids], { ...options, eosIds: model.eosIds, signal })) {
    if (piece.token !== undefined && tokens++ === 0) firstAt = performance.now();
    text += piece.text;
    output.write(piece.text);
    finish = piece.finish ?? finish;
  }
  output.print();
  const seconds = (performance.now() - started) / 1000;
  const decoding = (performance.now() - firstAt) / 1000;
  const tokensPerSecond = tokens > 1 && decoding > 0 ? (tokens - 1) / decoding : 0;
  if (finish === "aborted") throw new Interrupted();
  const reasons = { eos: "the text ended", stop: "stop text", length: "--max-tokens", context: "the context is full" };
  if (output.terminal) {
    progress.line(
      output.style(
        "dim",
        `${formatCount(tokens)} tokens, ${tokensPerSecond.toFixed(0)} a second; ended by: ${reasons[finish]}`,
      ),
    );
  }
  return { text, tokens, finish, seconds, tokensPerSecond, seed };
}

export async function run(command: Command, session: Session): Promise<Record<string, unknown>> {
  const flags = command.opts<Flags>();
  const { output } = session;
  checkFlags(flags);
  const [given] = command.processedArgs as [string];
  const prompt = given === "-" ? await readStdin() : given;
  const model = await openModel(flags.model, session, { adapter: flags.adapter });
  const { tokenizer } = model;
  const ids = flags.chat
    ? tokenizer.encode(tokenizer.applyChatTemplate([{ role: "user", content: prompt }]), { addSpecialTokens: false })
    : promptIds(tokenizer, prompt);
  const runtime = openRuntime(flags);
  try {
    const decoder = await createDecoder(runtime, model);
    // On a terminal the text reads on from its prompt; in a pipe only the new text is wanted
    if (output.terminal && !flags.chat && flags.beams === undefined) output.write(output.style("dim", prompt));
    const job = { decoder, model, ids, flags, session };
    const result = await (flags.beams === undefined ? sampleText(job) : searchBeams(job));
    return { command: "generate", model: flags.model, prompt, promptTokens: ids.length, ...result };
  } finally {
    await runtime.dispose();
  }
}
