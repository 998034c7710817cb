import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    globalSetup: "./tests/support/compiled.ts",
    maxWorkers: availableParallelism(), // vitest leaves one core to itself, of two
    // Processes, not threads: the native runtime is loaded once per test file and dies with it
    pool: "forks",
    // Wall-clock limits only catch what hangs; a loaded machine of two slow cores shall still pass
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default", "./tools/count-reporter.ts"],
    coverage: { include: ["src/**/*.ts"], exclude: ["**/*.test.ts"] },
  },
});
