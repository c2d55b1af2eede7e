"""A report as a reader without scripts has it: elements, texts, tables, and the data of plots."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "br", "wbr", "img", "link", "input"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag not in ("script", "style"))

    def scripts(self) -> list[str]:
        return [text for tag, text in self.texts if tag == "script"]


def read_page(page: Path) -> Page:
    return Page(page.read_text(encoding="utf-8"))


def rows_of(page: Path, caption: str) -> list[list[str]]:
    """The body of the table whose caption begins with this text."""
    text = page.read_text(encoding="utf-8")
    (table,) = re.findall(rf"<caption>{re.escape(caption)}.*?</table>", text, re.DOTALL)
    body = table.partition("<tbody>")[2]
    return [
        [Page(cell).text() for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    ]


def plots_of(page: Path) -> dict[str, dict[str, Any]]:
    """The plots by their title, each with its caption."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r'<div class="title"[^>]*>(.*?)</div>', text)
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", text)
    plots = json.loads(read_page(page).scripts()[0])
    return {
        title: plot | {"caption": caption}
        for title, caption, plot in zip(titles, captions, plots, strict=True)
    }


def names_of(plot: dict[str, Any]) -> list[str]:
    """The names of the series of a plot."""
    return [trace["name"] for trace in plot["data"] if "name" in trace]
