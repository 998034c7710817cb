/**
 * Flags of the command line from schemas of options: names, kinds, defaults and help come from zod and nowhere else.
 * The flag of `learningRate` is --learning-rate for every chosen method that has it, and --lora.learning-rate for one.
 */
import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { internal, UserError } from "../errors.ts";
import { type FitDefinition, type MethodDefinition, parseMethodOptions } from "../methods/definition.ts";
import { methods } from "../methods/index.ts";
import { parseTaskOptions, type TaskDefinition } from "../eval/tasks/definition.ts";
import { tasks } from "../eval/tasks/index.ts";
import { didYouMean } from "../models/nearest.ts";
import { numberFlag } from "./session.ts";

/** The part of JSON Schema that options use. */
interface Property {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly items?: { readonly type?: string };
}

/** learningRate as learning-rate. */
export const kebab = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export function propertiesOf(schema: z.ZodObject): Record<string, Property> {
  return (z.toJSONSchema(schema, { io: "input" }).properties ?? {}) as Record<string, Property>;
}

/**
 * A default that is worth saying: an empty list is none, and the form of a switch (--merge, --no-answered) says
 * its.
 */
const shownDefault = ({ type, default: value }: Property): string =>
  value === undefined || type === "boolean" || (Array.isArray(value) && value.length === 0) ? "" : String(value);

/** Choices that fit beside the name of a flag; more of them stand in its help. */
const mostChoices = 24;
const fitsFlag = (choices: readonly string[]): boolean => choices.join("|").length <= mostChoices;

/**
 * What a property means, as its flag has it: switched off where it is on, and with choices that are too many beside
 * it.
 */
function meaningOf({ type, description = "", default: preset, enum: choices }: Property): string {
  if (type === "boolean" && preset === true) return `do not ${description}`;
  return choices && !fitsFlag(choices) ? `${description}: ${choices.join(", ")}` : description;
}

/** One flag for a property; `name` is its long name without dashes. */
function optionOf(name: string, property: Property, help: string): Option {
  const { type, enum: choices, items, default: preset } = property;
  if (type === "boolean") return new Option(preset === true ? `--no-${name}` : `--${name}`, help);
  if (choices) {
    return new Option(`--${name} <${fitsFlag(choices) ? choices.join("|") : "name"}>`, help).argParser(oneOf(choices));
  }
  if (type === "number" || type === "integer") {
    return new Option(`--${name} <n>`, help).argParser(numberFlag({ integer: type === "integer" }));
  }
  if (type === "array" && items?.type === "string") {
    const list = (text: string): string[] =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "");
    return new Option(`--${name} <a,b,...>`, help).argParser((text: string, before?: string[]) => [
      ...(before ?? []),
      ...list(text),
    ]);
  }
  if (type === "string") return new Option(`--${name} <text>`, help);
  return internal(`method-flags: no flag for --${name} of type ${type}`);
}

const oneOf =
  (choices: readonly string[]) =>
  (text: string): string => {
    if (choices.includes(text)) return text;
    throw new InvalidArgumentError(`Expected one of ${choices.join(", ")}${didYouMean(text, choices)}.`);
  };

/** What one property does, with its default. */
function ownHelp(property: Property): string {
  const preset = shownDefault(property);
  return `${meaningOf(property)}${preset === "" ? "" : ` (default: ${preset})`}`;
}

/** Flags of a schema that is not a method's. */
export function addSchemaFlags(command: Command, schema: z.ZodObject): void {
  for (const [key, property] of Object.entries(propertiesOf(schema))) {
    command.addOption(optionOf(kebab(key), property, ownHelp(property)));
  }
}

/** Something in a catalogue that has options: a method or a task. */
interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly options: z.ZodObject;
}

interface Catalogue<E extends Entry = Entry> {
  readonly kind: "method" | "task" | "fit";
  readonly entries: Readonly<Record<string, E>>;
}

/** The catalogue whose options a plain flag such as --limit sets. */
const ownerOf = new WeakMap<Option, Catalogue["kind"]>();

/** "(default: 4)" where several owners agree and `all` have this meaning of the option; else the default of each. */
function note(owners: readonly { entry: string; property: Property }[], all: boolean): string {
  const presets = owners.map(({ entry, property }) => ({ entry, preset: shownDefault(property) }));
  const [{ preset: first }] = presets;
  if (all && owners.length > 1 && first !== "" && presets.every(({ preset }) => preset === first)) {
    return ` (default: ${first})`;
  }
  return ` (${presets.map(({ entry, preset }) => (preset === "" ? entry : `${entry}: ${preset}`)).join(", ")})`;
}

