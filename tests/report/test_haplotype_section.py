"""The section about haplotypes, against pandas; drawings against the genome and its edits."""

from __future__ import annotations

import functools
import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.layout import COMPOUNDS, HAPLOTYPES, HAPLOTYPES_RUN, TABLE
from evo2_tasks.report import haplotypes
from evo2_tasks.report.drawings import FLANK, MOST_BASES, Drawing, draw_compound
from evo2_tasks.report.haplotypes import AMOUNTS, CHOSEN, MOST_NEIGHBOURS, NUM_LARGEST
from evo2_tasks.report.words import allele, count, decimal, fixed, share
from tests.project import Project
from tests.report.build_haplotypes import (
    SAMPLES,
    make_cohort,
    write_haplotype_page,
    write_haplotypes,
)
from tests.report.page import plots_of, read_page, rows_of
from tests.steps.test_haplotypes import make_genome, make_lines, make_project, run_all


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return write_haplotypes(tmp_path_factory.mktemp("haplotypes"))


@pytest.fixture(scope="module")
def page(project: Project) -> Path:
    return write_haplotype_page(project)


@pytest.fixture(scope="module")
def rows(page: Path) -> pd.DataFrame:
    """The alleles of samples, with their change and their name."""
    folder = page.parent / "s"
    frame = pq.read_table(folder / HAPLOTYPES).to_pandas()
    frame["sample"] = frame["sample"].astype(str)
    frame["change"] = frame["llr_background"] - frame["llr_alone"]
    frame.loc[frame["num_background"] == 0, "change"] = np.nan
    return frame.merge(name_alleles(folder), on=["record", "allele"], how="left")


@pytest.fixture(scope="module")
def compounds(page: Path) -> pd.DataFrame:
    frame = pq.read_table(page.parent / "s" / COMPOUNDS).to_pandas()
    for name in ("sample", "contig", "ref", "alt"):
        frame[name] = frame[name].astype(str)
    return frame


def name_alleles(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / TABLE)
    table["name"] = [
        f"{row.contig}:{row.pos} {allele(row.ref)}>{allele(row.alt)}" for row in table.itertuples()
    ]
    return table[["record", "allele", "name"]]


def size(change: pd.Series, amount: float = CHOSEN) -> pd.Series:
    return change.abs() > amount


def test_changes_and_interactions_are_counted_by_size(
    page: Path, rows: pd.DataFrame, compounds: pd.DataFrame
) -> None:
    scored, interactions = rows["change"].count(), compounds["interaction"].count()
    expected = []
    for amount in AMOUNTS:
        changed = rows[size(rows["change"], amount)]
        larger = int(size(compounds["interaction"], amount).sum())
        alleles = len(changed[["record", "allele"]].drop_duplicates())
        expected.append(
            [
                decimal(amount), count(len(changed)), share(len(changed), scored), count(alleles),
                count(larger), share(larger, interactions),
            ]
        )  # fmt: skip
    assert rows_of(page, "Changes beside neighbours and interactions by size") == expected
    assert 0 < size(rows["change"]).sum() < scored
    text = read_page(page).text()
    changed = rows[size(rows["change"])]
    assert f"{count(len(changed))} of {count(scored)} rows with neighbours" in text
    assert f"{count(changed.groupby(['record', 'allele']).ngroups)} different alleles" in text
    with_neighbours = int((rows["num_background"] > 0).sum())
    assert f"{count(with_neighbours)} of them have neighbours" in text
    run = json.loads((page.parent / "s" / HAPLOTYPES_RUN).read_text())
    assert f"{count(run['genotypes']['missing'])} missing" in text


