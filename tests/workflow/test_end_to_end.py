"""A real run of the workflow on a small genome, row by row against a plain loop over the model.

The loop knows the definitions and nothing of the package but the model: windows are slices of
strings, every window goes through the model alone and whole, and the sums are written out.
"""

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Tokenizer
from tests import project
from tests.workflow.run import run_workflow

WINDOW_LENGTH = 96
# float32 in batches of other shapes than one window; 1e-5 measured on sums of up to 760 nats
TOLERANCE = 5e-5

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
LETTERS = "ACGT"


def make_sequence(seed: int, length: int) -> str:
    generator = random.Random(seed)
    return "".join(generator.choice(LETTERS) for _ in range(length))


def with_repeat(sequence: str, at: int, unit: str, times: int) -> str:
    return sequence[:at] + unit * times + sequence[at + len(unit) * times :]


GENOME = {
    # 400 bases with a repeat, a soft-masked stretch and one N
    "line": (lambda s: s[:250].lower() + s[250:300] + "N" + s[301:])(
        with_repeat(make_sequence(1, 400), 150, "AC", 8)
    ),
    # longer than a window, the repeat lies across position 0
    "ring": with_repeat(with_repeat(make_sequence(2, 250), 246, "G", 4), 0, "G", 3),
    # shorter than a window
    "small-ring": make_sequence(3, 80),
}
CIRCULAR = {"ring", "small-ring"}


def other(base: str, by: int = 1) -> str:
    """Another base than this one."""
    return LETTERS[(LETTERS.index(base) + by) % 4]


def at(contig: str, pos: int, length: int = 1) -> str:
    return GENOME[contig][pos - 1 : pos - 1 + length].upper()


def snv(contig: str, pos: int, by: int = 1) -> tuple[str, int, str, str]:
    return contig, pos, at(contig, pos), other(at(contig, pos), by)


def deletion(contig: str, pos: int, length: int) -> tuple[str, int, str, str]:
    return contig, pos, at(contig, pos, length + 1), at(contig, pos)


def insertion(contig: str, pos: int, bases: str) -> tuple[str, int, str, str]:
    return contig, pos, at(contig, pos), at(contig, pos) + bases


# Each data line, and the status that each of its alleles has to have.
RECORDS: list[tuple[tuple[str, int, str, str], list[str]]] = [
    (snv("line", 1), ["no_context"]),
    (snv("line", 2), ["scored"]),
    (snv("line", 60), ["scored"]),
    (("line", 61, at("line", 61).lower(), other(at("line", 61)).lower()), ["scored"]),
    (("line", 200, at("line", 200), ",".join(other(at("line", 200), k) for k in (1, 2, 3))),
     ["scored"] * 3),
    (("line", 210, at("line", 210, 3), "".join(other(b) for b in at("line", 210, 3))), ["scored"]),
    (insertion("line", 120, "TTGAC"), ["scored"]),
    (deletion("line", 130, 7), ["scored"]),
    # two spellings of one deletion in a repeat, the second not left-aligned and padded
    (deletion("line", 150, 2), ["scored"]),
    (("line", 160, at("line", 160, 5), at("line", 160, 3)), ["scored"]),
    (("line", 170, at("line", 170, 4), other(at("line", 170)) + "TTTTTT"), ["scored"]),
    (snv("line", 290), ["scored"]),
    (insertion("line", 398, "ACG"), ["scored"]),
    (deletion("line", 396, 3), ["scored"]),
    (snv("line", 400), ["no_context"]),
    (snv("ring", 1), ["scored"]),
    (snv("ring", 250), ["scored"]),
    (deletion("ring", 2, 1), ["scored"]),
    (insertion("ring", 3, "G"), ["scored"]),
    (deletion("ring", 100, 5), ["scored"]),
    (snv("small-ring", 40), ["scored"]),
    (deletion("small-ring", 10, 6), ["scored"]),
    (insertion("small-ring", 20, "GATTACA"), ["scored"]),
    (("line", 50, at("line", 50), "."), ["missing_allele"]),
    (("line", 50, at("line", 50), at("line", 50)), ["not_a_variant"]),
    (("line", 50, at("line", 50), f"*,{other(at('line', 50))}"),
     ["overlapping_deletion", "scored"]),
    (("line", 50, at("line", 50), f"{at('line', 50)}[ring:7["), ["breakend"]),
    (("line", 50, at("line", 50), "<DEL>"), ["symbolic_allele"]),
    (("line", 50, at("line", 50), "R"), ["non_acgt_allele"]),
    (("nowhere", 50, "A", "C"), ["contig_not_found"]),
    (("line", 401, "A", "C"), ["position_out_of_range"]),
    (("line", 70, other(at("line", 70)), at("line", 70)), ["ref_alt_swapped"]),
    (("line", 70, other(at("line", 70)), other(at("line", 70), 2)), ["ref_mismatch"]),
    (insertion("line", 90, "ACGTACGTACGTACGTACGTACGTACGTACGT"), ["too_long"]),
]  # fmt: skip
BAD_LINE = "line\tnot-a-number\t.\tA\tC\t.\t.\tAC=1"


