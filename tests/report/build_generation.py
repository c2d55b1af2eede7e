"""A generation of random bases and scores, written without a model; its names want to be markup."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from evo2_tasks.genome.words import count_words
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import (
    GENERATION_RUN,
    GENERATION_STEPS,
    GENERATION_TABLE,
    PROMPTS,
    REPORT,
)
from evo2_tasks.report.generation_pages import write_generation_page
from evo2_tasks.table.generation_schema import (
    generated_schema,
    prompts_schema,
    steps_schema,
)
from evo2_tasks.table.parquet import RowBuffer, write_table

HOSTILE = "<img src=x onerror=alert(1)>%{x}</script><b>&amp;\u202e"
SCORERS = ["box", "gc_content"]
LENGTH, STEP, KEPT, SAMPLES = 300, 30, 2, 3

Row = dict[str, Any]


def draw_bases(rng: random.Random, number: int) -> str:
    return "".join(rng.choices("ACGT", k=number))


def make_steps(rng: random.Random, record: int, sequence: int) -> list[Row]:
    """All candidates of a search; the path of the best last one has rank 0 at its end."""
    rows: list[Row] = []
    kept: list[int | None] = [None]
    for step in range(LENGTH // STEP):
        made = []
        for candidate in range(KEPT * SAMPLES):
            parent = kept[0] if len(kept) == 1 else kept[candidate // SAMPLES]
            box = -math.inf if rng.random() < 0.05 and candidate > 1 else rng.random() + step
            row = {
                "record": record, "prompt": HOSTILE, "sequence": sequence, "step": step,
                "candidate": candidate, "parent": parent, "start": step * STEP,
                "bases": draw_bases(rng, STEP), "log_prob": -rng.random() * STEP,
                "total": box + 0.5, "chosen": False, "rank": None,
                "score_box": box, "score_gc_content": 0.5,
            }  # fmt: skip
            made.append(row)
        best = sorted(made, key=lambda row: (-row["total"], row["candidate"]))[:KEPT]
        for rank, row in enumerate(best):
            row |= {"chosen": True, "rank": rank}
        kept = [row["candidate"] for row in best]
        rows += made
    return rows


def list_path(steps: list[Row]) -> list[Row]:
    """The candidates of the best sequence, by a plain walk back from the last step."""
    last = max(row["step"] for row in steps)
    one = next(row for row in steps if row["step"] == last and row["rank"] == 0)
    path = [one]
    while one["parent"] is not None:
        one = next(
            row
            for row in steps
            if row["step"] == one["step"] - 1 and row["candidate"] == one["parent"]
        )
        path.append(one)
    return path[::-1]


def make_rows(num_sequences: int = 3) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of the prompts, the sequences and the steps: a good prompt, and one that was refused."""
    rng = random.Random(6)
    prompts: list[Row] = [
        {"record": 0, "prompt": HOSTILE, "status": "to_generate", "reason": None, "length": 90,
         "text": "|D__A|" + draw_bases(rng, 84)},
        {"record": 1, "prompt": None, "status": "invalid_record", "reason": "not_letters",
         "length": 4, "text": None},
    ]  # fmt: skip
    sequences, steps = [], []
    for sequence in range(num_sequences):
        of_one = make_steps(rng, 0, sequence)
        path = list_path(of_one)
        bases = "".join(row["bases"] for row in path)
        sequences.append(
            {
                "record": 0, "prompt": HOSTILE, "sequence": sequence, "status": "generated",
                "prompt_length": 90, "length": len(bases), "bases": bases,
                "log_prob": sum(row["log_prob"] for row in path), "total": path[-1]["total"],
                "gc": (bases.count("G") + bases.count("C")) / len(bases), "prompt_gc": 0.5,
                "prompt_match": 13, "reference_match": 40 + sequence, "reference_match_start": 3,
                "reference_match_contig": HOSTILE, "reference_match_pos": 77,
                "reference_match_strand": "-", "copied": 40 if sequence else 200,
                "orf_codons": 9, "orf_start": 0, "orf_end": 30, "orf_strand": "+",
                "score_box": path[-1]["score_box"], "score_gc_content": 0.5,
            }
        )  # fmt: skip
        steps += of_one
    sequences += [
        {"record": 1, "prompt": None, "sequence": sequence, "status": "invalid_record",
         "reason": "not_letters", "prompt_length": 4, "length": 0}
        for sequence in range(num_sequences)
    ]  # fmt: skip
    return prompts, sequences, steps


def write_generation(folder: Path, *, has_reference: bool = True, num_sequences: int = 3) -> None:
    """The files that the page reads."""
    prompts, sequences, steps = make_rows(num_sequences)
    if not has_reference:
        for row in sequences:
            for name in [name for name in row if name.startswith(("reference_", "copied"))]:
                del row[name]
    for name, schema, rows in (
        (PROMPTS, prompts_schema(), prompts),
        (GENERATION_TABLE, generated_schema(SCORERS), sequences),
        (GENERATION_STEPS, steps_schema(SCORERS), steps),
    ):
        with write_table(folder / name, schema) as writer:
            buffer = RowBuffer(writer, schema.names)
            for row in rows:
                buffer.add(*(row.get(column) for column in schema.names))
            buffer.flush()
    words = count_words([draw_bases(random.Random(1), 5_000)]).tolist()
    run = {
        "date": "2026-01-01", "table_digest": digest_file(folder / GENERATION_TABLE),
        "steps_digest": digest_file(folder / GENERATION_STEPS), "fasta_digest": "0" * 64,
        "model": "m", "signature": {"search": {"seed": 1, "scorers": []}, "dtype": "float32"},
        "prompts": HOSTILE, "prompts_digest": None, "num_prompts": 2,
        "sequences": len(sequences), "generated": num_sequences,
        "bases": num_sequences * LENGTH, "by_status":
            {"generated": num_sequences, "invalid_record": num_sequences},
        "functions": {}, "models": {},
        "compare_with": {"name": HOSTILE, "fasta": "g.fa", "words": words} if has_reference
            else None,
        "genetic_code": 1, "tokens_run": 1, "wall_s": 1.0, "devices": {}, "shards": [],
    }  # fmt: skip
    (folder / GENERATION_RUN).write_text(json.dumps(run))


def write_hostile_generation(folder: Path) -> Path:
    write_generation(folder)
    page = folder / REPORT
    write_generation_page(folder, page, HOSTILE, 1)
    return page
