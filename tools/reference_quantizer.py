"""Vector quantisers in PyTorch: tests/fixtures/quantizer.json and quantizer.safetensors.

Straight-through quantisation with codebook and commitment loss, for one codebook, residual codebooks and one codebook
per slot; each case has x, codebook, upstream (what the gradient of the output is), and optionally mask, and as results
indices, quantized, codebook_loss, commitment_loss, grad.x and grad.codebook of
  sum(upstream * quantized) + LAMBDA * (codebook_loss + BETA * commitment_loss).
"average": a codebook moved by exponential moving averages with Laplace smoothing over STEPS batches, each quantised by
the codebook before it; vectors [steps,N,D], indices [steps,N], codes [steps,K,D], counts [steps,K].
"""

import json

import numpy as np
import torch

import safetensors_file

BETA, LAMBDA = 0.25, 0.7
DECAY, SMOOTHING, STEPS = 0.9, 1e-3, 12
# name, shape of x (the last axis is D, the one before it T), shape of the codebooks, masked
CASES = [
    ("token", (2, 5, 6), (8, 6), False),
    ("token-masked", (3, 4, 5), (7, 5), True),
    ("residual", (2, 4, 6), (3, 8, 6), False),
    ("residual-masked", (3, 4, 5), (2, 6, 5), True),
    ("slot", (3, 4, 6), (4, 8, 6), False),
    ("slot-masked", (3, 4, 5), (4, 6, 5), True),
]


def nearest(x, codes):
    """Index of the nearest row of codes [K,D] for each row of x [N,D], by differences and not by products."""
    return ((x[:, None] - codes[None]) ** 2).sum(-1).argmin(-1)


def losses(x, code, mask):
    def mean(values):
        return (values.mean(-1) * mask).sum() / mask.sum()

    return mean((x.detach() - code) ** 2), mean((x - code.detach()) ** 2)


def quantize(kind, x, codebook, mask):
    """Indices, straight-through output, codebook loss, commitment loss of x [B,T,D]."""
    flat = x.reshape(-1, x.shape[-1])
    if kind == "token":
        indices = nearest(flat, codebook).reshape(x.shape[:-1])
        code = codebook[indices]
        first, second = losses(x, code, mask)
    elif kind == "slot":
        indices = torch.stack([nearest(x[:, t], codebook[t]) for t in range(x.shape[1])], 1)
        code = torch.stack([codebook[t][indices[:, t]] for t in range(x.shape[1])], 1)
        first, second = losses(x, code, mask)
    else:
        rest, code, first, second, found = x, 0, 0, 0, []
        for book in codebook:
            index = nearest(rest.reshape(-1, x.shape[-1]), book).reshape(x.shape[:-1])
            own = book[index]
            a, b = losses(rest, own, mask)
            first, second, code = first + a, second + b, code + own
            rest = rest - own.detach()
            found.append(index)
        indices = torch.stack(found, -1)
    return indices, x + (code - x).detach(), first, second


def average(random, tensors):
    vectors = random.standard_normal((STEPS, 20, 4)).astype(np.float32)
    start = random.standard_normal((6, 4)).astype(np.float32)
    codes = torch.tensor(start, dtype=torch.float64)
    counts, sums = torch.ones(6, dtype=torch.float64), codes.clone()
    trace = {"indices": [], "codes": [], "counts": []}
    for batch in torch.tensor(vectors, dtype=torch.float64):
        indices = nearest(batch, codes.float().double())
        onehot = torch.nn.functional.one_hot(indices, 6).double()
        counts = DECAY * counts + (1 - DECAY) * onehot.sum(0)
        sums = DECAY * sums + (1 - DECAY) * onehot.T @ batch
        total = counts.sum()
        codes = sums / ((counts + SMOOTHING) / (total + 6 * SMOOTHING) * total)[:, None]
        trace["indices"].append(indices.numpy().astype(np.int32))
        trace["codes"].append(codes.numpy().astype(np.float32))
        trace["counts"].append(counts.numpy().astype(np.float32))
    tensors["average.vectors"], tensors["average.start"] = vectors, start
    for key, values in trace.items():
        tensors[f"average.{key}"] = np.stack(values)


def write(folder):
    random = np.random.default_rng(11)
    tensors = {}
    for name, shape, books, masked in CASES:
        values = {
            "x": random.standard_normal(shape),
            "codebook": random.standard_normal(books),
            "upstream": random.standard_normal(shape),
            "mask": (random.random(shape[:-1]) < 0.6) if masked else np.ones(shape[:-1]),
        }
        values = {key: value.astype(np.float32) for key, value in values.items()}
        x, codebook, upstream, mask = (torch.tensor(value, dtype=torch.float64) for value in values.values())
        x.requires_grad_(), codebook.requires_grad_()
        indices, quantized, first, second = quantize(name.split("-")[0], x, codebook, mask)
        ((upstream * quantized).sum() + LAMBDA * (first + BETA * second)).backward()
        for key, value in values.items():
            tensors[f"{name}.{key}"] = value
        tensors[f"{name}.indices"] = indices.numpy().astype(np.int32)
        results = {"quantized": quantized, "codebook_loss": first, "commitment_loss": second}
        for key, value in {**results, "grad.x": x.grad, "grad.codebook": codebook.grad}.items():
            tensors[f"{name}.{key}"] = value.detach().numpy().astype(np.float32)
    average(random, tensors)
    description = {
        "cases": [name for name, *_ in CASES],
        "commitment": BETA,
        "weight": LAMBDA,
        "average": {"decay": DECAY, "smoothing": SMOOTHING, "steps": STEPS},
    }
    (folder / "quantizer.json").write_text(json.dumps(description, indent=1) + "\n")
    safetensors_file.write(folder / "quantizer.safetensors", tensors)
    return f"quantizer: {len(CASES)} cases, {STEPS} steps of averages"