@dataclass(frozen=True)
class Expected:
    """A row as the plain loop has it."""

    record: int
    allele: int
    contig: str
    pos: int
    ref: str
    alt: str
    status: str


def expected_rows() -> list[Expected]:
    rows = []
    for record, ((contig, pos, ref, alts), statuses) in enumerate(RECORDS):
        for i, (alt, status) in enumerate(zip(alts.split(","), statuses, strict=True), start=1):
            upper = [text.upper() if text.isalpha() else text for text in (ref, alt)]
            rows.append(Expected(record, 0 if alt == "." else i, contig, pos, *upper, status))
    return rows


# --- the plain loop


def trim(ref: str, alt: str, p: int) -> tuple[str, str, int]:
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        ref, alt, p = ref[1:], alt[1:], p + 1
    return ref, alt, p


def left_align(
    sequence: str, ref: str, alt: str, p: int, *, circular: bool
) -> tuple[str, str, int]:
    allele = ref or alt
    if not (ref and alt):
        while (circular or p > 0) and sequence[p - 1] == allele[-1]:
            allele = allele[-1] + allele[:-1]
            p -= 1
        p %= len(sequence)
    return (allele, "", p) if ref and not alt else ("", allele, p) if not ref else (ref, alt, p)


def reverse_complement(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


def strand_windows(row: Expected, strand: str) -> tuple[str, str, int, int]:
    """Reference and alternate window of a strand as it is read, lengths of ref and alt allele."""
    sequence, circular = GENOME[row.contig].upper(), row.contig in CIRCULAR
    ref, alt, p = left_align(sequence, *trim(row.ref, row.alt, row.pos - 1), circular=circular)
    length = min(WINDOW_LENGTH, len(sequence)) if circular else WINDOW_LENGTH
    start, end = p - length // 2, p - length // 2 + length
    if circular:
        # Turned so that what the strand reads first lies at its end of the string.
        turn = start if strand == "fwd" else end
        sequence = sequence[turn % len(sequence) :] + sequence[: turn % len(sequence)]
        begin = 0 if strand == "fwd" else len(sequence) - length
        p, start, end = begin + length // 2, begin, begin + length
    else:
        start, end = max(start, 0), min(end, len(sequence))
    haplotype = sequence[:p] + alt + sequence[p + len(ref) :]
    assert sequence[p : p + len(ref)] == ref
    if strand == "fwd":
        ref_window, alt_window = sequence[start:end], haplotype[start : start + end - start]
    else:
        alt_end = end + len(alt) - len(ref)
        ref_window = reverse_complement(sequence[start:end])
        alt_window = reverse_complement(haplotype[max(0, alt_end - (end - start)) : alt_end])
    common = min(len(ref_window), len(alt_window))
    return ref_window[:common], alt_window[:common], len(ref), len(alt)


def log_probs(model: Evo2ForCausalLM, window: str) -> list[float]:
    """Log-probability of each token but the first, nats; the first stands as nan."""
    input_ids = torch.tensor([list(window.encode())])
    with torch.no_grad():
        table = model(input_ids=input_ids).logits[0].double().log_softmax(dim=-1)
    return [math.nan, *(float(table[t - 1, input_ids[0, t]]) for t in range(1, len(window)))]


def strand_scores(model: Evo2ForCausalLM, row: Expected, strand: str) -> dict[str, float | None]:
    ref_window, alt_window, r, a = strand_windows(row, strand)
    length = len(ref_window)
    first = next((t for t in range(length) if ref_window[t] != alt_window[t]), None)
    if not first:
        return dict.fromkeys(COLUMNS)
    ref, alt = log_probs(model, ref_window), log_probs(model, alt_window)
    common = max(0, length - first - max(r, a))
    llr_allele = sum(alt[first : first + a]) - sum(ref[first : first + r])
    llr_downstream = sum(alt[first + a :][:common]) - sum(ref[first + r :][:common])
    llr_end = sum(alt[first + a :][common:]) - sum(ref[first + r :][common:])
    aligned: float | None = llr_allele + llr_downstream
    if a != r:
        mean = -sum(ref[first + r :][:common]) / common if common else None
        aligned = None if mean is None else llr_allele + llr_downstream + (a - r) * mean
    llr = llr_allele + llr_downstream + llr_end
    return {
        "llr": llr,
        "llr_aligned": aligned,
        "llr_allele": llr_allele,
        "llr_downstream": llr_downstream,
        "llr_end": llr_end,
        "delta_score": llr / (length - 1),
        "ll_ref": sum(ref[1:]),
        "ll_alt": sum(alt[1:]),
    }


COLUMNS = (
    "llr",
    "llr_aligned",
    "llr_allele",
    "llr_downstream",
    "llr_end",
    "delta_score",
    "ll_ref",
    "ll_alt",
)


# --- the run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the run is finished."""
    folder = tmp_path_factory.mktemp("end to end")
    config = Evo2Config(
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        operators=["hyena_se", "hyena_mr", "hyena_li", "attention"],
        hyena_se_groups=8,
        hyena_mr_groups=8,
        fp8_projections=False,
        initializer_range=0.3,
    )
    torch.manual_seed(7)
    Evo2ForCausalLM(config).save_pretrained(folder / "model")
    Evo2Tokenizer().save_pretrained(folder / "model")
    with (folder / "genome.fa").open("w") as fasta:
        for name, sequence in GENOME.items():
            lines = "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60))
            fasta.write(f">{name} of a test\n{lines}\n")
    lines = [
        f"{contig}\t{pos}\tid{i}\t{ref}\t{alt}\t.\t.\tAC={','.join('3' * len(statuses))}"
        for i, ((contig, pos, ref, alt), statuses) in enumerate(RECORDS)
    ]
    header = (
        "##fileformat=VCFv4.3\n"
        '##INFO=<ID=AC,Number=A,Type=Integer,Description="Allele count">\n'
        f"{project.COLUMNS}"
    )
    (folder / "in.vcf").write_text(header + "\n".join([*lines, BAD_LINE]) + "\n")
    run = project.make_config(
        reference={"circular_contigs": sorted(CIRCULAR)},
        scoring={"window_length": WINDOW_LENGTH},
        variant_set={"carry": ["AC"], "exports": ["vcf", "tsv"]},
        shards=2,
        run={"batch_tokens": 1000},
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(run))
    run_workflow(folder, cores=2)
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "results/v/s/scores.parquet")


