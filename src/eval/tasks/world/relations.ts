/**
 * The relations of a world: who has them, what kind of object they take, whether the object can change with time.
 * Objects are names of the world, numbers, or (a fifth of the relations) words from a closed list.
 */
import type { Kind } from "./names.ts";
import type { Topic } from "./phrases/fillers.ts";
import { personPhrases } from "./phrases/person.ts";
import type { Phrases } from "./phrases/phrases.ts";
import { placePhrases } from "./phrases/places.ts";
import { thingPhrases } from "./phrases/things.ts";

const phrases = { ...personPhrases, ...placePhrases, ...thingPhrases };
export type RelationId = keyof typeof phrases;

const words = (text: string): string[] => text.split(", ");

/** Where an object comes from: an entity of the world, a number range with a step, or a closed list. */
export type Range =
  | { readonly entity: Kind }
  | { readonly from: number; readonly to: number; readonly step: number }
  | { readonly words: readonly string[] };

export interface Relation {
  readonly id: RelationId;
  readonly subject: Kind;
  readonly range: Range;
  /** Topics whose people have it; other kinds belong to one topic each. */
  readonly topics: readonly Topic[];
  /** May hold for a time only and be followed by another object. */
  readonly changes: boolean;
  readonly phrases: Phrases;
}

const year = { from: 1780, to: 1990, step: 1 };
const hobbies = words(
  "chess, rose growing, kite making, archery, bookbinding, candle making, stamp collecting, bird watching, " +
    "calligraphy, carpentry, " +
    "choir singing, clock repair, coin collecting, map drawing, embroidery, falconry, beekeeping, flute playing, " +
    "gardening, glass blowing, " +
    "hill walking, jewel cutting, juggling, knitting, lace making, leather carving, lute playing, moth breeding, " +
    "night fishing, orchid growing, " +
    "origami, paper cutting, pottery, puppetry, quilting, rope making, rowing, shell collecting, skating, soap " +
    "making, stargazing, story telling, " +
    "swimming, tapestry, toy making, tree climbing, violin playing, weaving, wood turning, yodelling",
);
const fields = words(
  "botany, zoology, geology, astronomy, chemistry, physics, optics, acoustics, anatomy, genetics, ecology, " +
    "oceanography, mineralogy, " +
    "meteorology, seismology, entomology, mycology, ornithology, statistics, geometry, algebra, logic, linguistics, " +
    "archaeology, " +
    "cartography, metallurgy, hydrology, toxicology, virology, immunology, neurology, pharmacology, volcanology, " +
    "thermodynamics, " +
    "crystallography, topology, mechanics, paleontology, glaciology, histology",
);
const sports = words(
  "fencing, boxing, wrestling, tennis, badminton, football, rugby, cricket, handball, volleyball, basketball, " +
    "hockey, ice skating, " +
    "skiing, sailing, canoeing, diving, water polo, cycling, running, hurdling, high jump, pole vault, javelin, " +
    "discus, shot put, judo, " +
    "karate, gymnastics, weightlifting, golf, curling, bowling, squash, table tennis, lacrosse, polo, surfing, " +
    "climbing, snooker",
);
const products = words(
  "umbrellas, bicycles, lanterns, pianos, clocks, carpets, teapots, bricks, candles, hats, gloves, boots, pencils, " +
    "mirrors, kettles, " +
    "ladders, barrels, engines, anchors, ropes, sails, lamps, violins, telescopes, microscopes, scales, buttons, " +
    "needles, ribbons, curtains, " +
    "blankets, saddles, wagons, ploughs, pumps, locks, safes, stoves, ovens, tiles, vases, bottles, toys, kites, " +
    "drums, flutes, soap, perfume, " +
    "ink, paper, paint, varnish, cheese, biscuits, chocolate, vinegar, mustard, tea, coffee, sugar",
);
const genres = words(
  "sonnet, ballad, opera, symphony, mural, fresco, etching, woodcut, engraving, novel, novella, elegy, satire, " +
    "tragedy, comedy, ode, hymn, " +
    "waltz, ballet, cantata, sonata, portrait, landscape, mosaic, tapestry, sculpture, watercolour, sketch, fable, " +
    "epic",
);
const specialities = words(
  "glass, plum cake, lace, honey, cider, saffron, porcelain, cutlery, bells, straw hats, goat cheese, smoked eel, " +
    "rye bread, walnut oil, " +
    "gingerbread, marzipan, copper pots, wooden clogs, silk, felt, paper lanterns, oak barrels, wicker chairs, pear " +
    "brandy, apple butter, " +
    "sea salt, dried figs, black tea, mint tea, leather bags, silver rings, amber beads, pottery, tin soldiers, " +
    "violins, fishing nets, " +
    "wool blankets, candied nuts, pickled plums, onion tart, mushroom soup, fish pie, blue dye, marble, slate, " +
    "chalk, roses, tulips, hops, horses",
);

