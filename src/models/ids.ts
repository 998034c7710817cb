/** Token ids as they come from outside: one that the model has no row for would crash the runtime or read nonsense. */
import { UserError } from "../errors.ts";

/** Refuse ids beyond the vocabulary; `where` names the caller, `place` says where the id stands. */
export function requireIds(where: string, ids: ArrayLike<number>, vocabulary: number, place = ""): void {
  for (let i = 0; i < ids.length; i++) {
    if (!(Number.isInteger(ids[i]) && ids[i] >= 0 && ids[i] < vocabulary)) {
      throw new UserError(
        `${where}: expected token ids from 0 to ${vocabulary - 1}, got ${ids[i]}${place}; use the model's own ` +
          "tokenizer",
      );
    }
  }
}
