/**
 * The GPU path without a GPU: one training graph on the WebGPU provider, over the software Vulkan driver (SwiftShader)
 * that Chromium brings, against the CPU. The driver is named by the environment, hence a child process.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { scriptArguments } from "./support/script.ts";

const driver = "/usr/lib/chromium/vk_swiftshader_icd.json";
const present = existsSync(driver);
if (!present)
  console.log(`skipped: webgpu equals cpu (needs Chromium's SwiftShader, ${driver}; apt-get install chromium)`);

test.skipIf(!present)("a training graph on webgpu equals the CPU within 1e-3", { timeout: 120_000 }, async () => {
  // Chromium's folder also holds the Vulkan loader, which a machine without a GPU often lacks
  const libraries = [dirname(driver), process.env.LD_LIBRARY_PATH].filter(Boolean).join(":");
  const { stdout } = await promisify(execFile)(process.execPath, scriptArguments("tests/support/devices-child.ts"), {
    env: { ...process.env, VK_ICD_FILENAMES: driver, LD_LIBRARY_PATH: libraries },
    timeout: 110_000,
  });
  const report: { name: string; distance: number; size: number }[] = JSON.parse(
    stdout.trim().split("\n").at(-1) as string,
  );
  expect(report).toHaveLength(14);
  for (const { name, distance, size } of report) {
    expect(size, `${name} is not all zeros`).toBeGreaterThan(1e-3);
    expect(distance, `distance of ${name}, whose numbers reach ${size}`).toBeLessThan(1e-3);
  }
});
