"""The transformers that src/models loads, as plain PyTorch functions over a dict of named parameters.

Written from the architectures' definitions with Hugging Face's tensor names and config.json fields; no dropout.
Every forward returns a dict: hidden (list: embeddings, then the output of each block, before any final norm),
attention (list of [B,H,T,T] probabilities) and logits (decoders) or hidden[-1] as the result (encoders); t5 returns
two, of its encoder and its decoder, with the final states of each.
Decoders pass the output of every sub-layer through `after(name, output)` on its way to the residual sum.
Letters: B batch, T length, C width, H query heads, K key/value heads, D head size, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F

from memory_layers import add_layer_shapes, add_pool_shape, feed_forward, has_dense, memory_layers


def layer_norm(p, name, x, eps):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps)


def rms_norm(weight, x, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def split_heads(x, heads):
    """[B,T,H*D] -> [B,H,T,D]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x):
    """[B,H,T,D] -> [B,T,H*D]"""
    return x.transpose(1, 2).flatten(2)


def attend(q, k, v, visible):
    """Softmax attention; `visible` is a bool mask that broadcasts to [B,H,T,S]. Grouped: head h reads h // (H/K)."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    probabilities = torch.softmax(scores.masked_fill(~visible, -math.inf), -1)
    return probabilities @ v, probabilities


def causal_mask(length, window=None):
    """[T,T]: query i sees key j when j <= i and, with a sliding window, i - j < window."""
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    return (distance >= 0) & (distance < (window or length))


def untouched(_name, output):
    return output


def gpt2(config, p, ids, after=untouched):
    """GPT-2: pre-LN, learned positions, fused qkv. Conv1D weights are stored [in,out]; the head is the embedding."""
    length = ids.shape[1]

    def conv1d(name, x):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    eps = config["layer_norm_epsilon"]
    x = p["transformer.wte.weight"][ids] + p["transformer.wpe.weight"][:length]
    hidden, attention = [x], []
    for layer in range(config["n_layer"]):
        name = f"transformer.h.{layer}"
        qkv = conv1d(f"{name}.attn.c_attn", layer_norm(p, f"{name}.ln_1", x, eps))
        q, k, v = (split_heads(part, config["n_head"]) for part in qkv.chunk(3, -1))
        mixed, probabilities = attend(q, k, v, causal_mask(length))
        x = x + after(f"{name}.attn", conv1d(f"{name}.attn.c_proj", merge_heads(mixed)))
        h = layer_norm(p, f"{name}.ln_2", x, eps)

        def dense(name=name, h=h):
            return conv1d(f"{name}.mlp.c_proj", F.gelu(conv1d(f"{name}.mlp.c_fc", h), approximate="tanh"))

        x = x + after(*feed_forward(config, p, "transformer", name, layer, h, dense, transposed=True))
        hidden.append(x)
        attention.append(probabilities)
    logits = layer_norm(p, "transformer.ln_f", x, eps) @ p["transformer.wte.weight"].T
    return {"hidden": hidden, "attention": attention, "logits": logits}


def head_size(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def inverse_frequencies(config):
    """Rotary frequencies [D/2]; with rope_type llama3, long wavelengths are stretched and the middle interpolated."""
    size = head_size(config)
    frequencies = config["rope_theta"] ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    scaling = config.get("rope_scaling")
    if not scaling:
        return frequencies
    factor, low, high = (scaling[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = scaling["original_max_position_embeddings"]
    wavelength = 2 * math.pi / frequencies
    smooth = (original / wavelength - low) / (high - low)
    middle = (1 - smooth) * frequencies / factor + smooth * frequencies
    stretched = torch.where(wavelength > original / low, frequencies / factor, middle)
    return torch.where(wavelength < original / high, frequencies, stretched)


def rotate(x, cos, sin):
    """Half-split rotation of [B,H,T,D] by tables [T,D/2]."""
    x1, x2 = x.chunk(2, -1)
    return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1)


def llama(config, p, ids, after=untouched):
    """Llama and its kin: mistral adds a sliding window, qwen2 biases on q/k/v, qwen3 RMSNorm on each q and k head.

    Biases and head norms are used where the parameters exist, so the four share this function.
    """
    length, eps = ids.shape[1], config["rms_norm_eps"]
    angles = torch.arange(length, dtype=torch.float64)[:, None] * inverse_frequencies(config)
    cos, sin = angles.cos(), angles.sin()
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    x = p["model.embed_tokens.weight"][ids]
    hidden, attention = [x], []
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        h = rms_norm(p[f"{name}.input_layernorm.weight"], x, eps)
        q = split_heads(linear(p, f"{name}.self_attn.q_proj", h), config["num_attention_heads"])
        k = split_heads(linear(p, f"{name}.self_attn.k_proj", h), config["num_key_value_heads"])
        v = split_heads(linear(p, f"{name}.self_attn.v_proj", h), config["num_key_value_heads"])
        if f"{name}.self_attn.q_norm.weight" in p:
            q = rms_norm(p[f"{name}.self_attn.q_norm.weight"], q, eps)
            k = rms_norm(p[f"{name}.self_attn.k_norm.weight"], k, eps)
        mixed, probabilities = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, causal_mask(length, window))
        x = x + after(f"{name}.self_attn", linear(p, f"{name}.self_attn.o_proj", merge_heads(mixed)))
        h = rms_norm(p[f"{name}.post_attention_layernorm.weight"], x, eps)

        def dense(name=name, h=h):
            gate = F.silu(linear(p, f"{name}.mlp.gate_proj", h))
            return linear(p, f"{name}.mlp.down_proj", gate * linear(p, f"{name}.mlp.up_proj", h))

        x = x + after(*feed_forward(config, p, "model", name, layer, h, dense))
        hidden.append(x)
        attention.append(probabilities)
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    logits = rms_norm(p["model.norm.weight"], x, eps) @ p[f"{head}.weight"].T
    return {"hidden": hidden, "attention": attention, "logits": logits}


def bert(config, p, ids, mask, token_types):
    """BERT and XLM-RoBERTa encoders: post-LN, exact GELU. Keys where mask [B,T] is 0 are seen by no query.

    XLM-RoBERTa counts positions over the non-pad tokens from pad_token_id + 1 on; pads get pad_token_id itself.
    """
    eps = config["layer_norm_eps"]
    if config["model_type"] == "xlm-roberta":
        real = (ids != config["pad_token_id"]).long()
        positions = real.cumsum(1) * real + config["pad_token_id"]
    else:
        positions = torch.arange(ids.shape[1])[None, :]
    x = p["embeddings.word_embeddings.weight"][ids] + p["embeddings.position_embeddings.weight"][positions]
    x = layer_norm(p, "embeddings.LayerNorm", x + p["embeddings.token_type_embeddings.weight"][token_types], eps)
    hidden, attention = [x], []
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        heads = [
            split_heads(linear(p, f"{name}.attention.self.{part}", x), config["num_attention_heads"])
            for part in ("query", "key", "value")
        ]
        mixed, probabilities = attend(*heads, mask.bool()[:, None, None, :])
        mixed = linear(p, f"{name}.attention.output.dense", merge_heads(mixed))
        x = layer_norm(p, f"{name}.attention.output.LayerNorm", x + mixed, eps)
        inner = F.gelu(linear(p, f"{name}.intermediate.dense", x))
        x = layer_norm(p, f"{name}.output.LayerNorm", x + linear(p, f"{name}.output.dense", inner), eps)
        hidden.append(x)
        attention.append(probabilities)
    pooled = torch.tanh(linear(p, "pooler.dense", x[:, 0]))
    weights = mask.to(x.dtype)[..., None]
    embedding = F.normalize((x * weights).sum(1) / weights.sum(1), dim=-1)
    return {"hidden": hidden, "attention": attention, "pooled": pooled, "embedding": embedding}


def relative_buckets(distance, bidirectional, buckets, max_distance):
    """T5's bucket of each distance key - query: one each while near, then on a logarithmic scale to max_distance."""
    first = torch.zeros_like(distance)
    if bidirectional:
        buckets //= 2
        first = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    part = torch.log(distance.clamp(min=1).double() / exact) / math.log(max_distance / exact)
    far = exact + (part * (buckets - exact)).long()
    return first + torch.where(distance < exact, distance, far.clamp(max=buckets - 1))


