"""The PyTorch side of `mneme bench engine`: training steps of a small GPT on the CPU, timed on request.

Model: 4 layers, width 256, 8 heads, context 128, vocabulary 1,024; pre-LN, learned positions, biases, GELU (tanh
form), an untied head without bias. Step: batch of 16 x 128 random tokens, zero_grad, cross-entropy, backward, AdamW
(no clipping), float32. One line of JSON for each of stdin:
  started       -> {"ready": true, "torch", "parameters", "blas"}     or {"ready": false, "error"} and exit code 1
  {"threads": 1 | 2, "steps": n} -> {"threads", "medianMs", "minMs", "steps", "variant", "torch"}
Before each timing a few steps of each variant (see Bench.variants) are run and the fastest so far is taken.
Without arguments the variants are PyTorch as it is installed: its linear layers, its choice of kernels, with the thread
counts of PyTorch and of its BLAS set apart or alike. With --tuned they also hold what an expert can force: AVX-512
kernels that PyTorch 1.13 does not choose by itself, and linear layers written as 1x1 convolutions, which go to oneDNN.
Tried and left out because they were never faster: separate q, k and v products, masked_fill instead of adding the mask
in the product, F._scaled_dot_product_attention (as fast), AdamW with foreach=True.
"""

import ctypes
import itertools
import json
import math
import os
import statistics
import sys
import time

TUNED = "--tuned" in sys.argv[1:]

# Read when the libraries load. Two thread pools (OpenMP's and OpenBLAS's) that both spin while they wait slow each
# other down twofold, so both kinds of run get this.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if TUNED:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags):
            os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
    except OSError:
        pass

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as error:
    print(json.dumps({"ready": False, "error": str(error)}), flush=True)
    sys.exit(1)

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH, BATCH = 1024, 256, 8, 4, 128, 16
HEAD_SIZE = WIDTH // HEADS
CALIBRATION_ROUNDS = 4


def find_blas():
    """OpenBLAS, whose threads torch.set_num_threads does not govern in Debian's build; None if it is another BLAS."""
    for name in ("libblas.so.3", "libopenblas.so.0"):
        try:
            library = ctypes.CDLL(name)
            library.openblas_set_num_threads.argtypes = [ctypes.c_int]
            return library
        except (OSError, AttributeError):
            continue
    return None


class Linear(nn.Linear):
    """A linear layer over [N,in], as a BLAS product or as a 1x1 convolution, for which PyTorch uses oneDNN when it has
    more than one thread."""

    as_convolution = False

    def forward(self, x):
        if not Linear.as_convolution:
            return F.linear(x, self.weight, self.bias)
        image = x.view(1, len(x), 1, -1).permute(0, 3, 1, 2)
        out = F.conv2d(image, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(len(x), -1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = Linear(WIDTH, 3 * WIDTH), Linear(WIDTH, WIDTH)
        self.up, self.down = Linear(WIDTH, 4 * WIDTH), Linear(4 * WIDTH, WIDTH)

    def forward(self, x, mask):
        x = x + self.project(self.attend(self.qkv(self.ln_1(x)), mask))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    def attend(self, qkv, mask):
        qkv = qkv.view(BATCH, LENGTH, 3, HEADS, HEAD_SIZE).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, BATCH * HEADS, LENGTH, HEAD_SIZE).unbind(0)
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=HEAD_SIZE**-0.5)  # (B*H, T, T)
        mixed = torch.bmm(torch.softmax(scores, -1), v)  # (B*H, T, D)
        return mixed.view(BATCH, HEADS, LENGTH, HEAD_SIZE).transpose(1, 2).reshape(BATCH * LENGTH, WIDTH)


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_f, self.head = nn.LayerNorm(WIDTH), Linear(WIDTH, VOCABULARY, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        self.register_buffer("mask", torch.full((LENGTH, LENGTH), -math.inf).triu(1)[None])

    def forward(self, ids, targets):
        x = (self.tokens(ids) + self.positions.weight).view(BATCH * LENGTH, WIDTH)
        for block in self.blocks:
            x = block(x, self.mask)
        return F.cross_entropy(self.head(self.ln_f(x)), targets.reshape(-1))


class Bench:
    def __init__(self, blas):
        torch.manual_seed(0)
        self.blas = blas
        self.model = GPT()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
        self.batches = itertools.cycle(torch.randint(VOCABULARY, (4, BATCH, LENGTH + 1)))
        self.fastest = {}

    def choose(self, variant):
        linear, torch_threads, blas_threads = variant
        Linear.as_convolution = linear == "convolution"
        torch.set_num_threads(torch_threads)
        if self.blas:
            self.blas.openblas_set_num_threads(blas_threads)

    def step(self):
        """Milliseconds of one whole training step."""
        start = time.perf_counter()
        batch = next(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(batch[:, :-1], batch[:, 1:])
        loss.backward()
        self.optimizer.step()
        loss.item()
        return (time.perf_counter() - start) * 1e3

    def variants(self, threads):
        """(linear layers as, torch threads, BLAS threads): those that were fastest on some machine or load."""
        if threads == 1 or not self.blas:
            return [("product", threads, threads)]
        found = [("product", threads, threads), ("product", 1, threads)]
        if TUNED and torch.backends.mkldnn.is_available():
            found += [("convolution", threads, threads), ("convolution", threads, 1)]
        return found

    def fastest_variant(self, threads):
        """The variant with the fastest step so far. Every call adds to what is known, so a busy moment is outgrown."""
        first = threads not in self.fastest
        times = self.fastest.setdefault(threads, dict.fromkeys(self.variants(threads), math.inf))
        for _ in range(CALIBRATION_ROUNDS if first and len(times) > 1 else 1):
            for variant in times:
                self.choose(variant)
                self.step()  # the pools settle
                times[variant] = min(times[variant], self.step())
        return min(times, key=times.get)

    def measure(self, threads, steps):
        variant = self.fastest_variant(threads)
        self.choose(variant)
        for _ in range(2):
            self.step()
        times = [self.step() for _ in range(steps)]
        linear, torch_threads, blas_threads = variant
        return {
            "threads": threads,
            "medianMs": round(statistics.median(times), 2),
            "minMs": round(min(times), 2),
            "steps": steps,
            "variant": f"linear layers as {linear}, {torch_threads} torch and {blas_threads} BLAS threads",
            "torch": torch.__version__,
        }


def main():
    blas = find_blas()
    bench = Bench(blas)
    parameters = sum(parameter.numel() for parameter in bench.model.parameters())
    started = {"ready": True, "torch": torch.__version__, "parameters": parameters, "blas": blas and blas._name}
    print(json.dumps(started), flush=True)
    for line in sys.stdin:
        if line.strip():
            request = json.loads(line)
            print(json.dumps(bench.measure(int(request["threads"]), int(request["steps"]))), flush=True)


if __name__ == "__main__":
    main()
