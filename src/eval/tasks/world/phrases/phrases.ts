/**
 * How a relation is said and asked. Cores are clauses with {S} for the subject and {O} for the object; a frame goes
 * around a core, and the pair (core, frame) is one form. The split into training and test forms is over such pairs.
 */

export interface Phrases {
  /** At least 8 clauses that state the fact: no final stop, the first letter small unless it is {S} or {O}. */
  readonly statements: readonly string[];
  /** At least 6 direct questions whose answer is {O}: no question mark, the first letter small. */
  readonly questions: readonly string[];
  /** At least 2 noun phrases that mean the object, for questions over two relations: "the founder of {S}". */
  readonly descriptions: readonly string[];
}
