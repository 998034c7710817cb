"""Ten steps of each optimizer on two small tensors: tests/fixtures/optim.json and optim.safetensors.

optim.json: {parameters: [name], steps, dense: [case], sparse: case}. A dense case is {name, optimizer, options,
clip, schedule, learningRates (one per step), norms (before clipping, one per step) or null}. Tensors:
  initial.<parameter>; gradient.<parameter> [steps, ...]; <case>.<parameter> [steps, ...], the values after each step.
The sparse case is {name, optimizer, options, learningRates, table}; its tensors are sparse.initial [R,W],
sparse.rows [steps,n] int32, sparse.gradient [steps,n,W] (rows named twice in a step add up), sparse.table
[steps,R,W]. It is torch.optim.SparseAdam: moments of untouched rows stand still, bias corrections use the step
number of the whole table, and epsilon is added to the uncorrected root of the second moment (Adam adds it to the
corrected one; with epsilon 1e-8 both agree in float32 unless a gradient is tiny).

Schedule: step s of n (from 0) with warm-up w and floor f has the factor
  s < w: (s + 1) / w;    otherwise: f + (1 - f) * (1 + cos(pi * (s - w) / (n - w))) / 2.
"""

import json
import math

import numpy as np
import torch

import safetensors_file

STEPS = 10
SHAPES = {"a": (3, 4), "b": (5,)}
# Gradients below and above a norm of one, so that clipping acts in some steps only.
SCALES = [1, 0.1, 2, 0.05, 1, 0.2, 5, 0.1, 0.5, 0.01]

CASES = [
    ("sgd", "sgd", {"lr": 0.1}, None, None),
    ("sgd-momentum", "sgd", {"lr": 0.05, "momentum": 0.9}, None, None),
    ("sgd-decay", "sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, None, None),
    ("sgd-plain-decay", "sgd", {"lr": 0.1, "weight_decay": 0.1}, None, None),
    ("sgd-nesterov", "sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True}, None, None),
    ("sgd-nesterov-decay", "sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, None, None),
    ("adam", "adam", {"lr": 0.01}, None, None),
    ("adam-betas", "adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}, None, None),
    ("adamw", "adamw", {"lr": 0.01, "weight_decay": 0.1}, None, None),
    ("adamw-betas", "adamw", {"lr": 0.02, "betas": (0.9, 0.95), "weight_decay": 0.5}, None, None),
    ("sgd-clipped", "sgd", {"lr": 0.1}, 1.0, None),
    ("adamw-clipped", "adamw", {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.1}, 1.0, None),
    ("sgd-scheduled", "sgd", {"lr": 0.1}, None, {"warmup": 3, "floor": 0.1}),
    ("adamw-scheduled", "adamw", {"lr": 0.01, "weight_decay": 0.1}, 1.0, {"warmup": 4, "floor": 0.0}),
]

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def cosine_factor(step, steps, warmup, floor):
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def run(case, tensors):
    name, kind, options, clip, schedule = case
    parameters = {key: torch.tensor(tensors[f"initial.{key}"].astype(np.float64)) for key in SHAPES}
    optimizer = OPTIMIZERS[kind](list(parameters.values()), **options)
    rates, norms, trace = [], [], {key: [] for key in SHAPES}
    for step in range(STEPS):
        rate = options["lr"] * (cosine_factor(step, STEPS, **schedule) if schedule else 1)
        optimizer.param_groups[0]["lr"] = rate
        rates.append(rate)
        for key, value in parameters.items():
            value.grad = torch.tensor(tensors[f"gradient.{key}"][step].astype(np.float64))
        if clip is not None:
            norms.append(float(torch.nn.utils.clip_grad_norm_(list(parameters.values()), clip)))
        optimizer.step()
        for key, value in parameters.items():
            trace[key].append(value.numpy().astype(np.float32))
    for key in SHAPES:
        tensors[f"{name}.{key}"] = np.stack(trace[key])
    return {
        "name": name,
        "optimizer": kind,
        "options": camel_case(options),
        "clip": clip,
        "schedule": schedule and {**schedule, "steps": STEPS},
        "learningRates": rates,
        "norms": norms or None,
    }


def camel_case(options):
    names = {"weight_decay": "weightDecay"}
    return {names.get(key, key): value for key, value in options.items() if key != "lr"}


def run_sparse(random, tensors):
    options = {"betas": (0.9, 0.999), "eps": 1e-8}
    rows = random.integers(0, 8, (STEPS, 4)).astype(np.int32)
    rows[2] = [5, 5, 1, 5]  # one row three times in a step
    rows[3] = [0, 1, 2, 3]
    gradient = random.standard_normal((STEPS, 4, 3)).astype(np.float32)
    initial = random.standard_normal((8, 3)).astype(np.float32)
    table = torch.tensor(initial.astype(np.float64))
    optimizer = torch.optim.SparseAdam([table], lr=0.02, **options)
    trace = []
    for step in range(STEPS):
        values = torch.tensor(gradient[step].astype(np.float64))
        table.grad = torch.sparse_coo_tensor(rows[step][None].astype(np.int64), values, table.shape)
        optimizer.step()
        trace.append(table.numpy().astype(np.float32))
    tensors["sparse.initial"] = initial
    tensors["sparse.rows"] = rows
    tensors["sparse.gradient"] = gradient
    tensors["sparse.table"] = np.stack(trace)
    return {"name": "sparse", "optimizer": "sparseAdam", "options": options, "learningRates": [0.02] * STEPS}


def write(folder):
    random = np.random.default_rng(3)
    tensors = {f"initial.{key}": random.standard_normal(shape).astype(np.float32) for key, shape in SHAPES.items()}
    scales = np.array(SCALES)
    for key, shape in SHAPES.items():
        values = random.standard_normal((STEPS, *shape)) * scales.reshape(-1, *[1] * len(shape))
        tensors[f"gradient.{key}"] = values.astype(np.float32)
    dense = [run(case, tensors) for case in CASES]
    description = {"parameters": list(SHAPES), "steps": STEPS, "dense": dense, "sparse": run_sparse(random, tensors)}
    (folder / "optim.json").write_text(json.dumps(description, indent=1) + "\n")
    safetensors_file.write(folder / "optim.safetensors", tensors)
    return f"optim: {len(dense)} dense cases, 1 sparse"
