"""Tiny random checkpoints of each architecture with their exact outputs: tests/fixtures/<name>/.

Each folder holds config.json and model.safetensors as Hugging Face lays them out, and reference.safetensors:
  input_ids [B,T] int32; hidden.0 .. hidden.L [B,T,C] (embeddings, then each block's output, before a final norm);
  attention.0 .. [B,H,T,T]; loss []; grad.<parameter> for every parameter that the loss depends on.
Decoders add: logits [B,T,V]; loss_mask [B,T] (1 where token t counts as a target, see next_token_loss);
  greedy_ids [12], the continuation of row 0. The plain llama adds beam.* and group.* (see beams.py).
Encoders add: attention_mask, token_type_ids [B,T] int32; cotangent [B,T,C] (zero at pads): loss = sum(hidden.L *
  cotangent), so the pooler has no gradient; pooled [B,C]; embedding [B,C] = mean over real tokens, unit length.
Those named -memory have memory layers (memory_layers.py).
gpt2-hub is gpt2 as the hub has it: no "transformer." prefix, and the causal masks saved as h.N.attn.bias buffers.
"""

import json

import numpy as np
import torch

import safetensors_file
from architectures import ENCODERS, FORWARD, next_token_loss, parameter_shapes
from beams import Unsuitable, beam_search, group_beam_search, require

COMMON = {"torch_dtype": "float32", "transformers_version": "4.46.0", "initializer_range": 0.02}

GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "activation_function": "gelu_new",
    "attn_pdrop": 0.1,
    "bos_token_id": 0,
    "embd_pdrop": 0.1,
    "eos_token_id": 0,
    "layer_norm_epsilon": 1e-5,
    "n_ctx": 32,
    "n_embd": 24,
    "n_head": 4,
    "n_inner": None,
    "n_layer": 2,
    "n_positions": 32,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.1,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "use_cache": True,
    "vocab_size": 56,
    **COMMON,
}

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 24,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "mlp_bias": False,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 56,
    **COMMON,
}


def kin_of_llama(model_type, architecture, changes, without=("attention_bias", "mlp_bias", "pretraining_tp")):
    config = {key: value for key, value in LLAMA.items() if key not in without}
    return {**config, "model_type": model_type, "architectures": [architecture], **changes}


BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 24,
    "intermediate_size": 40,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 24,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 56,
    **COMMON,
}

def with_memory(config, **memory):
    return {**config, "memory": {"slots": 16, "heads": 2, "knn": 3, "keyWidth": 8, "valueWidth": 10, **memory}}


CONFIGS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "llama-tied": {
        **LLAMA,
        "hidden_size": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
        "vocab_size": 49,
    },
    # Head size 8 and an original length of 64 put one frequency into the unchanged, one into the interpolated and
    # two into the stretched band.
    "llama-scaled": {
        **LLAMA,
        "head_dim": 8,
        "hidden_size": 16,
        "max_position_embeddings": 512,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_scaling": {
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 64,
            "rope_type": "llama3",
        },
    },
    "mistral": kin_of_llama("mistral", "MistralForCausalLM", {"sliding_window": 4, "num_key_value_heads": 2}),
    # The window is stated but switched off, as in the published checkpoints: it must not be applied.
    "qwen2": kin_of_llama(
        "qwen2",
        "Qwen2ForCausalLM",
        {
            "hidden_size": 16,
            "max_window_layers": 2,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "sliding_window": 4,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
    ),
    "qwen3": kin_of_llama(
        "qwen3",
        "Qwen3ForCausalLM",
        {
            "attention_bias": False,
            "head_dim": 8,
            "hidden_size": 16,
            "max_window_layers": 2,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "use_sliding_window": False,
        },
    ),
    "bert": BERT,
    "xlm-roberta": {
        **BERT,
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "bos_token_id": 0,
        "eos_token_id": 2,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 26,
        "output_past": True,
        "pad_token_id": 1,
        "type_vocab_size": 1,
    },
}
CONFIGS.update(
    {
        "gpt2-memory": with_memory(GPT2, layers=[1], form="add", gate=True),
        "llama-memory": with_memory(LLAMA, layers=[0, 1], form="replace"),
        "qwen2-memory": with_memory(CONFIGS["qwen2"], layers=[1], form="replace", gate=True, normalise=True),
        "qwen3-memory": with_memory(CONFIGS["qwen3"], layers=[0], form="add", normalise=True, temperature=12.0),
    }
)


def random_parameters(config, random, std=0.25):
    """float32 arrays large enough that logits are far from flat: norms 1 +- 0.1, biases 0.1, matrices `std`."""
    parameters = {}
    for name, shape in parameter_shapes(config).items():
        values = random.standard_normal(shape)
        if name.endswith(".bias"):
            values = values * 0.1
        elif len(shape) == 1:
            values = 1 + values * 0.1
        else:
            values = values * std
        parameters[name] = values.astype(np.float32)
    return parameters


def leaves(parameters):
    return {name: torch.tensor(value.astype(np.float64), requires_grad=True) for name, value in parameters.items()}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def float32(tensor):
    return np.ascontiguousarray(tensor.detach().numpy().astype(np.float32)).reshape(tuple(tensor.shape))


def int32(values):
    return np.asarray(values, dtype=np.int32)


