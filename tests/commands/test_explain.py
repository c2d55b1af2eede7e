"""The command ``explain``: its values against the table, the model itself, and stored profiles."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from evo2_tasks.commands import explain as command
from evo2_tasks.config.explain import resolve_explain
from evo2_tasks.config.resolve import HaplotypeOfSettings
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.report.explanations import Explanation
from tests.project import HEADER, make_config, run_steps, write_project
from tests.report.page import read_page

BASES = "".join(random.Random(8).choices("ACGT", k=300))
VARIANTS = [(120, 1, "snv"), (125, 1, "snv"), (130, 1, "insertion"), (140, 3, "deletion")]


def spell(pos: int, num_ref: int, kind: str) -> tuple[int, str, str]:
    ref = BASES[pos - 1 : pos - 1 + num_ref]
    other = "ACGT"["ACGT".index(ref[0]) - 1]
    return pos, ref, {"snv": other, "insertion": ref + "GATTACA", "deletion": ref[0]}[kind]


ALLELES = [spell(*one) for one in VARIANTS]
TEXTS = [f"c:{pos}:{ref}:{alt}" for pos, ref, alt in ALLELES]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> RunConfig:
    """A finished run."""
    folder = tmp_path_factory.mktemp("explain")
    lines = "".join(f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for pos, ref, alt in ALLELES)
    project = write_project(
        folder,
        genome={"c": BASES},
        variants=HEADER + lines,
        model={"checkpoint": str(checkpoint)},
        output=str(folder / "results"),
    )
    loaded = project.load()
    run_steps(loaded, folder / "results" / "v", stub=False)
    return loaded


def explain(
    config: RunConfig, text: str, monkeypatch: pytest.MonkeyPatch, out: Path, **options: Any
) -> tuple[Explanation, list[str]]:
    """The explanation that the page is made of, and the lines of text."""
    made: list[Explanation] = []
    written = command.write_explanation

    def keep(one: Explanation, html: Path) -> None:
        made.append(one)
        written(one, html)

    monkeypatch.setattr(command, "write_explanation", keep)
    candidates = resolve_explain(config, None, None)
    lines = [*command.explain(candidates, text, html=out, threads=1, **options)]
    return made[0], lines


def write_profiles(config: RunConfig, *, shift: float = 0.0, **changed: str) -> dict[str, Any]:
    """Profiles of all rows as the run would write them, with made-up values."""
    table = config.output / "v" / "s" / "scores.parquet"
    rows = pq.read_table(table, columns=["record", "allele"]).to_pydict()
    rng = np.random.default_rng(1)
    for strand in ("fwd", "rev"):
        sums = pq.read_table(table)[f"llr_allele_{strand}"].to_pylist()
        profiles = []
        for (_, ref, alt), total in zip(ALLELES, sums, strict=True):
            values = rng.normal(size=9)
            num_allele = max(len(ref), len(alt)) - (len(ref) != len(alt))
            values[0] = total + shift - values[1:num_allele].sum()
            profiles.append(values.astype(np.float16))
        rows[f"profile_{strand}"] = profiles
    metadata = pq.read_schema(table).metadata | {
        key.encode(): value.encode() for key, value in changed.items()
    }
    kind = pa.list_(pa.float16())
    schema = pa.schema(
        {"record": pa.int64(), "allele": pa.int64(), "profile_fwd": kind, "profile_rev": kind},
        metadata=metadata,
    )
    pq.write_table(pa.table(rows, schema=schema), table.with_name("profiles.parquet"))
    return rows


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_the_values_are_those_of_the_table(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    one, lines = explain(config, TEXTS[number], monkeypatch, tmp_path / "e.html")
    assert one.row is not None
    assert one.row["record"] == number
    for name, value in one.scores.items():
        assert value == pytest.approx(one.row[name], abs=1e-5), name
    for profile, name in zip(one.profiles, ("llr_fwd", "llr_rev"), strict=True):
        assert profile.is_whole
        total = sum(entry.difference for entry in profile.entries)
        assert total == pytest.approx(one.row[name], abs=1e-4)
    pos, ref, alt = ALLELES[number]
    if len(ref) == len(alt):
        assert one.nearby is not None
        base, place = "ACGT".index(alt), [*one.nearby.positions].index(pos)
        assert one.nearby.llr[base, place] == pytest.approx(one.row["llr"], abs=1e-5)
    assert lines[0] == f"c:{pos} {ref}>{alt}"
    assert len(one.neighbours) == len(ALLELES) - 1
    assert (one.before + one.changed + one.after) in BASES


def test_the_snvs_near_it_are_scored_in_its_window(
    config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    small_model: Evo2ForCausalLM,
) -> None:
    """Each window by itself through the model, without shared prefixes."""

    def log_likelihood(window: str) -> float:
        tokens = torch.tensor([[*window.encode()]])
        with torch.no_grad():
            logits = small_model(input_ids=tokens).logits.float().log_softmax(-1)
        return float(logits[0, :-1].gather(1, tokens[0, 1:, None]).sum())

    def reverse_complement(window: str) -> str:
        return window.translate(str.maketrans("ACGT", "TGCA"))[::-1]

    one, _ = explain(config, TEXTS[1], monkeypatch, tmp_path / "e.html")
    pos = ALLELES[1][0]
    start = pos - 1 - 32
    window = BASES[start : start + 64]
    assert one.nearby is not None
    assert int(np.isfinite(one.nearby.llr).sum()) == 63
    for base, place in [(0, 0), (3, 20), (1, 10), (2, 5)]:
        at = one.nearby.positions[place] - 1 - start
        if window[at] == "ACGT"[base]:
            assert np.isnan(one.nearby.llr[base, place])
            continue
        other = window[:at] + "ACGT"[base] + window[at + 1 :]
        expected = [
            log_likelihood(turn(other)) - log_likelihood(turn(window))
            for turn in (str, reverse_complement)
        ]
        assert one.nearby.llr[base, place] == pytest.approx(np.mean(expected), abs=2e-4)


def test_with_a_stored_profile_no_model_is_opened(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stored = write_profiles(config)
    opened = []
    real = command.import_module
    monkeypatch.setattr(command, "import_module", lambda name: opened.append(name) or real(name))
    one, lines = explain(config, TEXTS[0], monkeypatch, tmp_path / "e.html")
    assert opened == []
    for profile, name in zip(one.profiles, ("profile_fwd", "profile_rev"), strict=True):
        found = [entry.difference for entry in profile.entries]
        assert found == [float(value) for value in stored[name][0]]
        assert not profile.is_whole
    assert one.nearby is not None
    assert not one.nearby.is_own_window
    assert int(np.isfinite(one.nearby.llr).sum()) == 2  # those of the table
    text = read_page(tmp_path / "e.html").text()
    assert "--run-model" in text
    assert "no model was opened" in text
    assert any("in the table" in line for line in lines)
    one, _ = explain(config, TEXTS[0], monkeypatch, tmp_path / "e.html", run_model=True)
    assert len(opened) == 1
    assert one.nearby is not None
    assert one.nearby.is_own_window
    assert "compare them with each other only" in read_page(tmp_path / "e.html").text()
    write_profiles(config, shift=0.1)
    with pytest.raises(InputError, match=r"profiles\.parquet: has the profile of another allele"):
        explain(config, TEXTS[0], monkeypatch, tmp_path / "e.html")
    write_profiles(
        config, **{"evo2_tasks.signature": '{"scores_version": 1, "reference": "x", "scoring": {}}'}
    )
    with pytest.raises(InputError, match=r"profiles\.parquet: was made with other settings"):
        explain(config, TEXTS[0], monkeypatch, tmp_path / "e.html")
    (config.output / "v" / "s" / "profiles.parquet").unlink()


def test_an_allele_in_another_spelling_is_found(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pos, ref, alt = ALLELES[1]
    before = BASES[pos - 3 : pos - 1]
    one, _ = explain(
        config, f"c:{pos - 2}:{before}{ref}:{before}{alt}", monkeypatch, tmp_path / "e.html"
    )
    assert one.row is not None
    assert one.row["record"] == 1


REPEAT = BASES[:100] + "CA" * 40 + BASES[180:]
MANY_SNVS = [(pos, alt) for pos in range(230, 251) for alt in "ACGT" if alt != REPEAT[pos - 1]]


@pytest.mark.parametrize("circular", [False, True])
def test_any_spelling_finds_the_row_and_every_snv_of_the_table_is_used(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, circular: bool
) -> None:
    long_ref = REPEAT[185:225]
    other = "ACGT"["ACGT".index(long_ref[-1]) - 1]
    rows = [
        (101, REPEAT[100:103], "C"),  # a deletion at the left end of the repeat
        (186, long_ref, long_ref[:-1] + other),  # an SNV behind 39 bases of padding
        *((pos, REPEAT[pos - 1], alt) for pos, alt in MANY_SNVS),
    ]
    project = write_project(
        tmp_path,
        genome={"c": REPEAT},
        variants=HEADER + "".join(f"c\t{p}\t.\t{ref}\t{alt}\t.\t.\t.\n" for p, ref, alt in rows),
        reference={"circular_contigs": ["c"] if circular else []},
        model={"checkpoint": str(checkpoint)},
        scoring={"window_length": 256, "profile": 4},
        output=str(tmp_path / "results"),
    )
    loaded = project.load()
    run_steps(loaded, tmp_path / "results" / "v")
    out = tmp_path / "e.html"
    monkeypatch.setattr(command, "require_same_allele", lambda *_, **__: None)
    monkeypatch.setattr(command, "read_profile", lambda *_: {"forward": np.zeros(4, np.float32)})
    (tmp_path / "results/v/s/profiles.parquet").touch()
    for text, record in (
        ("c:178:ACA:A", 0),
        (f"c:225:{long_ref[-1]}:{other}", 1),
    ):
        one, _ = explain(loaded, text, monkeypatch, out)
        assert one.row is not None
        assert one.row["record"] == record
    pos, alt = MANY_SNVS[30]
    one, _ = explain(loaded, f"c:{pos}:{REPEAT[pos - 1]}:{alt}", monkeypatch, out)
    assert one.nearby is not None
    assert int(np.isfinite(one.nearby.llr).sum()) == len(MANY_SNVS) == 63


def test_an_allele_that_no_table_has_is_explained_with_the_only_scoring(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ref = BASES[199]
    alt = "ACGT"["ACGT".index(ref) - 1]
    one, _ = explain(config, f"c:200:{ref}:{alt}", monkeypatch, tmp_path / "e.html")
    assert one.row is None
    assert one.scores["llr"] is not None
    assert "The run has no table with this allele" in read_page(tmp_path / "e.html").text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere:5:A:G", "cannot be scored: contig_not_found"),
        ("c:9999:A:G", "cannot be scored: position_out_of_range"),
        ("c:120:N:G", "cannot be scored: "),
        (f"c:120:{BASES[119]}:{BASES[119]}", "cannot be scored: not_a_variant"),
    ],
)
def test_an_allele_that_cannot_be_scored_is_one_line(
    config: RunConfig, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        [*command.explain(resolve_explain(config, None, None), text, html=tmp_path / "e.html")]
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_the_set_and_the_scoring_have_to_be_named_if_there_are_several(tmp_path: Path) -> None:
    scorings = {"s": {"model": "m", "window_length": 64}, "t": {"model": "m", "window_length": 128}}
    parts = make_config(tmp_path, scorings=scorings)
    project = write_project(tmp_path, genome={"c": BASES}, scorings=scorings)
    assert parts["scorings"].keys() == project.config["scorings"].keys()
    loaded = project.load()
    both = resolve_explain(loaded, None, None)
    assert [one.score.name for one in both] == ["s", "t"]
    with pytest.raises(InputError, match=r"--variant-set and --scoring: v s, v t"):
        [*command.explain(both, TEXTS[0])]
    assert [one.score.name for one in resolve_explain(loaded, "v", "t")] == ["t"]
    asked = HaplotypeOfSettings(project.variants, project.variants, "S", 1)
    in_genome = replace(both[0], split=replace(both[0].split, haplotype_of=asked))
    with pytest.raises(InputError, match=r"variant_sets\.v: .*haplotype_of"):
        [*command.explain([in_genome], TEXTS[0])]
    for names in (("w", None), (None, "u")):
        with pytest.raises(InputError, match=r"config: .* it has "):
            resolve_explain(loaded, *names)
