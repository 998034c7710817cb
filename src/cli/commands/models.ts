/** `mneme models`: the embedded models, those in the hub's cache, and what can be loaded at all. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { readJsonObject } from "../../checkpoint/files.ts";
import { listCached } from "../../checkpoint/hub.ts";
import { openCheckpoint } from "../../checkpoint/safetensors.ts";
import { formatBytes } from "../../eval/format.ts";
import { definitions } from "../../models/index.ts";
import { embeddedFolder, embeddedModels } from "../../models/embedded.ts";
import { table } from "../output.ts";
import { shownPath, type Session } from "../session.ts";

interface ModelLine {
  readonly name: string;
  readonly type: string;
  readonly parameters: number | null;
  readonly bytes: number;
  readonly context: number | null;
  readonly licence: string | null;
  readonly where: "embedded" | "cache";
  readonly folder: string;
  /** Can this program load it? */
  readonly usable: boolean;
}

export function define(command: Command): void {
  command.addHelpText("after", "\nA model is named by its name here, by a folder, or by its hub id (org/name).");
}

/** Reads names and shapes only, never the weights. A damaged model is listed as such rather than stopping the list. */
async function describe(name: string, folder: string, where: ModelLine["where"]): Promise<ModelLine> {
  const config = await readJsonObject(join(folder, "config.json")).catch(() => ({}) as Record<string, unknown>);
  const type = typeof config.model_type === "string" ? config.model_type : "unknown";
  const checkpoint = await openCheckpoint(folder).catch(() => undefined);
  const tensors = [...(checkpoint?.tensors.values() ?? [])];
  await checkpoint?.close();
  const card = await readFile(join(folder, "README.md"), "utf8").catch(() => "");
  const context = config.max_position_embeddings ?? config.n_positions;
  return {
    name,
    type,
    parameters: checkpoint ? tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0) : null,
    bytes: tensors.reduce((sum, { begin, end }) => sum + end - begin, 0),
    context: typeof context === "number" ? context : null,
    licence: /^---\n[\s\S]*?^license:\s*(\S+)/m.exec(card)?.[1] ?? null,
    where,
    folder,
    usable: checkpoint !== undefined && Object.hasOwn(definitions, type),
  };
}

/** 1,234,567 as "1.23 M". */
function short(count: number | null): string {
  if (count === null) return "–";
  const units = ["", " k", " M", " G", " T"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return unit === 0 ? String(count) : `${(count / 1000 ** unit).toPrecision(3)}${units[unit]}`;
}

export async function run(_command: Command, { output }: Session): Promise<Record<string, unknown>> {
  const embedded = (await embeddedModels()).map((name) => describe(name, join(embeddedFolder, name), "embedded"));
  const cached = (await listCached())
    .filter(({ complete }) => complete)
    .map(({ name, folder, commit, refs }) =>
      describe(refs.includes("main") ? name : `${name}@${commit}`, folder, "cache"),
    );
  const models = await Promise.all([...embedded, ...cached]);
  const kinds = Object.entries(definitions).map(([type, { kind }]) => ({ type, kind }));
  if (models.length === 0) output.print("No models here yet.");
  else {
    const rows = models.map((model) => [
      model.name,
      model.type,
      short(model.parameters),
      formatBytes(model.bytes),
      model.licence ?? "–",
      (model.where === "embedded" ? "embedded" : shownPath(model.folder)) + (model.usable ? "" : " (cannot be loaded)"),
    ]);
    const [head, ...lines] = table([["model", "type", "parameters", "size", "licence", "where"], ...rows], {
      right: [2, 3],
    });
    output.print(output.style("bold", head));
    for (const line of lines) output.print(line);
  }
  const ofKind = (kind: string): string =>
    kinds
      .filter((entry) => entry.kind === kind)
      .map(({ type }) => type)
      .join(", ");
  output.print();
  output.print(`Any model of these types can be named by its folder or hub id (org/name):`);
  output.print(`  language models  ${ofKind("causal")}`);
  output.print(`  encoders         ${ofKind("encoder")} (as a library only)`);
  output.print(`  encoder-decoders ${ofKind("encoder-decoder")} (as a library only)`);
  return { command: "models", models, kinds };
}
