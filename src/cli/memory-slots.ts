/** `mneme memory slots`: which slots of a memory layer the writes of a memory changed, and which writes share some. */
import { UserError } from "../errors.ts";
import { methods } from "../methods/index.ts";
import type { Ledger } from "../runs/ledger.ts";
import { factText } from "./fact-lines.ts";
import type { Session } from "./session.ts";

interface WrittenSlots {
  readonly id: string;
  readonly slots: readonly number[];
  /** Live writes after it that changed some of the same slots. */
  readonly under: readonly { readonly id: string; readonly slots: number }[];
}

/** Slots of one write, or of all that are live, in the order of writing. */
export function slotsOfWrites(
  { identity, rows, resolve, folder }: Ledger,
  write: string | undefined,
  { output }: Session,
): Record<string, unknown> {
  const { method = "" } = identity;
  const slotsIn = methods[method]?.facts?.slots;
  if (!slotsIn) {
    throw new UserError(
      `memory: expected a memory of writes into slots, got ${folder} of ${method || "no method"}; name another with --memory`,
    );
  }
  const live = rows.live();
  const slotsOf = (number: number): readonly number[] => slotsIn(rows.placed(number).key);
  const chosen = write === undefined ? live : [resolve(write, "memory").fact];
  const { style, print } = output;
  const writes = chosen.map((number): WrittenSlots => {
    const fact = rows.byNumber(number);
    const slots = slotsOf(number);
    const own = new Set(slots);
    const under = live
      .filter((later) => later > number)
      .map((later) => ({
        id: rows.byNumber(later)?.id ?? "",
        slots: slotsOf(later).filter((one) => own.has(one)).length,
      }))
      .filter((later) => later.slots > 0);
    const id = fact?.id ?? "";
    print(`${style("bold", id)}  ${fact ? factText(fact) : ""}`);
    const shared = under.map((later) => `${later.id} (${later.slots})`).join(", ");
    print(`  ${slots.length} slots; ${under.length === 0 ? "no later write shares any" : `shared with ${shared}`}`);
    if (write !== undefined) print(`  ${slots.join(" ")}`);
    return { id, slots, under };
  });
  if (write === undefined) {
    const all = new Set(writes.flatMap(({ slots }) => slots));
    print(
      `${writes.length} ${writes.length === 1 ? "write" : "writes"}, ${all.size} different slots of ${identity.slots ?? "a memory"}`,
    );
  }
  return { writes };
}
