"""The page of ``explain`` without a browser: its texts, and that data never is markup."""

from __future__ import annotations

from pathlib import Path

from evo2_tasks.report.explanations import find_largest, write_explanation
from tests.report.build_explanation import HOSTILE, make_explanation
from tests.report.page import plots_of, read_page, rows_of


def test_hostile_text_is_text(tmp_path: Path) -> None:
    write_explanation(make_explanation(), tmp_path / "e.html")
    page = read_page(tmp_path / "e.html")
    assert page.all("img") == page.all("b") == []
    assert len(page.all("script")) == 3
    assert HOSTILE.replace("\u202e", "\\u202e")[:20] in page.text()
    assert "\u202e" not in page.text()


def test_the_table_has_the_largest_downstream_differences(tmp_path: Path) -> None:
    one = make_explanation(contig="chr1")
    write_explanation(one, tmp_path / "e.html")
    rows = rows_of(tmp_path / "e.html", "Downstream bases")
    entries = [
        (abs(entry.difference), profile.strand, entry.pos)
        for profile in one.profiles
        for entry in profile.entries
        if entry.kind == "downstream"
    ]
    expected = [(strand, f"chr1:{pos}") for _, strand, pos in sorted(entries, reverse=True)[:12]]
    assert [(row[2], row[0]) for row in rows] == expected
    assert len(find_largest(one.profiles)) == 12


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    one = make_explanation(profiles=[], row=None, neighbours=[], nearby=None, notes=[])
    write_explanation(one, tmp_path / "e.html")
    text = read_page(tmp_path / "e.html").text()
    for said in ("No strand has a profile", "no table with this allele", "no scores of SNVs"):
        assert said in text
    assert plots_of(tmp_path / "e.html") == {}
