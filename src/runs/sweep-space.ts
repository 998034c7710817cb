/**
 * The options that a sweep tries: "learningRate=1e-4,3e-4;epochs=2,4" as a grid of all combinations, or a number of
 * random draws from such lists and from ranges ("learningRate=1e-5..1e-3"). Pure functions of text and seed.
 */
import { z } from "zod";
import { UserError } from "../errors.ts";
import { didYouMean } from "../models/nearest.ts";
import { randomStream } from "../tensor/random.ts";

const value = z.union([z.number(), z.boolean(), z.string()]);
type Value = z.output<typeof value>;

/** What one option may be: listed values, or a range for random draws. */
const dimensionSchema = z.union([
  z.strictObject({ key: z.string(), values: z.array(value).min(1) }),
  z.strictObject({ key: z.string(), low: z.number(), high: z.number(), whole: z.boolean() }),
]);
/** An empty one has a single setting: nothing to choose. */
export const spaceSchema = z.array(dimensionSchema);
export type Space = z.output<typeof spaceSchema>;
export type Setting = Readonly<Record<string, Value>>;

const numberOf = (text: string): number => (text.trim() === "" ? Number.NaN : Number(text));

function valueOf(text: string, schema: z.ZodObject, key: string): Value {
  const shape = schema.shape[key] as z.ZodType;
  const number = numberOf(text);
  const candidates: Value[] = [...(Number.isFinite(number) ? [number] : []), ...booleanOf(text), text];
  const fits = candidates.find((candidate) => shape.safeParse(candidate).success);
  if (fits !== undefined) return fits;
  const [issue] = shape.safeParse(candidates[0]).error?.issues ?? [];
  throw new UserError(
    `sweep: expected values of ${key} in the grid, got ${JSON.stringify(text)}: ${issue?.message}; correct it`,
  );
}

const booleanOf = (text: string): boolean[] => (text === "true" ? [true] : text === "false" ? [false] : []);

const partsOf = (text: string): string[] =>
  text
    .split(";")
    .map((part) => part.trim())
    .filter((part) => part !== "");

/** A part of a grid as its key and its values. */
const keyed = (part: string): [key: string, list: string] => {
  const [key, list = ""] = part.split(/=(.*)/s).map((word) => word.trim());
  return [key, list];
};

/**
 * Reads the options of a sweep over several methods: each gets the parts whose options it has, and "lora.rank=4,8",
 * which is for one alone, goes before "rank=4". A part that is for none of them is a UserError.
 */
export function parseSpaces(
  text: string,
  schemas: Readonly<Record<string, z.ZodObject>>,
  options: { ranges: boolean },
): Space[] {
  const parts = partsOf(text).map((part) => ({ part, key: keyed(part)[0] }));
  const shapes = Object.entries(schemas).map(([name, schema]) => ({ name, schema, keys: Object.keys(schema.shape) }));
  const every = shapes.flatMap(({ name, keys }) => [...keys, ...keys.map((key) => `${name}.${key}`)]);
  // An option of nobody, and no options at all, are told as for a single method
  const stray = parts.find(({ key }) => !every.includes(key));
  if (parts.length === 0 || stray) {
    const any = z.object(Object.assign({}, ...shapes.map(({ schema }) => schema.shape)) as z.ZodRawShape);
    return [parseSpace(stray?.part ?? "", any, options)];
  }
  return shapes.map(({ name, schema, keys }) => {
    const own = parts.flatMap(({ part, key }) =>
      key.startsWith(`${name}.`) && keys.includes(key.slice(name.length + 1)) ? [part.slice(name.length + 1)] : [],
    );
    const taken = own.map((part) => keyed(part)[0]);
    const plain = parts.flatMap(({ part, key }) => (keys.includes(key) && !taken.includes(key) ? [part] : []));
    const all = [...plain, ...own].join(";");
    return all === "" ? [] : parseSpace(all, schema, options);
  });
}

/** Reads the options of a sweep; `schema` has the options that there are, ranges are for random draws only. */
export function parseSpace(text: string, schema: z.ZodObject, { ranges }: { ranges: boolean }): Space {
  const keys = Object.keys(schema.shape);
  const parts = partsOf(text);
  if (parts.length === 0) {
    throw new UserError(
      "sweep: expected options in --grid, got none; write such as 'learningRate=1e-4,3e-4;epochs=2,4'",
    );
  }
  const space = parts.map((part): Space[number] => {
    const [key, list] = keyed(part);
    if (!keys.includes(key)) {
      throw new UserError(
        `sweep: expected an option of the method or the task in --grid, got ${JSON.stringify(key)}` +
          `${didYouMean(key, keys)}; there are ${keys.join(", ")}`,
      );
    }
    const [low, high] = list.split("..").map(numberOf);
    if (list.split("..").length === 2 && Number.isFinite(low) && Number.isFinite(high)) {
      if (!ranges) {
        throw new UserError(`sweep: expected listed values of ${key} in a grid, got the range ${list}; add --random N`);
      }
      if (low >= high)
        throw new UserError(`sweep: expected a range from low to high of ${key}, got ${list}; turn it around`);
      const whole = !(schema.shape[key] as z.ZodType).safeParse(low + (high - low) * 0.381966).success;
      return { key, low, high, whole };
    }
    const values = list.split(",").map((word) => valueOf(word.trim(), schema, key));
    return { key, values: [...new Set(values)] };
  });
  const twice = space.find(({ key }, i) => space.findIndex((other) => other.key === key) !== i);
  if (twice)
    throw new UserError(`sweep: expected each option once in --grid, got ${twice.key} twice; put its values together`);
  return space;
}

/** All combinations, the last option changing fastest. */
export function gridSettings(space: Space): Setting[] {
  return space.reduce<Setting[]>(
    (settings, dimension) =>
      settings.flatMap((setting) => {
        const values = "values" in dimension ? dimension.values : [];
        return values.map((one) => ({ ...setting, [dimension.key]: one }));
      }),
    [{}],
  );
}

/** Four significant digits: what is printed is what was used. */
const rounded = (number: number): number => Number(number.toPrecision(4));

/**
 * `count` different random settings; fewer where there are no more. A range of positive numbers whose ends differ by
 * 10 times or more is drawn evenly in the logarithm, any other range evenly.
 */
export function randomSettings(space: Space, count: number, seed: number): Setting[] {
  const random = randomStream(seed, "sweep");
  const draw = (dimension: Space[number]): Value => {
    if ("values" in dimension) return dimension.values[random.integer(dimension.values.length)];
    const { low, high, whole } = dimension;
    if (whole) return Math.floor(low) + random.integer(Math.floor(high) - Math.floor(low) + 1);
    const share = random.uniform();
    const wide = low > 0 && high / low >= 10;
    return rounded(wide ? low * (high / low) ** share : low + (high - low) * share);
  };
  const found = new Map<string, Setting>();
  for (let attempt = 0; attempt < 100 * count && found.size < count; attempt++) {
    const setting = Object.fromEntries(space.map((dimension) => [dimension.key, draw(dimension)]));
    const key = JSON.stringify(setting);
    if (!found.has(key)) found.set(key, setting);
  }
  return [...found.values()];
}
