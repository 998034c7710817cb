"""Tiny random T5 checkpoints with their exact outputs: tests/fixtures/t5 and t5-gated.

Each folder holds config.json and model.safetensors as Hugging Face lays them out, and reference.safetensors:
  input_ids, attention_mask [B,T] int32; embeddings [B,S,C], what the decoder reads; cotangent [B,S,C];
  encoder.hidden.0 .., encoder.attention.0 .., encoder.final [B,T,C]; the same of decoder, and decoder.cross.0 ..
  [B,H,S,T]; loss = sum(decoder.final * cotangent); grad.<parameter> for every parameter; grad.embeddings.
t5 is T5 1.0 (relu, embeddings tied to the head) with more tokens than its farthest distance; its file carries what
the first published ones do: copies of the embeddings and a table of positions that nothing reads.
t5-gated is T5 1.1 and FLAN-T5 (gated GELU, a head of its own, unequal depths), the buckets left at their defaults. It
adds buckets.bidirectional and buckets.unidirectional [281] int32: those of distances -140 .. 140.
"""

import numpy as np
import torch

import safetensors_file
from architectures import relative_buckets, t5
from reference_models import COMMON, float32, gradients, int32, leaves, random_parameters, save

PLAIN = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 24,
    "d_kv": 6,
    "d_model": 16,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "relu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-6,
    "n_positions": 512,
    "num_heads": 2,
    "num_layers": 2,
    "pad_token_id": 0,
    "relative_attention_max_distance": 10,
    "relative_attention_num_buckets": 8,
    "tie_word_embeddings": True,
    "use_cache": True,
    "vocab_size": 40,
    **COMMON,
}
LEFT_OUT = ("n_positions", "relative_attention_max_distance", "relative_attention_num_buckets")
GATED = {
    **{key: value for key, value in PLAIN.items() if key not in LEFT_OUT},
    "d_kv": 8,
    "feed_forward_proj": "gated-gelu",
    "num_decoder_layers": 2,
    "num_layers": 1,
    "tie_word_embeddings": False,
}


def reference(config, parameters, random, length, prompts):
    """B = 2 rows, the second with four pads at its end."""
    p = leaves(parameters)
    ids = torch.tensor(random.integers(2, config["vocab_size"], (2, length)))
    mask = torch.ones(2, length, dtype=torch.long)
    ids[1, -4:] = config["pad_token_id"]
    mask[1, -4:] = 0
    shape = (2, prompts, config["d_model"])
    given, cotangent = (random.standard_normal(shape).astype(np.float32) for _ in range(2))
    read = leaves({"embeddings": given})
    encoder, decoder = t5(config, p, ids, mask, read["embeddings"])
    loss = (decoder["final"] * torch.tensor(cotangent).double()).sum()
    tensors = {"input_ids": int32(ids), "attention_mask": int32(mask), "embeddings": given, "cotangent": cotangent}
    for side, result in (("encoder", encoder), ("decoder", decoder)):
        tensors[f"{side}.final"] = float32(result["final"])
        for part in ("hidden", "attention", "cross"):
            for layer, value in enumerate(result[part]):
                tensors[f"{side}.{part}.{layer}"] = float32(value)
    tensors.update(loss=float32(loss), **gradients(loss, {**p, **read}))
    return tensors


def weights(config, random):
    """Sizes as in T5's own start: embeddings and positions of size 1, queries that carry the scale of the scores."""
    parameters = random_parameters(config, random)
    for name in parameters:
        if name == "shared.weight" or "relative_attention_bias" in name:
            parameters[name] *= 4
        elif name.endswith(".q.weight"):
            parameters[name] *= 0.5
    return parameters


def write(folder):
    random = np.random.default_rng(20_000)
    parameters = weights(PLAIN, random)
    tensors = reference(PLAIN, parameters, random, length=15, prompts=13)
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    copies = {f"{side}.embed_tokens.weight": parameters["shared.weight"] for side in ("encoder", "decoder")}
    table = random.standard_normal((8, 2)).astype(np.float32)
    save(folder / "t5", PLAIN, {**parameters, **copies, unread: table})
    safetensors_file.write(folder / "t5" / "reference.safetensors", tensors)

    random = np.random.default_rng(21_000)
    parameters = weights(GATED, random)
    tensors = reference(GATED, parameters, random, length=9, prompts=5)
    distances = torch.arange(-140, 141)
    for name, bidirectional in (("bidirectional", True), ("unidirectional", False)):
        tensors[f"buckets.{name}"] = int32(relative_buckets(distances, bidirectional, 32, 128))
    head = random.standard_normal((GATED["vocab_size"], GATED["d_model"])).astype(np.float32)
    save(folder / "t5-gated", GATED, {**parameters, "lm_head.weight": head})
    safetensors_file.write(folder / "t5-gated" / "reference.safetensors", tensors)
    return "t5: t5, t5-gated"
