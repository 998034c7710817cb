"""Ten training steps of two tiny models in PyTorch: tests/fixtures/training/<name>/ for a gpt2 and a llama.

Each folder holds config.json and model.safetensors (the initial weights) and training.safetensors:
  batches [steps,B,T] int32; losses [steps], before each step's update; norms [steps], of the gradients before
  clipping; logits [B,T,V] of the first batch after the last step; final.<parameter>.
training/settings.json holds the optimizer's settings. The loss is the mean cross-entropy of tokens 1 .. T-1 of each
row given those before; weight decay applies to every parameter, norms and biases included.

One part of final.* is not comparable: a bias on attention keys (the middle third of gpt2's c_attn.bias) has a
gradient of exactly zero, since softmax ignores a shift, and AdamW turns the rounding noise that float32 has in its
place into steps of up to the learning rate. Losses, logits and all other weights do not depend on it.
"""

import numpy as np
import torch

import safetensors_file
from architectures import FORWARD, next_token_loss
from reference_models import GPT2, LLAMA, float32, leaves, random_parameters, save, write_json

STEPS, BATCH, LENGTH, VOCABULARY = 10, 4, 16, 64
SETTINGS = {
    "optimizer": "adamw",
    "learningRate": 1e-3,
    "betas": [0.9, 0.95],
    "eps": 1e-8,
    "weightDecay": 0.1,
    "clip": 1.0,
    "steps": STEPS,
}

CONFIGS = {
    "gpt2": {**GPT2, "n_embd": 32, "n_head": 2, "n_ctx": LENGTH, "n_positions": LENGTH, "vocab_size": VOCABULARY},
    "llama": {**LLAMA, "hidden_size": 32, "intermediate_size": 64, "vocab_size": VOCABULARY},
}


def train(config, parameters, batches):
    forward, p = FORWARD[config["model_type"]], leaves(parameters)
    mask = torch.ones(BATCH, LENGTH)
    optimizer = torch.optim.AdamW(
        list(p.values()),
        lr=SETTINGS["learningRate"],
        betas=SETTINGS["betas"],
        eps=SETTINGS["eps"],
        weight_decay=SETTINGS["weightDecay"],
    )
    losses, norms = [], []
    for batch in batches:
        ids = torch.tensor(batch.astype(np.int64))
        loss = next_token_loss(forward(config, p, ids)["logits"], ids, mask)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(list(p.values()), SETTINGS["clip"])))
        optimizer.step()
        losses.append(float(loss))
    logits = forward(config, p, torch.tensor(batches[0].astype(np.int64)))["logits"]
    tensors = {"batches": batches, "losses": np.array(losses, np.float32), "norms": np.array(norms, np.float32)}
    tensors["logits"] = float32(logits)
    tensors.update({f"final.{name}": float32(value) for name, value in p.items()})
    return tensors


def write(folder):
    report = []
    for index, (name, config) in enumerate(CONFIGS.items()):
        random = np.random.default_rng(400 + index)
        parameters = random_parameters(config, random, std=0.1)
        # Counting up by a step of each row's own: something to learn within ten steps.
        starts, steps = (random.integers(low, 8, (STEPS, BATCH, 1)) for low in (0, 1))
        batches = ((starts + steps * np.arange(LENGTH)) % VOCABULARY).astype(np.int32)
        tensors = train(config, parameters, batches)
        save(folder / "training" / name, config, parameters)
        safetensors_file.write(folder / "training" / name / "training.safetensors", tensors)
        report.append(f"{name} {tensors['losses'][0]:.4f} -> {tensors['losses'][-1]:.4f}")
    write_json(folder / "training" / "settings.json", SETTINGS)
    return f"training: {', '.join(report)}"
