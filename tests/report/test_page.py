"""The HTML of a report: valid, accessible, and with a policy that allows its own scripts only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

from tests.report.page import read_page


def test_elements_are_closed_and_ids_are_unique(page: Path) -> None:
    html = read_page(page)
    assert html.open == []
    assert html.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in html.all("a"):
        assert (link["href"] or "").removeprefix("#") in ids
    for _, attributes in html.elements:
        for name in ("aria-describedby", "aria-labelledby"):
            assert attributes.get(name, ids[0]) in ids


def test_headings_are_in_order(page: Path) -> None:
    levels = [int(tag[1]) for tag, _ in read_page(page).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_plot_has_a_caption_and_every_head_a_scope(page: Path) -> None:
    html = read_page(page)
    drawings = [one for one in html.all("div") if one.get("role") == "img"]
    assert len(drawings) == len(json.loads(html.scripts()[0])) > 10
    assert all(one["aria-label"] for one in drawings)
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", page.read_text())
    assert len(captions) == len(drawings)
    assert all(re.search(r"\d", caption) for caption in captions)
    assert {one.get("scope") for one in html.all("th")} == {"col", "row"}
    assert all(one.get("tabindex") == "0" for one in html.all("div") if "region" in str(one))


def test_the_policy_allows_the_two_scripts_and_nothing_else(page: Path) -> None:
    html = read_page(page)
    (policy,) = [
        one["content"] for one in html.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    _, *scripts = html.scripts()
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    assert len(digests) == 2
    rules = dict(rule.strip().partition(" ")[::2] for rule in (policy or "").split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert "http" not in (policy or "")
    assert not [one for one in html.elements if {"src", "onclick", "onload"} & set(one[1])]
