"""Memory layers of the decoders in architectures.py, written from the definition: every slot is scored, none skipped.

Score of slot i * n + j by head h: q1 . K[h,0,i] + q2 . K[h,1,j]. A head weighs its knn best slots by a softmax; what all
heads read is added up and gated: W2 (bag * silu(W1 x)). `config["memory"]` has the fields of config.json.
"""

import math

import torch
import torch.nn.functional as F

from beams import require


def memory_layers(config):
    memory = config.get("memory")
    return memory["layers"] if memory else []


def has_dense(config, layer):
    return layer not in memory_layers(config) or config["memory"]["form"] == "add"


def add_layer_shapes(shapes, dense, memory, block, width, transposed=False):
    """Shapes of one layer; `dense` adds a linear layer to them."""
    name, heads, keys = f"{block}.memory", memory["heads"], memory["keyWidth"]
    dense(f"{name}.query", heads * keys, width, transposed=transposed)
    shapes[f"{name}.keys"] = [heads, 2, math.isqrt(memory["slots"]), keys // 2]
    dense(f"{name}.gate_proj", memory["valueWidth"], width, transposed=transposed)
    dense(f"{name}.down_proj", width, memory["valueWidth"], transposed=transposed)
    if memory.get("gate"):
        dense(f"{name}.relevance", 1, width, transposed=transposed)
    if memory["form"] == "add":
        shapes[f"{name}.scale"] = [1]


def add_pool_shape(shapes, config, root):
    if memory_layers(config):
        shapes[f"{root}.memory.values"] = [config["memory"]["slots"], config["memory"]["valueWidth"]]


def memory_layer(memory, p, name, values, x, transposed):
    def linear(part, inputs):
        weight = p[f"{name}.{part}.weight"]
        return inputs @ (weight if transposed else weight.T) + p[f"{name}.{part}.bias"]

    heads, knn = memory["heads"], memory["knn"]
    q = linear("query", x).unflatten(-1, (heads, 2, -1))  # [B,T,H,2,D/2]
    keys = p[f"{name}.keys"]  # [H,2,n,D/2]
    if memory.get("normalise"):
        q, keys = F.normalize(q, dim=-1), F.normalize(keys, dim=-1)
        q = q * memory.get("temperature", 20) / 2
    halves = torch.einsum("bthsd,hsnd->bthsn", q, keys)
    scores = (halves[..., 0, :, None] + halves[..., 1, None, :]).flatten(-2)  # [B,T,H,N]
    best, slots = torch.topk(scores, knn + 1)
    require(float((best[..., -2] - best[..., -1]).min()) > 1e-4, "a near tie between slots")
    weights = torch.softmax(best[..., :-1], -1)
    bag = (weights[..., None] * values[slots[..., :-1]]).sum((-2, -3))
    y = linear("down_proj", bag * F.silu(linear("gate_proj", x)))
    return y * torch.sigmoid(linear("relevance", x)) if memory.get("gate") else y


def feed_forward(config, p, root, block, layer, x, dense, transposed=False):
    """The path that adapters know and the output of a block's feed-forward part."""
    if layer not in memory_layers(config):
        return f"{block}.mlp", dense()
    memory, name = config["memory"], f"{block}.memory"
    y = memory_layer(memory, p, name, p[f"{root}.memory.values"], x, transposed)
    return (name, y) if memory["form"] == "replace" else (f"{block}.mlp", dense() + p[f"{name}.scale"] * y)