@pytest.fixture(scope="module")
def model(folder: Path) -> Evo2ForCausalLM:
    return Evo2ForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()


def test_every_allele_comes_back_in_order_with_its_status(table: pd.DataFrame) -> None:
    rows = expected_rows()
    assert len(table) == len(rows) + 1
    *found, bad = table.itertuples()
    for row, expected in zip(found, rows, strict=True):
        assert (
            Expected(row.record, row.allele, row.contig, row.pos, row.ref, row.alt, row.status)
            == expected
        ), expected
    assert (bad.record, bad.allele, bad.status) == (len(RECORDS), 0, "invalid_record")


def test_scores_are_those_of_a_plain_loop_over_the_model(
    table: pd.DataFrame, model: Evo2ForCausalLM
) -> None:
    compared = 0
    for row, expected in zip(table.to_dict("records"), expected_rows(), strict=False):
        if expected.status not in ("scored", "no_context"):
            assert all(pd.isna(row[column]) for column in COLUMNS)
            continue
        strands = {s: strand_scores(model, expected, s) for s in ("fwd", "rev")}
        for column in COLUMNS:
            values = [strands[s][column] for s in ("fwd", "rev")]
            mean = None if None in values else sum(v for v in values if v is not None) / 2
            named = {f"{column}_fwd": values[0], f"{column}_rev": values[1], column: mean}
            for name, value in named.items():
                where = f"{expected} {name}: {row[name]}, expected {value}"
                if value is None:
                    assert pd.isna(row[name]), where
                else:
                    assert row[name] == pytest.approx(value, abs=TOLERANCE), where
                    compared += 1
    assert compared > 500


def test_a_row_has_a_score_exactly_if_it_is_scored(table: pd.DataFrame) -> None:
    assert (table.llr.notna() == (table.status == "scored")).all()
    assert table.llr.dropna().abs().max() > 0.1, "a model that tells alleles apart"


def test_two_spellings_of_one_deletion_score_the_same(table: pd.DataFrame) -> None:
    spellings = [i for i, ((_, pos, ref, _), _) in enumerate(RECORDS)
                 if (pos, len(ref)) in {(150, 3), (160, 5)}]  # fmt: skip
    one, two = (table[table.record == record].iloc[0] for record in spellings)
    assert (one.window_start, one.window_end) == (two.window_start, two.window_end)
    for column in COLUMNS:
        assert one[column] == two[column]


def test_run_json_counts_what_the_table_holds(folder: Path, table: pd.DataFrame) -> None:
    run: dict[str, Any] = json.loads((folder / "results/v/s/run.json").read_text())
    assert run["alleles"] == len(table)
    counts = {status: n for status, n in run["by_status"].items() if n}
    assert counts == table.status.astype(str).value_counts().to_dict()
    assert run["scored"] == counts["scored"]
    assert len(run["shards"]) == 2


def test_carried_fields_and_exports_are_there(folder: Path, table: pd.DataFrame) -> None:
    assert (table.AC.dropna() == 3).all()
    results = folder / "results" / "v" / "s"
    assert (results / "scores.vcf.gz").exists()
    assert len((results / "scores.tsv").read_text().splitlines()) == len(table) + 1


def test_a_second_run_has_nothing_to_do(folder: Path) -> None:
    assert "Nothing to be done" in run_workflow(folder, cores=2)


def test_the_report_can_be_made(folder: Path) -> None:
    run_workflow(folder, "--report", "report.zip", cores=2)
    assert (folder / "report.zip").stat().st_size > 0