def t5_attention(config, p, name, x, states, bias):
    """Unscaled attention of x to states; bias is added to the scores and hides with -inf."""
    q = split_heads(linear(p, f"{name}.q", x), config["num_heads"])
    k = split_heads(linear(p, f"{name}.k", states), config["num_heads"])
    v = split_heads(linear(p, f"{name}.v", states), config["num_heads"])
    probabilities = torch.softmax(q @ k.transpose(-1, -2) + bias, -1)
    return linear(p, f"{name}.o", merge_heads(probabilities @ v)), probabilities


def t5_stack(config, p, side, x, visible, states=None, states_visible=None):
    """T5's encoder, or its decoder where states are given: pre-RMSNorm, no biases, one table of relative positions.

    Masks are bool and broadcast to [B,1,T,S]. Returns hidden, attention, cross (of decoders) and final.
    """
    eps = config.get("layer_norm_epsilon", 1e-6)

    def hidden_as(mask):
        return torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, -math.inf)

    steps = torch.arange(x.shape[1])
    buckets = relative_buckets(
        steps[None, :] - steps[:, None],
        side == "encoder",
        config.get("relative_attention_num_buckets", 32),
        config.get("relative_attention_max_distance", 128),
    )
    table = p[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    bias = table[buckets].permute(2, 0, 1)[None] + hidden_as(visible)
    gated = config.get("feed_forward_proj", "relu") == "gated-gelu"
    hidden, attention, cross = [x], [], []
    for layer in range(t5_layers(config)[side]):
        name = f"{side}.block.{layer}.layer"
        h = rms_norm(p[f"{name}.0.layer_norm.weight"], x, eps)
        mixed, probabilities = t5_attention(config, p, f"{name}.0.SelfAttention", h, h, bias)
        x = x + mixed
        attention.append(probabilities)
        if states is not None:
            h = rms_norm(p[f"{name}.1.layer_norm.weight"], x, eps)
            mixed, probabilities = t5_attention(
                config, p, f"{name}.1.EncDecAttention", h, states, hidden_as(states_visible)
            )
            x = x + mixed
            cross.append(probabilities)
        name = f"{name}.{1 if states is None else 2}"
        h = rms_norm(p[f"{name}.layer_norm.weight"], x, eps)
        if gated:
            inner = F.gelu(linear(p, f"{name}.DenseReluDense.wi_0", h), approximate="tanh")
            inner = inner * linear(p, f"{name}.DenseReluDense.wi_1", h)
        else:
            inner = F.relu(linear(p, f"{name}.DenseReluDense.wi", h))
        x = x + linear(p, f"{name}.DenseReluDense.wo", inner)
        hidden.append(x)
    final = rms_norm(p[f"{side}.final_layer_norm.weight"], x, eps)
    return {"hidden": hidden, "attention": attention, "cross": cross, "final": final}


def t5_layers(config):
    return {"encoder": config["num_layers"], "decoder": config.get("num_decoder_layers", config["num_layers"])}


def t5(config, p, ids, mask, embeddings):
    """The encoder over tokens [B,T] with mask [B,T], the decoder over given embeddings [B,S,C]: both results."""
    seen = mask.bool()[:, None, None, :]
    encoder = t5_stack(config, p, "encoder", p["shared.weight"][ids], seen)
    causal = causal_mask(embeddings.shape[1])[None, None]
    return encoder, t5_stack(config, p, "decoder", embeddings, causal, encoder["final"], seen)


def t5_shapes(config):
    """Names and shapes of T5's parameters without the head, in the order Hugging Face lists them."""
    width, inner, size = config["d_model"], config["d_ff"], config["num_heads"] * config["d_kv"]
    gated = config.get("feed_forward_proj", "relu").startswith("gated-")
    shapes = {"shared.weight": [config["vocab_size"], width]}
    for side, layers in t5_layers(config).items():
        attentions = ["SelfAttention", "EncDecAttention"][: 1 if side == "encoder" else 2]
        for layer in range(layers):
            for index, part in enumerate(attentions):
                name = f"{side}.block.{layer}.layer.{index}"
                for projection in "qkv":
                    shapes[f"{name}.{part}.{projection}.weight"] = [size, width]
                shapes[f"{name}.{part}.o.weight"] = [width, size]
                if layer == 0 and index == 0:
                    table = [config.get("relative_attention_num_buckets", 32), config["num_heads"]]
                    shapes[f"{name}.{part}.relative_attention_bias.weight"] = table
                shapes[f"{name}.layer_norm.weight"] = [width]
            name = f"{side}.block.{layer}.layer.{len(attentions)}"
            for part in ["wi_0", "wi_1"] if gated else ["wi"]:
                shapes[f"{name}.DenseReluDense.{part}.weight"] = [inner, width]
            shapes[f"{name}.DenseReluDense.wo.weight"] = [width, inner]
            shapes[f"{name}.layer_norm.weight"] = [width]
        shapes[f"{side}.final_layer_norm.weight"] = [width]
    return shapes


def next_token_loss(logits, ids, mask):
    """Mean cross-entropy of token t given the tokens before it, over the targets with mask[b,t] = 1 (t >= 1)."""
    nll = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = mask[:, 1:].flatten().to(nll.dtype)
    return (nll * weights).sum() / weights.sum()


FORWARD = {"gpt2": gpt2, "llama": llama, "mistral": llama, "qwen2": llama, "qwen3": llama}
ENCODERS = {"bert": bert, "xlm-roberta": bert}


def parameter_shapes(config):
    """Names and shapes of a config's parameters, in the order Hugging Face lists them."""
    shapes = {}

    def norm(name, size):
        shapes[f"{name}.weight"] = [size]
        shapes[f"{name}.bias"] = [size]

    def dense(name, outer, inner, bias=True, transposed=False):
        shapes[f"{name}.weight"] = [inner, outer] if transposed else [outer, inner]
        if bias:
            shapes[f"{name}.bias"] = [outer]

    if config["model_type"] == "t5":
        return t5_shapes(config)

    if config["model_type"] == "gpt2":
        width = config["n_embd"]
        shapes["transformer.wte.weight"] = [config["vocab_size"], width]
        shapes["transformer.wpe.weight"] = [config["n_positions"], width]
        for layer in range(config["n_layer"]):
            name = f"transformer.h.{layer}"
            norm(f"{name}.ln_1", width)
            dense(f"{name}.attn.c_attn", 3 * width, width, transposed=True)
            dense(f"{name}.attn.c_proj", width, width, transposed=True)
            norm(f"{name}.ln_2", width)
            if has_dense(config, layer):
                dense(f"{name}.mlp.c_fc", 4 * width, width, transposed=True)
                dense(f"{name}.mlp.c_proj", width, 4 * width, transposed=True)
            if layer in memory_layers(config):
                add_layer_shapes(shapes, dense, config["memory"], name, width, transposed=True)
        norm("transformer.ln_f", width)
        add_pool_shape(shapes, config, "transformer")
        return shapes

    width, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    if config["model_type"] in ENCODERS:
        tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
        for part, rows in tables.items():
            shapes[f"embeddings.{part}_embeddings.weight"] = [config[rows], width]
        norm("embeddings.LayerNorm", width)
        for layer in range(config["num_hidden_layers"]):
            name = f"encoder.layer.{layer}"
            for part in ("query", "key", "value"):
                dense(f"{name}.attention.self.{part}", width, width)
            dense(f"{name}.attention.output.dense", width, width)
            norm(f"{name}.attention.output.LayerNorm", width)
            dense(f"{name}.intermediate.dense", inner, width)
            dense(f"{name}.output.dense", width, inner)
            norm(f"{name}.output.LayerNorm", width)
        dense("pooler.dense", width, width)
        return shapes

    size, groups, bias = head_size(config), config["num_key_value_heads"], config["model_type"] == "qwen2"
    shapes["model.embed_tokens.weight"] = [config["vocab_size"], width]
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        dense(f"{name}.self_attn.q_proj", heads * size, width, bias)
        dense(f"{name}.self_attn.k_proj", groups * size, width, bias)
        dense(f"{name}.self_attn.v_proj", groups * size, width, bias)
        dense(f"{name}.self_attn.o_proj", width, heads * size, False)
        if config["model_type"] == "qwen3":
            shapes[f"{name}.self_attn.q_norm.weight"] = [size]
            shapes[f"{name}.self_attn.k_norm.weight"] = [size]
        if has_dense(config, layer):
            dense(f"{name}.mlp.gate_proj", inner, width, False)
            dense(f"{name}.mlp.up_proj", inner, width, False)
            dense(f"{name}.mlp.down_proj", width, inner, False)
        if layer in memory_layers(config):
            add_layer_shapes(shapes, dense, config["memory"], name, width)
        shapes[f"{name}.input_layernorm.weight"] = [width]
        shapes[f"{name}.post_attention_layernorm.weight"] = [width]
    shapes["model.norm.weight"] = [width]
    add_pool_shape(shapes, config, "model")
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [config["vocab_size"], width]
    return shapes