def states(result):
    tensors = {f"hidden.{layer}": float32(value) for layer, value in enumerate(result["hidden"])}
    tensors.update({f"attention.{layer}": float32(value) for layer, value in enumerate(result["attention"])})
    return tensors


def gradients(loss, p):
    found = torch.autograd.grad(loss, list(p.values()), allow_unused=True)
    return {f"grad.{name}": float32(value) for name, value in zip(p, found) if value is not None}


def greedy(forward, config, p, prompt, steps):
    ids = list(prompt)
    for _ in range(steps):
        logits = forward(config, p, torch.tensor([ids]))["logits"][0, -1]
        first, second = torch.topk(logits, 2).values
        require(first - second > 1e-2, "a near tie")
        ids.append(int(logits.argmax()))
    return ids[len(prompt) :]


def decoder_reference(config, parameters, random, searches):
    forward, p = FORWARD[config["model_type"]], leaves(parameters)
    ids = torch.tensor(random.integers(0, config["vocab_size"], (2, 9)))
    mask = torch.ones(2, 9)
    mask[:, 0] = 0  # the first token has nothing before it
    mask[0, 4] = mask[1, 2] = mask[1, 8] = 0
    result = forward(config, p, ids)
    loss = next_token_loss(result["logits"], ids, mask)
    tensors = {"input_ids": int32(ids), "loss_mask": float32(mask), "logits": float32(result["logits"])}
    tensors.update(loss=float32(loss), **states(result), **gradients(loss, p))
    prompt = ids[0].tolist()
    with torch.no_grad():
        new = greedy(forward, config, p, prompt, 12)
        require(len(set(new)) >= 5, "a dull continuation")
        tensors["greedy_ids"] = int32(new)
        if searches:

            def log_probs(tokens):
                logits = forward(config, p, torch.tensor([tokens]))["logits"][0, -1]
                return torch.log_softmax(logits, -1).tolist()

            found = beam_search(log_probs, prompt, beams=3, steps=8, length_penalty=1.0)
            require(found[0][0] != new[:8], "beam search equals greedy")
            diverse = group_beam_search(log_probs, prompt, beams=4, groups=2, steps=8, diversity_penalty=0.5)
            for name, hypotheses in (("beam", found), ("group", diverse)):
                for index, part in enumerate(("ids", "log_probs", "scores")):
                    values = [hypothesis[index] for hypothesis in hypotheses]
                    tensors[f"{name}.{part}"] = int32(values) if part == "ids" else np.array(values, dtype=np.float32)
    return tensors


def encoder_reference(config, parameters, random):
    p, pad = leaves(parameters), config["pad_token_id"]
    ids = torch.tensor(random.integers(3, config["vocab_size"], (2, 9)))
    ids[1, 6:] = pad
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    types = torch.zeros(2, 9, dtype=torch.long)
    if config["type_vocab_size"] > 1:
        types[0, 5:] = types[1, 3:6] = 1
    result = ENCODERS[config["model_type"]](config, p, ids, mask, types)
    last = result["hidden"][-1]
    cotangent = torch.tensor(random.standard_normal(last.shape).astype(np.float32)) * mask[..., None]
    loss = (last * cotangent.double()).sum()
    tensors = {"input_ids": int32(ids), "attention_mask": int32(mask), "token_type_ids": int32(types)}
    tensors.update(cotangent=float32(cotangent), loss=float32(loss), **states(result), **gradients(loss, p))
    tensors.update(pooled=float32(result["pooled"]), embedding=float32(result["embedding"]))
    return tensors


def hub_gpt2(parameters, config):
    """The layout of the published GPT-2 file: base model names, mask buffers among the weights."""
    size = config["n_ctx"]
    tensors = {name.removeprefix("transformer."): value for name, value in parameters.items()}
    for layer in range(config["n_layer"]):
        tensors[f"h.{layer}.attn.bias"] = np.tril(np.ones((size, size), dtype=np.float32))[None, None]
    return dict(sorted(tensors.items()))


def write(folder):
    for index, (name, config) in enumerate(CONFIGS.items()):
        parameters, tensors = first_suitable(name, config, 1000 * (index + 1))
        stored = dict(parameters)
        if name == "bert":  # older checkpoints carry this buffer: a reader has to pass over it
            stored["embeddings.position_ids"] = np.arange(config["max_position_embeddings"], dtype=np.int64)[None]
        save(folder / name, config, stored)
        safetensors_file.write(folder / name / "reference.safetensors", tensors)
        if name == "gpt2":
            save(folder / "gpt2-hub", config, hub_gpt2(parameters, config))
    return f"models: {', '.join(CONFIGS)}, gpt2-hub"


def first_suitable(name, config, seed):
    """Weights and outputs from the first seed, counting up, whose outputs make a telling fixture."""
    while True:
        random = np.random.default_rng(seed)
        parameters = random_parameters(config, random)
        try:
            if config["model_type"] in ENCODERS:
                return parameters, encoder_reference(config, parameters, random)
            return parameters, decoder_reference(config, parameters, random, searches=name == "llama")
        except Unsuitable:
            seed += 1


def save(folder, config, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    safetensors_file.write(folder / "model.safetensors", tensors, metadata={"format": "pt"})
