"""Write a small Evo 2 model with seeded random weights; its scores mean nothing.

It has all four operators and about 400,000 parameters, so that a run shows within minutes on two
CPU cores that everything works.

    python training/random_model.py build/evo2-random
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from transformers.utils import logging

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Tokenizer

SEED = 20_260_101


def write_random_model(folder: Path) -> None:
    """Write the model's folder; it appears complete or not at all."""
    config = Evo2Config(
        hidden_size=64,
        intermediate_size=176,
        num_attention_heads=4,
        operators=[
            "hyena_se",
            "hyena_mr",
            "hyena_li",
            "attention",
            "hyena_se",
            "hyena_mr",
            "hyena_li",
        ],
        hyena_se_groups=64,
        hyena_mr_groups=64,
        fp8_projections=False,
    )
    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    model = Evo2ForCausalLM(config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        written = Path(scratch) / "model"
        model.save_pretrained(written)
        Evo2Tokenizer().save_pretrained(written)
        if folder.exists():
            shutil.rmtree(folder)
        written.replace(folder)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Write a small model with random weights.")
    parser.add_argument("folder", type=Path)
    write_random_model(parser.parse_args().folder)


if __name__ == "__main__":
    main()
