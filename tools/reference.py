"""Writes the PyTorch fixtures that the tests compare against.

    python3 tools/reference.py [ops|models|optim|training|adapters|quantizer|t5|all]

Needs PyTorch 1.13 or newer and numpy, nothing else. Every part is seeded on its own, so that writing one part
leaves the files of the others as they are. Inputs are rounded to float32 first, results are computed in float64
and rounded to float32 last: the fixture is the exact answer, and a test's tolerance is all the engine's own.
"""

import importlib
import pathlib
import sys

import torch

sys.dont_write_bytecode = True  # the parts below are imported from this folder, which shall stay clean

PARTS = {
    "ops": "reference_ops",
    "models": "reference_models",
    "optim": "reference_optim",
    "training": "reference_training",
    "adapters": "reference_adapters",
    "quantizer": "reference_quantizer",
    "t5": "reference_t5",
}


def main():
    wanted = sys.argv[1:] or ["all"]
    unknown = [part for part in wanted if part not in PARTS and part != "all"]
    if unknown:
        sys.exit(f"reference.py: expected {', '.join(PARTS)} or all, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS if "all" in wanted else wanted:
        print(importlib.import_module(PARTS[part]).write(folder))


if __name__ == "__main__":
    main()
