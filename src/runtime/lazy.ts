/** What costs too much to make before it is needed, such as a compiled program. */

export interface Lazy<T> {
  /** Made at the first call and kept. A failure is not: whoever asks next tries again. */
  get(): Promise<T>;
  /** Undefined while nothing was asked for. */
  readonly made: () => Promise<T> | undefined;
}

export function lazy<T>(make: () => Promise<T>): Lazy<T> {
  let made: Promise<T> | undefined;
  return {
    get() {
      if (made) return made;
      const making = make();
      made = making;
      making.catch(() => {
        if (made === making) made = undefined;
      });
      return making;
    },
    made: () => made,
  };
}
