/** What the words in a checkpoint's tensor names tell about a parameter's role. */

/** Gains and biases of normalisations: ln_1.weight, input_layernorm.weight, LayerNorm.bias, model.norm.weight ... */
export const isNorm = (name: string): boolean => /(^|[._])(ln|norm|layernorm)([._\d]|$)/i.test(name);

export const isBias = (name: string): boolean => /(^|\.)bias$/.test(name);

/** The projections that write into the residual stream. */
export const isResidualOutput = (name: string): boolean =>
  /\.(c_proj|o_proj|down_proj|output\.dense)\.weight$/.test(name);

/** A single factor on a layer's output. */
const isScale = (name: string): boolean => /(^|\.)scale$/.test(name);

/** The usual choice of what decays: matrices and tables, but no biases, norms and factors. */
export const isDecayed = (name: string): boolean => !isBias(name) && !isNorm(name) && !isScale(name);

/** What belongs to a memory: `<block>.memory.query.weight`, `<root>.memory.values` ... */
export const isMemory = (name: string): boolean => /(^|\.)memory\./.test(name);