/** What an option does, once for all entries that mean the same by it. */
function helpOf(owners: readonly { entry: string; property: Property }[]): string {
  const meanings = [...new Set(owners.map(({ property }) => meaningOf(property)))];
  const parts = meanings.map((meaning) => {
    const same = owners.filter(({ property }) => meaningOf(property) === meaning);
    return `${meaning}${note(same, meanings.length === 1)}`;
  });
  return parts.join("; ");
}

/** --method or --task, and the options of all its entries. A plain flag that the command has already stays as it is. */
function addCatalogueFlags(command: Command, { kind, entries }: Catalogue, { several }: { several: boolean }): void {
  const names = Object.keys(entries);
  const collect = (text: string, before: string[] = []): string[] => {
    const named = several ? text.split(",").map((name) => name.trim()) : [text];
    for (const [i, name] of named.entries()) {
      if (!names.includes(name))
        throw new InvalidArgumentError(`Expected one of ${names.join(", ")}${didYouMean(name, names)}.`);
      if ([...before, ...named.slice(0, i)].includes(name)) throw new InvalidArgumentError("It was named before.");
    }
    if (before.length > 0 && !several) throw new InvalidArgumentError(`Expected one ${kind}.`);
    return [...before, ...named];
  };
  const what = kind === "method" ? "learning method" : "what is learned and asked";
  const summaries = Object.values(entries).map(({ name, summary }) => `${name}: ${summary}`);
  command.option(`--${kind} <name>`, `${what}${several ? ", or several: a,b" : ""} (${summaries.join("; ")})`, collect);
  addEntryFlags(command, { kind, entries });
}

/** The options of all entries. */
function addEntryFlags(command: Command, { kind, entries }: Catalogue): void {
  const owners = new Map<string, { entry: string; property: Property }[]>();
  for (const { name, options } of Object.values(entries)) {
    for (const [key, property] of Object.entries(propertiesOf(options))) {
      owners.set(key, [...(owners.get(key) ?? []), { entry: name, property }]);
    }
  }
  for (const [key, found] of owners) {
    const [{ property }] = found;
    if (new Set(found.map(({ property: { type } }) => type)).size > 1)
      internal(`method-flags: --${kebab(key)} has several types`);
    const taken = command.options.some((option) => option.attributeName() === key);
    if (!taken) {
      const option = optionOf(kebab(key), property, helpOf(found));
      ownerOf.set(option, kind);
      command.addOption(option);
    }
    for (const owner of found) {
      // Where the plain name is another's, this one is the only way to the option
      const option = optionOf(`${owner.entry}.${kebab(key)}`, owner.property, ownHelp(owner.property));
      command.addOption(taken ? option : option.hideHelp());
    }
  }
}

/** The fits of the methods that need one, by the name of the method. */
const fitCatalogue: Catalogue<Entry & { readonly fit: FitDefinition }> = {
  kind: "fit",
  entries: Object.fromEntries(
    Object.values(methods).flatMap(({ name, summary, fit }) =>
      fit ? [[name, { name, summary, fit, options: fit.options }]] : [],
    ),
  ),
};

/** The method that is fitted, as an argument, and the options of all fits; to be added after the other flags. */
export function addFitFlags(command: Command): void {
  const summaries = Object.values(fitCatalogue.entries).map(({ name, summary }) => `${name}: ${summary}`);
  command.addArgument(new Argument("<method>", summaries.join("; ")).choices(Object.keys(fitCatalogue.entries)));
  addEntryFlags(command, fitCatalogue);
}

/** The fit of a method and its options, complete and checked. */
export function fitOptions(command: Command, chosen: string): { fit: FitDefinition; options: Record<string, unknown> } {
  const [{ definition, given }] = givenOptions(command, fitCatalogue, [chosen]);
  return { fit: definition.fit, options: parseMethodOptions(definition, given) };
}

const methodCatalogue: Catalogue<MethodDefinition> = { kind: "method", entries: methods };
const taskCatalogue: Catalogue<TaskDefinition> = { kind: "task", entries: tasks };

/** --method and the options of all methods. */
export function addMethodFlags(command: Command, { several }: { several: boolean }): void {
  addCatalogueFlags(command, methodCatalogue, { several });
  command.addHelpText("after", "\nAn option of one method alone: --METHOD.OPTION, such as --lora.learning-rate 0.01.");
}

/** What the memory of a method keeps. */
export type MemoryKind = "facts" | "documents";

/** Methods that keep something of these kinds in a memory; the first is the one taken for a new memory. */
export const memoryMethods = (kinds: readonly MemoryKind[]): string[] =>
  Object.keys(methods).filter((name) => kinds.some((kind) => methods[name][kind]));

