/**
 * Invented names, each kind from a numbered space. A world takes the block of its seed, so that two worlds of different
 * seed share no name by construction: number -> name is a bijection (a permutation of the numbers, then mixed radix).
 */
import { internal, UserError } from "../../../errors.ts";

export const kinds = ["person", "city", "company", "institution", "team", "work", "event", "river"] as const;
export type Kind = (typeof kinds)[number];

/** Worlds have seeds 0 .. worldCount - 1. */
export const worldCount = 1 << 16;

const onsets = "b br c d dr f g gr h j k l m n p r s st t th tr v w z".split(" ");
const vowels = [..."aeiou"];
const middles = [..."bdfgklmnprstvz", "nd", "rt"];
const starts = onsets.flatMap((onset) => vowels.map((vowel) => capital(onset + vowel)));
const bridges = middles.flatMap((middle) => vowels.map((vowel) => middle + vowel));
const closings = (endings: string): string[] =>
  middles.flatMap((middle) => endings.split(" ").map((ending) => middle + ending));
const rootEndings = closings("a an ar el en ia in is o or os us");
const list = (words: string): string[] => words.split(" ");

const adjectives = list(
  "Amber Ancient Ashen Autumn Bitter Black Blue Brass Bright Broken Burning Copper Crimson Crooked Crystal Distant " +
    "Early Empty Endless Faded Fallen Final First Flying Forgotten Frozen Gentle Glass Golden Green Grey Hidden " +
    "Hollow " +
    "Iron Ivory Last Late Lonely Lost Midnight Morning Narrow Northern Open Painted Pale Patient Quiet Red Restless " +
    "Scarlet Second Secret Silent Silver Sleeping Southern Stolen Velvet Wandering White Winter Wooden",
);
const nouns = list(
  "Anchor Arrow Bell Bird Book Bowl Branch Bridge Candle Carpet Castle Chair Clock Cloud Coat Compass Corner Crown " +
    "Curtain Dancer Door Dream Echo Eye Feather Field Fire Flute Forest Fountain Garden Gate Glove Guest Hand " +
    "Harbour " +
    "Harp Hill Horse Hour House Island Journey Key King Kite Ladder Lake Lamp Lantern Letter Lion Maple Mask Mirror " +
    "Moon Mountain Needle Nest Night Oak Orchard Path Pearl Pilgrim Queen Rain Ring River Road Robe Room Rose Sail " +
    "Sea Shadow Shell Ship Shore Sister Smile Song Spring Stair Star Stone Storm Stranger Street Summer Table Thread " +
    "Tower Traveller Tree Valley Voice Wall Well Wheel Window Wing Wolf",
);

/** A kind's parts in order of the name, joined without a gap; how many names one world may take. */
interface NameSpace {
  readonly parts: readonly (readonly string[])[];
  readonly perWorld: number;
}

const spaced = (words: string): string[] => list(words).map((word) => ` ${word}`);
const root = [starts, bridges, rootEndings];

