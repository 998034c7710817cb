/** Options of methods: defaults, and errors that name the option, its rule and the ones there are. */
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.ts";
import { parseMethodOptions } from "./definition.ts";
import { methodNamed, methods } from "./index.ts";

describe("parseMethodOptions", () => {
  it("fills in every default", () => {
    expect(parseMethodOptions(methods.lora, { rank: 4 })).toEqual({
      learningRate: 5e-3,
      rank: 4,
      alpha: 16,
      dropout: 0,
      targets: [],
      merge: false,
      epochs: 4,
      batchSize: 2,
      accumulate: 1,
      contextLength: 256,
      optimizer: "adamw",
      schedule: "cosine",
      warmupSteps: 4,
      weightDecay: 0.01,
      clipNorm: 1,
      validationShare: 0,
      patience: 2,
    });
    expect(parseMethodOptions(methods.finetune, {})).toMatchObject({ learningRate: 1e-3 });
  });

  it.each([
    [{ rnak: 4 }, /"rnak"/],
    [{ rank: 0 }, /got rank: /],
    [{ rank: 1.5 }, /got rank: /],
    [{ rank: "8" }, /got rank: /],
    [{ dropout: 1 }, /got dropout: /],
    [{ optimizer: "lion" }, /got optimizer: .*"sgd"\|"adam"\|"adamw"/],
    [{ epochs: Number.NaN }, /got epochs: /],
    [{ learningRate: -1 }, /got learningRate: /],
    [{ targets: ["q_proj", ""] }, /got targets\.1: /],
    [{ validationShare: 0.6 }, /got validationShare: /],
  ])("refuses %j in one line", (given, message) => {
    const parse = (): unknown => parseMethodOptions(methods.lora, given);
    expect(parse).toThrow(UserError);
    expect(parse).toThrow(message);
    expect(parse).toThrow(
      /^lora: expected valid options, got [^\n]*; known are learningRate, rank, alpha, [^\n]*patience$/,
    );
  });

  it("describes every option, so that flags and forms can be derived", () => {
    for (const { options, name, summary, paper } of Object.values(methods)) {
      expect(summary).not.toBe("");
      expect(paper).toMatch(/^https:/);
      for (const [option, schema] of Object.entries(options.shape)) {
        expect((schema as { description?: string }).description, `${name}.${option}`).toMatch(/\w/);
      }
    }
  });
});

describe("methodNamed", () => {
  it("knows the catalogue and names it otherwise", () => {
    for (const [name, definition] of Object.entries(methods)) {
      expect(methodNamed(name)).toBe(definition);
      expect(definition.name).toBe(name);
    }
    expect(() => methodNamed("toString")).toThrow(
      `method: expected one of ${Object.keys(methods).join(", ")}, got "toString"`,
    );
    expect(() => methodNamed("Lora")).toThrow(UserError);
  });
});
