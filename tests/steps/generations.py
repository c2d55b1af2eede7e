"""A small generation for tests: a reference, prompts, a config, and its steps in one process."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from evo2_tasks.config.generations import (
    resolve_generate,
    resolve_merge_generation,
    resolve_prompts,
    resolve_report_generation,
)
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.layout import (
    GENERATED,
    GENERATION_FASTA,
    GENERATION_RUN,
    GENERATION_STEPS,
    GENERATION_TABLE,
    GENERATIONS,
    PROMPTS,
    REPORT,
    shard_file,
)
from evo2_tasks.steps.generate_sequences import generate_sequences
from evo2_tasks.steps.merge_generation import merge_generation
from evo2_tasks.steps.read_prompts import read_prompts
from evo2_tasks.steps.report_generation import report_generation

GENOME = "".join(random.Random(8).choices("ACGT", k=400))
RESULTS = (GENERATION_FASTA, GENERATION_TABLE, GENERATION_STEPS)
PROMPT_FASTA = {
    "one": GENOME[:40],
    "gap": "AC-GT",
    "rna": "ACGUUA",
    "protein": "MKVLWAALLVTFLAGCQ",
    "empty": "",
    "two": GENOME[50:90].lower(),
    "long": "ACGT" * 30,
}
SEARCH = {
    "length": 25, "num_sequences": 2, "seed": 3, "chunk_length": 6, "beam_width": 2,
    "samples_per_beam": 2, "scorers": [{"gc_content": {"target": 0.7}}],
}  # fmt: skip


@dataclass(frozen=True)
class Generation:
    """A generation named ``G`` and the files of its steps."""

    folder: Path
    config: dict[str, Any]

    @property
    def out(self) -> Path:
        return self.folder / "out" / GENERATIONS / "G"

    def load(self) -> RunConfig:
        return load_config(self.config)

    def prompts(self) -> list[dict[str, Any]]:
        read_prompts(resolve_prompts(self.load(), "G"), prompts=None, out=self.out / PROMPTS)
        return read(self.out / PROMPTS)

    def generate(self, shard: int = 1) -> Path:
        settings = resolve_generate(self.load(), "G")
        out = self.out / GENERATED / shard_file(shard, settings.shards)
        generate_sequences(settings, prompts=self.out / PROMPTS, out=out, threads=1)
        return out

    def merge(self) -> Path:
        merge_generation(
            resolve_merge_generation(self.load(), "G"),
            prompts=self.out / PROMPTS,
            generated=self.out / GENERATED,
            out=self.out / GENERATION_TABLE,
            fasta=self.out / GENERATION_FASTA,
            steps=self.out / GENERATION_STEPS,
            run_json=self.out / GENERATION_RUN,
        )
        return self.out / GENERATION_TABLE

    def report(self) -> Path:
        settings = resolve_report_generation(self.load(), "G")
        report_generation(settings, results=self.out, out=self.out / REPORT)
        return self.out / REPORT

    def run(self) -> Path:
        self.prompts()
        for shard in range(1, resolve_generate(self.load(), "G").shards + 1):
            self.generate(shard)
        return self.merge()


def make_generation(
    folder: Path,
    checkpoint: Path,
    *,
    prompts: dict[str, Any] | None = None,
    shards: int = 1,
    **keys: Any,
) -> Generation:
    """A generation whose prompts are by default the records of a FASTA, good and bad ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "genome.fa").write_text(f">c\n{GENOME}\n")
    (folder / "prompts.fa").write_text(
        "".join(f">{name} words\n{bases}\n" for name, bases in PROMPT_FASTA.items())
    )
    return Generation(
        folder,
        {
            "references": {"g": {"fasta": str(folder / "genome.fa"), "circular_contigs": ["c"]}},
            "models": {"m": {"checkpoint": str(checkpoint), "gpus": 0}},
            "generations": {
                "G": {
                    "model": "m",
                    "prompts": prompts or {"fasta": str(folder / "prompts.fa"), "max_length": 100},
                    "compare_with": "g",
                    **SEARCH,
                    **keys,
                }
            },
            "shards": shards,
            "output": str(folder / "out"),
        },
    )


def read(table: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    return rows