const spaces: Readonly<Record<Kind, NameSpace>> = {
  person: {
    parts: [
      starts,
      closings("a ah an as e el en ia in is o on"),
      starts.map((start) => ` ${start}`),
      closings("ack ald am and ane ard arn ash ath ell ent erd ers ett ick iff ill ings ish old ond orn oss und"),
    ],
    perWorld: 4096,
  },
  city: {
    parts: [
      starts,
      bridges,
      bridges,
      list(
        "burg by cester dale den don fell ford gate ham haven holm ley mere mond mouth ness port stad ster ton vale " +
          "wick worth",
      ),
    ],
    perWorld: 256,
  },
  company: {
    parts: [
      ...root,
      spaced(
        "Works Mills Traders Foundry Press Brothers Textiles Motors Shipping Breweries Ceramics Electric Glassworks " +
          "Holdings Instruments Metals Optics Papers Stores Tools",
      ),
    ],
    perWorld: 512,
  },
  institution: {
    parts: [
      ...root,
      spaced(
        "Institute Academy Museum Observatory College Library Laboratory School Archive Gallery Hospital Conservatory",
      ),
    ],
    perWorld: 256,
  },
  team: {
    parts: [
      ...root,
      spaced(
        "Rovers Wanderers United Eagles Falcons Lions Otters Ravens Rangers Rockets Comets Harriers Mariners Stags " +
          "Pilots Badgers",
      ),
    ],
    perWorld: 256,
  },
  work: {
    parts: [
      ["The "],
      adjectives,
      nouns.map((noun) => ` ${noun} of `),
      starts,
      closings("a an ar el en ia in is o or os us"),
    ],
    perWorld: 1024,
  },
  event: {
    parts: [
      ["the "],
      ...root,
      spaced("Cup Fair Games Regatta Congress Trophy Derby Festival Marathon Open Prize Rally Show Summit Tour Race"),
    ],
    perWorld: 256,
  },
  river: {
    parts: [
      starts,
      bridges,
      bridges,
      list("bourne brook burn dan der din dur gan lin lor mar na nar ran ren run sel tam ter van ver wash water wen"),
    ],
    perWorld: 256,
  },
};

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const sizeOf = ({ parts }: NameSpace): bigint => parts.reduce((size, part) => size * BigInt(part.length), 1n);
const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));

/** n -> (n * factor + offset) mod size with a factor prime to size: a permutation that scatters neighbours. */
function scatter(n: bigint, size: bigint, share: number): bigint {
  let factor = (size * BigInt(Math.round(share * 1e6))) / 1_000_000n;
  while (gcd(factor, size) !== 1n) factor++;
  return (n * factor + factor / 3n) % size;
}

/** Digits of n, the last part changing fastest; read backwards they are the number that is scattered once more. */
function digitsOf(n: bigint, radices: readonly number[]): number[] {
  const digits = Array.from<number>({ length: radices.length });
  for (let i = radices.length - 1; i >= 0; i--) {
    const radix = BigInt(radices[i]);
    digits[i] = Number(n % radix);
    n /= radix;
  }
  return digits;
}

const numberOf = (digits: readonly number[], radices: readonly number[]): bigint =>
  digits.reduce((n, digit, i) => n * BigInt(radices[i]) + BigInt(digit), 0n);

/** How many names of a kind a world may hold. */
export const namesPerWorld = (kind: Kind): number => spaces[kind].perWorld;

/** Name number `index` of a kind in the world of a seed. */
export function nameOf(kind: Kind, seed: number, index: number): string {
  const space = spaces[kind];
  if (!Number.isInteger(seed) || seed < 0 || seed >= worldCount)
    throw new UserError(`world: expected a seed from 0 to ${worldCount - 1}, got ${seed}`);
  if (index >= space.perWorld) internal(`names: ${kind} ${index} of at most ${space.perWorld} in a world`);
  const size = sizeOf(space);
  const radices = space.parts.map(({ length }) => length);
  // Each kind with shares of its own, so that the first river is not called like the first city
  const share = 0.29 + 0.031 * kinds.indexOf(kind);
  const once = scatter(BigInt(seed) * BigInt(space.perWorld) + BigInt(index), size, 0.618034 * (1 - share));
  const turned = numberOf(digitsOf(once, radices).reverse(), radices.toReversed());
  const digits = digitsOf(scatter(turned, size, 0.414214 + share), radices);
  return digits.map((digit, i) => space.parts[i][digit]).join("");
}

/** Room in every kind's space for all worlds: checked by a test. */
export const spaceSizes = (): Record<Kind, { names: bigint; needed: bigint }> =>
  Object.fromEntries(
    kinds.map((kind) => [
      kind,
      { names: sizeOf(spaces[kind]), needed: BigInt(worldCount) * BigInt(spaces[kind].perWorld) },
    ]),
  ) as Record<Kind, { names: bigint; needed: bigint }>;
