/** Long sequences in windows of a model's context: which tokens each window reads, and which of them it scores. */
import { UserError } from "../errors.ts";

/** Reads tokens `start` to `to - 2` and scores tokens `from` to `to - 1`, each after all those read before it. */
export interface Window {
  readonly start: number;
  readonly from: number;
  readonly to: number;
}

export interface WindowOptions {
  /** Most tokens that a window reads. */
  readonly contextLength: number;
  /**
   * Most tokens that a window scores, but for the first. 1 gives every token the longest context, and takes
   * longest.
   */
  readonly stride: number;
}

/**
 * Cover tokens `from` to `length - 1` (from >= 1): each is scored exactly once, after every token before it, or after
 * at least contextLength - stride of them. A first window that begins with the sequence scores all that it can.
 */
export function planWindows(length: number, from: number, { contextLength: C, stride }: WindowOptions): Window[] {
  if (!Number.isInteger(C) || C < 1)
    throw new UserError(`score: expected a context length of 1 or more tokens, got ${C}`);
  if (!Number.isInteger(stride) || stride < 1 || stride > C)
    throw new UserError(`score: expected a stride from 1 to the context length ${C}, got ${stride}`);
  const windows: Window[] = [];
  for (let next = from; next < length; ) {
    const to = Math.min(length, Math.max(next + stride, C + 1));
    windows.push({ start: Math.max(0, to - 1 - C), from: next, to });
    next = to;
  }
  return windows;
}