def test_rows_are_counted_by_status_and_flag(
    page: Path, rows: pd.DataFrame, compounds: pd.DataFrame
) -> None:
    for caption, of_rows, of_compounds in (
        ("Rows by status", rows["status"], compounds["status"]),
        (
            "Scored rows by flag",
            rows["flags"].explode().dropna(),
            compounds["flags"].explode().dropna(),
        ),
    ):
        numbers = [of_rows.value_counts().to_dict(), of_compounds.value_counts().to_dict()]
        found = {row[0]: (row[1], row[3]) for row in rows_of(page, caption)}
        names = {name for one in numbers for name in one}
        assert found == {
            name: (count(numbers[0].get(name, 0)), count(numbers[1].get(name, 0))) for name in names
        }
        assert "unknown to this version" not in str(rows_of(page, caption))
    assert {"scored", "too_many_n", "too_long"} == set(rows["status"])


def test_samples_are_counted(page: Path, rows: pd.DataFrame, compounds: pd.DataFrame) -> None:
    found = {row[0]: row[1:] for row in rows_of(page, "Samples")}
    assert set(found) == set(SAMPLES)
    for sample, of_sample in rows.groupby("sample"):
        of_compounds = compounds[compounds["sample"] == sample]
        changed, beside = size(of_sample["change"]).sum(), (of_sample["num_background"] > 0).sum()
        assert found[sample] == [
            count(len(of_sample)), count(beside), count(changed), share(changed, beside),
            count((of_sample["status"] != "scored").sum()), count(len(of_compounds)),
            count(size(of_compounds["interaction"]).sum()),
        ]  # fmt: skip


def test_the_largest_changes_are_each_listed_once(page: Path, rows: pd.DataFrame) -> None:
    keys = ["record", "allele", "num_background", "llr_background"]
    grouped = rows.dropna(subset=["change"]).groupby(keys, sort=False)
    first = grouped.first().assign(carriers=grouped.size()).reset_index()
    order = first["change"].abs().sort_values(ascending=False, kind="stable").index
    names = name_alleles(page.parent / "s").set_index(["record", "allele"])["name"].to_dict()
    expected = []
    for rank, (_, one) in enumerate(first.loc[order].head(NUM_LARGEST).iterrows(), start=1):
        near = [names[other["record"], other["allele"]] for other in one["background"]]
        more = [f"and {len(near) - MOST_NEIGHBOURS} more"] if len(near) > MOST_NEIGHBOURS else []
        expected.append(
            [
                str(rank), one["name"], fixed(one["change"], sign=True), fixed(one["llr_alone"]),
                fixed(one["llr_background"]), count(one["carriers"]), one["sample"],
                count(len(near)), "; ".join([*near[:MOST_NEIGHBOURS], *more]),
            ]
        )  # fmt: skip
    found = rows_of(page, "Largest changes beside neighbours")
    assert found == expected
    assert max(int(row[5]) for row in found) > 1


def test_the_largest_interactions_are_drawn(page: Path, compounds: pd.DataFrame) -> None:
    genome, _ = make_cohort()
    keys = ["contig", "pos", "ref", "alt", "llr_sum"]
    grouped = compounds.dropna(subset=["interaction"]).groupby(keys, sort=False)
    first = grouped.first().assign(carriers=grouped.size()).reset_index()
    order = first["interaction"].abs().sort_values(ascending=False, kind="stable").index
    text = page.read_text(encoding="utf-8")
    drawings = re.findall(r'<span class="bases">(.*?)</span>', text, re.DOTALL)
    found = rows_of(page, "Largest interactions")
    assert len(found) == len(drawings) == min(NUM_LARGEST, len(first))
    for row, drawing, (_, one) in zip(
        found, drawings, first.loc[order].head(NUM_LARGEST).iterrows(), strict=True
    ):
        assert row[2:7] == [
            fixed(one["interaction"], sign=True), fixed(one["llr_joint"]), fixed(one["llr_sum"]),
            count(one["carriers"]), one["sample"],
        ]  # fmt: skip
        stated = [one["consequence"], one["amino_acids"]]
        assert row[8] == ", ".join(text for text in stated if isinstance(text, str))
        lines = [line.split(None, 1) for line in drawing.split("\n")]
        assert [name for name, _ in lines] == ["reference", "haplotype"]
        whole, start = genome[one["contig"]], one["pos"] - 1
        if one["contig"] == "ring":
            whole, start = 3 * whole, start + len(whole)
        end = start + len(one["ref"])
        for (_, marked), bases in zip(lines, (one["ref"], one["alt"]), strict=True):
            plain = re.sub(r"</?mark>|-", "", marked)
            if "…" not in plain:
                flanks = whole[max(0, start - FLANK) : start], whole[end : end + FLANK]
                assert plain == bases.join(flanks)
            assert marked.count("<mark>") == len(one["members"])
        same = [re.sub(r"<mark>.*?</mark>", "", marked) for _, marked in lines]
        assert same[0] == same[1]
        shown = [html.unescape(re.sub(r"</?mark>", "", marked)) for _, marked in lines]
        assert len(shown[0]) == len(shown[1])


