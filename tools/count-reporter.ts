/** Ends a test run with one plain line for programs to read: "N passed, N failed", and ", N skipped" where any were. */
import { writeSync } from "node:fs";
import type { Reporter } from "vitest/reporters";
import type { TestModule } from "vitest/node";

export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        counts[state === "pending" ? "failed" : state]++; // a test that never ended did not pass
      }
      // A file or a suite whose own code threw counts as one failure: its tests may be unknown
      counts.failed += module.errors().length;
      for (const suite of module.children.allSuites()) counts.failed += suite.errors().length;
    }
    const { passed, failed, skipped } = counts;
    const line = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`;
    // The other reporters may still be writing: the last line is written last
    process.once("exit", () => writeSync(1, line));
  }
}

// The one default export: vitest loads a reporter by it
export default CountReporter;
