"""Bottleneck adapters (Houlsby et al. 2019) in PyTorch: tests/fixtures/adapters/<name>.safetensors.

Each file belongs to the weights of tests/fixtures/<name> and holds the adapters behind every sub-layer
(<sub-layer>.adapter_down.weight [m,C], .bias [m], .adapter_up.weight [C,m], .bias [C]), input_ids, loss_mask, logits,
the loss, and grad.<tensor> of every adapter. The activation is the exact GELU.
"""

import json

import numpy as np
import torch
import torch.nn.functional as F

import safetensors_file
from architectures import FORWARD, next_token_loss
from reference_models import float32, gradients, int32, leaves

SIZE = 3
SUBLAYERS = {
    "llama": ("num_hidden_layers", "hidden_size", "model.layers", ("self_attn", "mlp")),
    "qwen2": ("num_hidden_layers", "hidden_size", "model.layers", ("self_attn", "mlp")),
    "gpt2": ("n_layer", "n_embd", "transformer.h", ("attn", "mlp")),
}


def adapters(config, names, random):
    layers, width, prefix, parts = names
    found = {}
    for layer in range(config[layers]):
        for part in parts:
            name = f"{prefix}.{layer}.{part}"
            for key, shape in {
                "adapter_down.weight": (SIZE, config[width]),
                "adapter_down.bias": (SIZE,),
                "adapter_up.weight": (config[width], SIZE),
                "adapter_up.bias": (config[width],),
            }.items():
                found[f"{name}.{key}"] = (random.standard_normal(shape) * 0.3).astype(np.float32)
    return found


def write(folder):
    target = folder / "adapters"
    target.mkdir(exist_ok=True)
    for index, (name, names) in enumerate(SUBLAYERS.items()):
        random = np.random.default_rng(700 + index)
        config = json.loads((folder / name / "config.json").read_text())
        p = leaves(safetensors_file.read(folder / name / "model.safetensors"))
        stored = adapters(config, names, random)
        a = leaves(stored)

        def after(path, y):
            hidden = F.gelu(F.linear(y, a[f"{path}.adapter_down.weight"], a[f"{path}.adapter_down.bias"]))
            return y + F.linear(hidden, a[f"{path}.adapter_up.weight"], a[f"{path}.adapter_up.bias"])

        ids = torch.tensor(random.integers(0, config["vocab_size"], (2, 7)))
        mask = torch.ones(2, 7)
        mask[0, 0] = mask[1, 0] = mask[1, 5] = 0
        logits = FORWARD[name](config, p, ids, after)["logits"]
        loss = next_token_loss(logits, ids, mask)
        tensors = {"input_ids": int32(ids), "loss_mask": float32(mask), "logits": float32(logits)}
        tensors.update(loss=float32(loss), **stored, **gradients(loss, a))
        safetensors_file.write(target / f"{name}.safetensors", tensors)
    return f"adapters: {', '.join(SUBLAYERS)}"
