/** Errors that tell whose fault they are. Below every floor: anything may import this file. */

/**
 * The caller's input is wrong. The message is one line of the form
 * `function: expected ..., got ...; way out`. The command line prints it alone and exits with code 2.
 */
export class UserError extends Error {
  override name = "UserError";
}

/** A broken invariant of our own: never the user's fault. The command line exits with code 1. */
export function internal(message: string): never {
  throw new Error(`internal: ${message}`);
}