type Spec = readonly [id: RelationId, subject: Kind, range: Range, topics: readonly Topic[], changes?: "changes"];

const specs: readonly Spec[] = [
  ["birthplace", "person", { entity: "city" }, ["science", "art", "sport", "travel"]],
  ["birthYear", "person", year, ["science", "business", "travel"]],
  ["residence", "person", { entity: "city" }, ["sport", "business", "travel"], "changes"],
  ["mentor", "person", { entity: "person" }, ["science", "art", "sport"]],
  ["hobby", "person", { words: hobbies }, ["business", "art", "travel"]],
  ["employer", "person", { entity: "institution" }, ["science"], "changes"],
  ["field", "person", { words: fields }, ["science"]],
  ["team", "person", { entity: "team" }, ["sport"], "changes"],
  ["sport", "person", { words: sports }, ["sport"]],
  ["mayor", "city", { entity: "person" }, ["travel"], "changes"],
  ["river", "city", { entity: "river" }, ["travel"]],
  ["population", "city", { from: 2100, to: 99900, step: 100 }, ["travel"]],
  ["speciality", "city", { words: specialities }, ["travel"]],
  ["location", "institution", { entity: "city" }, ["science"]],
  ["director", "institution", { entity: "person" }, ["science"], "changes"],
  ["openingYear", "institution", year, ["science"]],
  ["homeTown", "team", { entity: "city" }, ["sport"]],
  ["captain", "team", { entity: "person" }, ["sport"], "changes"],
  ["headquarters", "company", { entity: "city" }, ["business"], "changes"],
  ["founder", "company", { entity: "person" }, ["business"]],
  ["foundingYear", "company", year, ["business"]],
  ["chief", "company", { entity: "person" }, ["business"], "changes"],
  ["product", "company", { words: products }, ["business"]],
  ["author", "work", { entity: "person" }, ["art"]],
  ["completionYear", "work", year, ["art"]],
  ["genre", "work", { words: genres }, ["art"]],
  ["holder", "work", { entity: "institution" }, ["art"]],
  ["venue", "event", { entity: "city" }, ["sport"]],
  ["winner", "event", { entity: "person" }, ["sport"]],
  ["eventYear", "event", year, ["sport"]],
];

export const relations: readonly Relation[] = specs.map(([id, subject, range, topics, changes]) => ({
  id,
  subject,
  range,
  topics,
  changes: changes !== undefined,
  phrases: phrases[id],
}));

export const relationOf = (id: RelationId): Relation => byId[id];
const byId = Object.fromEntries(relations.map((relation) => [relation.id, relation])) as Record<RelationId, Relation>;

/** The topic of subjects that are no people. */
export const topicOfKind: Readonly<Record<Exclude<Kind, "person" | "river">, Topic>> = {
  city: "travel",
  company: "business",
  institution: "science",
  team: "sport",
  work: "art",
  event: "sport",
};

/** Relations that a subject of this kind and topic has. */
export const relationsFor = (kind: Kind, topic: Topic): readonly Relation[] =>
  relations.filter(({ subject, topics }) => subject === kind && (kind !== "person" || topics.includes(topic)));
