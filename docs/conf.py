"""Settings of the documentation as a website, for Sphinx: ``make docs`` builds it.

The pages are the Markdown files of the repository, where they are, so that a link is right in the
repository and on the site. There are three rules for links:

- A link to a page leads to the page.
- A link to a folder leads to the ``README.md`` in it.
- A link to any other file leads to a copy of the file, which is part of the site.

`docs/index.md` is the front page. Its list of links is the navigation as well: each heading becomes
a section, and each item that begins with a link becomes an entry. In the same way, a page with the
line ``<!-- navigation: PATTERN -->`` has the pages of this pattern below it. A page that is in no
navigation, a link that leads nowhere and a mistake in a docstring are errors.
"""

import importlib.metadata
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "evo2-tasks"
version = release = importlib.metadata.version(project)
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]

root_doc = "docs/index"
include_patterns = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "config/README.md",
    "data/README.md",
    "docs/**.md",
    "evo2_tasks/checkpoints/evo2-mini/README.md",
    "evo2_tasks/verification/published/README.md",
    "training/README.md",
    "training/log.md",
]
# Folders that are not searched for pages.
exclude_patterns = [".*", "build", "logs", "results", "**/__pycache__"]

nitpicky = True
# Types of other packages, whose documentation is not at hand.
nitpick_ignore_regex = [("py:.*", r"(collections|pathlib|pd|torch|transformers)\..*|Path")]
myst_heading_anchors = 6

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
default_role = "code"  # in docstrings a name is in single backquotes

html_theme = "furo"
html_title = f"evo2-tasks {release.partition('+')[0]}"
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["site/static"]
html_css_files = ["site.css"]
# The front page is docs/index.html; index.html at the top leads to it.
templates_path = ["site/templates"]
html_additional_pages = {"index": "to_front_page.html"}
html_copy_source = False
html_search_scorer = str(ROOT / "docs" / "site" / "search_scorer.js")
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)#]+\.md)\)", re.MULTILINE)
PATTERN = re.compile(r"^<!-- navigation: (\S+) -->$", re.MULTILINE)


def navigation(entries: list[str], *options: str) -> str:
    """Entries of the navigation, as a directive of Sphinx."""
    return "\n".join(["\n```{toctree}", ":hidden:", *options, "", *entries, "```\n"])


def add_navigation(app: Sphinx, page: str, content: list[str]) -> None:
    """Add the navigation that the lists of a page state to the page."""
    text = content[0]
    if page == root_doc:
        _, *sections = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
        for title, section in zip(sections[::2], sections[1::2], strict=True):
            entries = [f"{name} <{target}>" for name, target in ITEM.findall(section)]
            content[0] += navigation(entries, f":caption: {title}")
    content[0] += "".join(navigation([one], ":glob:") for one in PATTERN.findall(text))


def follow_folders(app: Sphinx, doctree: nodes.document) -> None:
    """Lead each link to a folder to the ``README.md`` in it."""
    page = app.env.docname
    for link in doctree.findall(addnodes.pending_xref):
        folder = (ROOT / page).parent / link.get("reftarget", "")
        if link["reftype"] == "myst" and (folder / "README.md").is_file():
            name = (folder / "README").resolve().relative_to(ROOT).as_posix()
            link.attributes.update(refdomain="doc", reftarget=name, reftargetid=None)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", follow_folders)
