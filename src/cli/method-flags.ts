/**
 * Flags of the command line from schemas of options: names, kinds, defaults and help come from zod and nowhere else.
 * The flag of `learningRate` is --learning-rate for every chosen method that has it, and --lora.learning-rate for one.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { internal, UserError } from "../errors.ts";
import { type MethodDefinition, parseMethodOptions } from "../methods/definition.ts";
import { methods } from "../methods/index.ts";
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

const kebab = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export function propertiesOf(schema: z.ZodObject): Record<string, Property> {
  return (z.toJSONSchema(schema, { io: "input" }).properties ?? {}) as Record<string, Property>;
}

const shownDefault = (value: unknown): string =>
  value === undefined || (Array.isArray(value) && value.length === 0) ? "" : String(value);

/** One flag for a property; `name` is its long name without dashes. */
function optionOf(name: string, property: Property, help: string): Option {
  const { type, enum: choices, items, default: preset } = property;
  if (type === "boolean") return new Option(preset === true ? `--no-${name}` : `--${name}`, help);
  if (choices) return new Option(`--${name} <${choices.join("|")}>`, help).argParser(oneOf(choices));
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

/** Flags of a schema that is not a method's. */
export function addSchemaFlags(command: Command, schema: z.ZodObject): void {
  for (const [key, property] of Object.entries(propertiesOf(schema))) {
    const preset = shownDefault(property.default);
    const note = preset === "" || property.type === "boolean" ? "" : ` (default: ${preset})`;
    command.addOption(optionOf(kebab(key), property, `${property.description ?? ""}${note}`));
  }
}

/** "(default: 4)", or one default for each method where they differ or only some methods have the option. */
function note(owners: readonly { method: string; property: Property }[]): string {
  const presets = owners.map(({ method, property }) => ({ method, preset: shownDefault(property.default) }));
  const everywhere = owners.length === Object.keys(methods).length;
  if (everywhere && new Set(presets.map(({ preset }) => preset)).size === 1) {
    return presets[0].preset === "" ? "" : ` (default: ${presets[0].preset})`;
  }
  return ` (${presets.map(({ method, preset }) => (preset === "" ? method : `${method}: ${preset}`)).join(", ")})`;
}

/** --method and the options of all methods. */
export function addMethodFlags(command: Command, { several }: { several: boolean }): void {
  const names = Object.keys(methods);
  const collect = (text: string, before: string[] = []): string[] => {
    if (!names.includes(text))
      throw new InvalidArgumentError(`Expected one of ${names.join(", ")}${didYouMean(text, names)}.`);
    if (before.includes(text)) throw new InvalidArgumentError("It was named before.");
    if (before.length > 0 && !several) throw new InvalidArgumentError("Expected one method.");
    return [...before, text];
  };
  const summaries = Object.values(methods).map(({ name, summary }) => `${name}: ${summary}`);
  command.option(
    "--method <name>",
    `${several ? "learning method (repeatable)" : "learning method"} (${summaries.join("; ")})`,
    collect,
  );
  const owners = new Map<string, { method: string; property: Property }[]>();
  for (const { name, options } of Object.values(methods)) {
    for (const [key, property] of Object.entries(propertiesOf(options))) {
      owners.set(key, [...(owners.get(key) ?? []), { method: name, property }]);
    }
  }
  for (const [key, found] of owners) {
    const [{ property }] = found;
    if (new Set(found.map(({ property: { type } }) => type)).size > 1)
      internal(`method-flags: --${kebab(key)} has several types`);
    command.addOption(optionOf(kebab(key), property, `${property.description ?? ""}${note(found)}`));
    for (const owner of found) {
      command.addOption(optionOf(`${owner.method}.${kebab(key)}`, owner.property, "").hideHelp());
    }
  }
  command.addHelpText("after", "\nAn option of one method alone: --METHOD.OPTION, such as --lora.learning-rate 0.01.");
}

const wasGiven = (command: Command, attribute: string): boolean => command.getOptionValueSource(attribute) === "cli";

/** Options of each chosen method, complete and checked. A flag that no chosen method has is an error. */
export function methodOptions(
  command: Command,
  chosen: readonly string[],
): { definition: MethodDefinition; options: Record<string, unknown> }[] {
  const values = command.opts<Record<string, unknown>>();
  for (const { name, options } of Object.values(methods)) {
    for (const key of Object.keys(options.shape)) {
      const own = wasGiven(command, `${name}.${key}`) && !chosen.includes(name);
      const useless =
        wasGiven(command, key) && !chosen.some((other) => Object.hasOwn(methods[other].options.shape, key));
      if (own || useless) {
        const flag = own ? `--${name}.${kebab(key)}` : `--${kebab(key)}`;
        throw new UserError(
          `${command.name()}: expected options of ${chosen.join(", ")}, got ${flag} of ${name}; leave it out or add --method ${name}`,
        );
      }
    }
  }
  return chosen.map((name) => {
    const definition = methods[name];
    const given = Object.keys(definition.options.shape).flatMap((key) => {
      const attribute = [`${name}.${key}`, key].find((one) => wasGiven(command, one));
      return attribute === undefined ? [] : [[key, values[attribute]] as const];
    });
    return { definition, options: parseMethodOptions(definition, Object.fromEntries(given)) };
  });
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
