import { describe, expect, it } from "vitest";
import { gpt2Rule, initialize, kaimingUniform, normal } from "./init.ts";
import { isDecayed, isNorm, isResidualOutput } from "./names.ts";

const deviation = (values: Float32Array): number => {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
};

describe("names", () => {
  it("tell norms, residual outputs and what decays", () => {
    const norms = [
      "h.0.ln_1.weight",
      "transformer.ln_f.bias",
      "model.norm.weight",
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.self_attn.q_norm.weight",
      "encoder.layer.0.output.LayerNorm.weight",
    ];
    const matrices = ["h.0.attn.c_attn.weight", "wte.weight", "model.layers.0.mlp.gate_proj.weight", "lm_head.weight"];
    for (const name of norms) expect([name, isNorm(name), isDecayed(name)]).toEqual([name, true, false]);
    for (const name of matrices) expect([name, isNorm(name), isDecayed(name)]).toEqual([name, false, true]);
    expect(isDecayed("h.0.attn.c_attn.bias")).toBe(false);
    expect(["h.0.mlp.c_proj.weight", "model.layers.3.mlp.down_proj.weight"].every(isResidualOutput)).toBe(true);
    expect(isResidualOutput("h.0.mlp.c_fc.weight")).toBe(false);
  });
});

describe("gpt2Rule", () => {
  const shapes = {
    "wte.weight": [400, 64],
    "h.0.attn.c_proj.weight": [160, 160],
    "h.0.attn.c_proj.bias": [64],
    "h.0.ln_1.weight": [64],
    "h.0.ln_1.bias": [64],
  };

  it("scales residual outputs by 1 / sqrt(2 L), zeroes biases, sets norms to one", () => {
    const parameters = initialize(shapes, gpt2Rule({ layers: 8, std: 0.02 }), 1);
    // 25,600 samples: the estimate's own spread is 0.44%, five of them are 2.2%.
    expect(deviation(parameters["wte.weight"].data) / 0.02).toBeCloseTo(1, 1.65);
    expect(deviation(parameters["h.0.attn.c_proj.weight"].data) / (0.02 / 4)).toBeCloseTo(1, 1.65);
    expect(new Set(parameters["h.0.attn.c_proj.bias"].data)).toEqual(new Set([0]));
    expect(new Set(parameters["h.0.ln_1.weight"].data)).toEqual(new Set([1]));
    expect(new Set(parameters["h.0.ln_1.bias"].data)).toEqual(new Set([0]));
  });

  it("depends on seed and name alone, not on the company", () => {
    const rule = gpt2Rule({ layers: 2 });
    const alone = initialize({ "wte.weight": [400, 64] }, rule, 1)["wte.weight"];
    expect(initialize(shapes, rule, 1)["wte.weight"]).toEqual(alone);
    expect(initialize(shapes, rule, 2)["wte.weight"].data[0]).not.toBe(alone.data[0]);
    expect(initialize({ "wpe.weight": [400, 64] }, () => normal(0.02), 1)["wpe.weight"].data[0]).not.toBe(
      alone.data[0],
    );
  });
});

describe("kaimingUniform", () => {
  it("is bounded by 1 / sqrt(fanIn) with the default slope and has the variance of a uniform", () => {
    const linear = initialize({ w: [100, 256] }, () => kaimingUniform(), 3).w.data;
    const bound = 1 / 16;
    expect(Math.max(...linear.map(Math.abs))).toBeLessThanOrEqual(bound);
    expect(deviation(linear) / (bound / Math.sqrt(3))).toBeCloseTo(1, 1.65);
  });

  it("takes the first axis for [in, out] weights, and the ReLU bound for slope 0", () => {
    const w = initialize({ w: [6, 4000] }, () => kaimingUniform({ slope: 0, fanIn: "first" }), 3).w.data;
    expect(Math.max(...w)).toBeGreaterThan(0.99);
    expect(Math.max(...w.map(Math.abs))).toBeLessThanOrEqual(1); // sqrt(6 / 6)
  });
});