/** --method and the options of the methods that keep something of these kinds in a memory. */
export function addMemoryMethodFlags(command: Command, kinds: readonly MemoryKind[]): void {
  const entries = Object.fromEntries(memoryMethods(kinds).map((name) => [name, methods[name]]));
  addCatalogueFlags(command, { kind: "method", entries }, { several: false });
}

/** --task and the options of all tasks; to be added after the other flags, which keep their names. */
export function addTaskFlags(command: Command): void {
  addCatalogueFlags(command, taskCatalogue, { several: false });
  command.addHelpText("after", "An option of one task alone: --TASK.OPTION.");
}

const wasGiven = (command: Command, attribute: string): boolean => command.getOptionValueSource(attribute) === "cli";

/** The name under which commander keeps the value of --NAME.OPTION. */
const ownAttribute = (name: string, key: string): string =>
  name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase()) + `.${key}`;

/** Options of each chosen entry as they were given. A flag that no chosen entry has is an error. */
function givenOptions<E extends Entry>(
  command: Command,
  { kind, entries }: Catalogue<E>,
  chosen: readonly string[],
): { definition: E; given: Record<string, unknown> }[] {
  const values = command.opts<Record<string, unknown>>();
  const isPlain = (key: string): boolean =>
    command.options.some((option) => option.attributeName() === key && ownerOf.get(option) === kind);
  for (const { name, options } of Object.values(entries)) {
    for (const key of Object.keys(options.shape)) {
      const own = wasGiven(command, ownAttribute(name, key)) && !chosen.includes(name);
      const useless =
        isPlain(key) &&
        wasGiven(command, key) &&
        !chosen.some((other) => Object.hasOwn(entries[other].options.shape, key));
      if (own || useless) {
        const flag = own ? `--${name}.${kebab(key)}` : `--${kebab(key)}`;
        throw new UserError(
          `${command.name()}: expected options of ${chosen.join(", ")}, got ${flag} of ${name}; leave it out or add ` +
            `--${kind} ${name}`,
        );
      }
    }
  }
  return chosen.map((name) => {
    const definition = entries[name];
    const given = Object.keys(definition.options.shape).flatMap((key) => {
      const attributes = [ownAttribute(name, key), ...(isPlain(key) ? [key] : [])];
      const attribute = attributes.find((one) => wasGiven(command, one));
      return attribute === undefined ? [] : [[key, values[attribute]] as const];
    });
    return { definition, given: Object.fromEntries(given) };
  });
}

/** Options in place of the defaults; flags that are given go before them. */
type Presets = Readonly<Record<string, unknown>>;

/** Options of each chosen method, complete and checked. `presets` by the name of a method. */
export const methodOptions = (
  command: Command,
  chosen: readonly string[],
  presets: Readonly<Record<string, Presets>> = {},
): { definition: MethodDefinition; options: Record<string, unknown> }[] =>
  givenOptions(command, methodCatalogue, chosen).map(({ definition, given }) => ({
    definition,
    options: parseMethodOptions(definition, { ...presets[definition.name], ...given }),
  }));

/** Options of the chosen task, complete and checked, and the names of those that were given. */
export function taskOptions(
  command: Command,
  chosen: string,
  presets: Presets = {},
): { definition: TaskDefinition; options: Record<string, unknown>; given: readonly string[] } {
  const [{ definition, given: flags }] = givenOptions(command, taskCatalogue, [chosen]);
  const given = { ...presets, ...flags };
  const required = z.toJSONSchema(definition.options, { io: "input" }).required ?? [];
  const missing = required.find((key) => !Object.hasOwn(given, key));
  if (missing !== undefined) {
    const help = propertiesOf(definition.options)[missing]?.description ?? "";
    throw new UserError(
      `${command.name()}: expected --${kebab(missing)} for the task ${chosen}, got none; give it: ${help}`,
    );
  }
  return { definition, options: parseTaskOptions(definition, given), given: Object.keys(flags) };
}

/** With --resume everything comes from the folder: refuses other options. */
export function refuseBesideResume(command: Command, allowed: readonly string[]): void {
  const other = command.options.find((option) => {
    const attribute = option.attributeName();
    return wasGiven(command, attribute) && !["resume", "json", "debug", ...allowed].includes(attribute);
  });
  const files = (command.processedArgs[0] as string[] | undefined) ?? [];
  if (other ?? files.length > 0) {
    const what = other?.long ?? files[0];
    throw new UserError(
      `${command.name()}: expected --resume alone, as the folder knows the rest, got ${what} as well; leave it out`,
    );
  }
}