def test_the_plots_show_the_scores_and_the_changes(page: Path, rows: pd.DataFrame) -> None:
    plots = plots_of(page)
    scored = rows.dropna(subset=["change"])
    pairs = plots["llr alone and beside the neighbours, s"]
    points = pairs["data"][0]
    assert points["x"] == pytest.approx(scored["llr_alone"].tolist(), rel=1e-4)
    assert points["y"] == pytest.approx(scored["llr_background"].tolist(), rel=1e-4)
    assert f"{count(len(scored))} rows" in pairs["caption"]
    unphased = scored["haplotype"].isna()
    for text, name, sample, is_unphased in zip(
        points["hovertext"], scored["name"], scored["sample"], unphased, strict=True
    ):
        assert text.startswith(html.escape(name[:20], quote=False))
        assert html.escape(sample, quote=False) in text
        assert text.count("unphased") == is_unphased
    plot = plots["Change by the number of neighbours, s"]
    power = np.floor(np.log2(scored["num_background"]))
    quantiles = scored.groupby(power)["change"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    outer, inner, median = plot["data"]
    assert median["y"] == pytest.approx(quantiles[0.5].tolist(), rel=1e-4)
    for trace, low, high in ((outer, 0.05, 0.95), (inner, 0.25, 0.75)):
        bars = trace["error_y"]
        assert bars["array"] == pytest.approx((quantiles[high] - quantiles[0.5]).tolist(), rel=1e-4)
        assert bars["arrayminus"] == pytest.approx(
            (quantiles[0.5] - quantiles[low]).tolist(), rel=1e-4
        )
    labels = plot["layout"]["xaxis"]["ticktext"]
    expected = [(int(2**one), int(2 ** (one + 1) - 1)) for one in quantiles.index]
    assert labels == [str(a) if a == b else f"{a} to {b}" for a, b in expected]


def test_the_page_is_the_same_in_pieces(
    project: Project, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page.read_bytes()
    read = haplotypes.read_rows
    monkeypatch.setattr(haplotypes, "read_rows", functools.partial(read, batch_rows=7))
    assert write_haplotype_page(project).read_bytes() == before


def test_names_of_samples_are_no_markup(page: Path) -> None:
    found = read_page(page)
    assert found.all("img") == []
    assert SAMPLES[1] in found.text()


def write_genome(folder: Path, bases: str) -> Path:
    fasta = folder / "c.fa"
    fasta.write_text(f">c\n{bases}\n")
    return fasta


def make_allele(pos: int, ref: str, alt: str) -> dict[str, object]:
    return {"record": 0, "allele": 1, "contig": "c", "pos": pos, "ref": ref, "alt": alt}


def lines_of(drawing: Drawing) -> list[str]:
    """Both lines, with brackets around the changed parts."""
    lines = ["", ""]
    for ref, alt, is_changed in drawing.parts:
        for number, text in enumerate((ref, alt)):
            lines[number] += f"[{text}]" if is_changed else text
    return lines


@pytest.mark.parametrize(
    ("bases", "circular", "compound", "members", "expected"),
    [
        (  # the deletion is moved to the left end of the repeat
            "ACGTTTTGCA", False, (3, "GT", "C"), [(3, "G", "C"), (6, "TT", "T")],
            ["AC[G][T]TTTGCA", "AC[C][-]TTTGCA"],
        ),
        (  # an insertion before the first base of a contig
            "ACGTACGT", False, (1, "A", "TTA"), [(1, "A", "TTA")],
            ["[--]ACGTACGT", "[TT]ACGTACGT"],
        ),
        (  # across position 0 of a circle: the bases on either side are each drawn once
            "ACGTACGTAC", True, (10, "CA", "GT"), [(10, "C", "G"), (1, "A", "T")],
            ["CGTA[C][A]CGTA", "CGTA[G][T]CGTA"],
        ),
    ],
)  # fmt: skip
def test_a_compound_is_drawn(
    tmp_path: Path,
    bases: str,
    circular: bool,
    compound: tuple[int, str, str],
    members: list[tuple[int, str, str]],
    expected: list[str],
) -> None:
    circles = ["c"] if circular else []
    reference = Reference(write_genome(tmp_path, bases), circular_contigs=circles)
    drawn = draw_compound(make_allele(*compound), [make_allele(*one) for one in members], reference)
    assert lines_of(drawn) == expected


def test_long_parts_are_shortened(tmp_path: Path) -> None:
    reference = Reference(write_genome(tmp_path, "ACGT" * 10))
    inserted = "G" * 100
    row = make_allele(5, "A", "A" + inserted)
    before, part, after = draw_compound(row, [row], reference).parts[-3:]
    assert len(part.alt) == len(part.ref) == MOST_BASES + len("…76…")
    assert (before.ref, after.ref) == ("A", "CGTACGTA")


def test_another_reference_is_an_error(project: Project, page: Path) -> None:
    fasta = project.genome
    text = fasta.read_text()
    turned = text.translate(str.maketrans("ACGT", "TGCA"))
    try:
        fasta.write_text(turned)
        with pytest.raises(InputError, match=r"has other bases at .* than the table of scores"):
            write_haplotype_page(project)
    finally:
        fasta.write_text(text)


@pytest.mark.parametrize("name", [HAPLOTYPES, COMPOUNDS, HAPLOTYPES_RUN])
def test_a_file_that_is_missing_is_an_error(project: Project, page: Path, name: str) -> None:
    file = page.parent / "s" / name
    content = file.read_bytes()
    try:
        file.unlink()
        with pytest.raises(InputError, match=f"{name}: does not exist. Run `merge-haplotypes`"):
            write_haplotype_page(project)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("name", [HAPLOTYPES, COMPOUNDS])
def test_a_table_of_another_run_is_an_error(project: Project, page: Path, name: str) -> None:
    file = page.parent / "s" / name
    content = file.read_bytes()
    try:
        pq.write_table(pq.read_table(file).slice(1), file)
        with pytest.raises(InputError, match="was made from another table"):
            write_haplotype_page(project)
    finally:
        file.write_bytes(content)


def test_files_of_other_settings_are_an_error(project: Project, page: Path) -> None:
    project.config["variant_sets"]["v"]["haplotypes"] = {"samples": ["S1"]}
    try:
        with pytest.raises(InputError, match="samples"):
            write_haplotype_page(project)
    finally:
        project.config["variant_sets"]["v"]["haplotypes"] = {"samples": "all"}


def test_a_set_without_haplotypes_has_no_section(project: Project, page: Path) -> None:
    del project.config["variant_sets"]["v"]["haplotypes"]
    try:
        text = write_haplotype_page(project).read_text()
    finally:
        project.config["variant_sets"]["v"]["haplotypes"] = {"samples": "all"}
    assert 'id="haplotypes"' not in text


def test_a_set_that_nobody_carries_has_a_page(tmp_path: Path) -> None:
    genome = make_genome()
    lines = [(*line[:4], ["0|0", "0|0"]) for line in make_lines(genome, seed=2)]
    project = make_project(tmp_path, None, lines, genome=genome)
    run_all(project)
    text = read_page(write_haplotype_page(project)).text()
    assert "0 rows of 2 samples" in text
