"""The picture of the data flow, ``docs/figures/data_flow.svg``; ``docs/generate.py`` writes it.

All text is inside filled boxes, so the picture can be read on a light and on a dark background.
"""

from xml.sax.saxutils import escape

WIDTH, HEIGHT = 200, 70
LEGEND_HEIGHT = 30
COLUMNS = (10, 260, 510, 760)
ROWS = (10, 130, 260, 380, 480)
COLORS = {  # fill and border
    "input": ("#e3ecf9", "#4f78b5"),
    "CPU step": ("#e6f2e0", "#578a43"),
    "GPU step": ("#fde9c3", "#c0821a"),
    "result": ("#eee4f8", "#7f57ad"),
}
ARROW = "#848d97"  # seen on white and on black

BOXES = {  # column, row, kind, title, lines
    "variants": (0, 0, "input", "variants", ["VCF, BCF, table, list,", "BED to saturate"]),
    "reference": (1, 0, "input", "reference", ["FASTA"]),
    "model": (2, 0, "input", "model", ["checkpoint file, or", "a hub (step fetch)"]),
    "config": (3, 0, "input", "config.yaml", ["what to score, and how"]),
    "split": (0, 1, "CPU step", "split", ["one row per allele,", "cut into shards"]),
    "windows": (1, 1, "CPU step", "windows", ["status and window", "of each allele"]),
    "score": (2, 1, "GPU step", "score", ["Evo 2 on the ref and alt", "window, both strands"]),
    "merge": (
        3,
        1,
        "CPU step",
        "merge",
        ["all shards in one table,", "with genes, carried fields"],
    ),
    "table": (
        3,
        2,
        "result",
        "scores.parquet",
        ["one row per allele,", "run.json next to it"],
    ),
    "evaluate": (2, 2, "CPU step", "evaluate", ["with labels:", "metrics.parquet"]),
    "calibrate": (
        3,
        3,
        "CPU step",
        "calibrate",
        ["quantiles, evidence:", "calibrated.parquet"],
    ),
    "report": (1, 2, "CPU step", "report", ["settings, scores, metrics"]),
    "page": (0, 2, "result", "report.html", ["one page, no network"]),
    "export": (
        2,
        3,
        "CPU step",
        "export, index",
        ["other formats of the table;", "index of a VCF"],
    ),
    "files": (1, 3, "result", "VCF, sites, TSV,", ["bedGraph, bigWig"]),
}
ARROWS = [
    ("variants", "split"),
    ("reference", "split"),
    ("reference", "windows"),
    ("model", "score"),
    ("split", "windows"),
    ("windows", "score"),
    ("score", "merge"),
    ("merge", "table"),
    ("table", "evaluate"),
    ("evaluate", "report"),
    ("report", "page"),
    ("table", "calibrate"),
    ("table", "export"),
    ("calibrate", "evaluate"),
    ("calibrate", "export"),
    ("export", "files"),
]


def draw_box(name: str) -> str:
    """A box with its title in bold and its lines below."""
    column, row, kind, title, lines = BOXES[name]
    x, y = COLUMNS[column], ROWS[row]
    fill, border = COLORS[kind]
    first = y + HEIGHT / 2 - 9 * len(lines) + 5
    texts = [f'<text class="title" x="{x + WIDTH / 2}" y="{first}">{escape(title)}</text>']
    texts += [
        f'<text x="{x + WIDTH / 2}" y="{first + 18 * number}">{escape(line)}</text>'
        for number, line in enumerate(lines, start=1)
    ]
    box = (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
        f' fill="{fill}" stroke="{border}"/>'
    )
    return "\n".join([box, *texts])


def draw_arrow(source: str, target: str) -> str:
    """A line from the edge of one box to the edge of the other."""
    (from_column, from_row, *_), (to_column, to_row, *_) = BOXES[source], BOXES[target]
    from_x, to_x = COLUMNS[from_column] + WIDTH / 2, COLUMNS[to_column] + WIDTH / 2
    from_y, to_y = ROWS[from_row] + HEIGHT / 2, ROWS[to_row] + HEIGHT / 2
    if from_row == to_row:
        side = 1 if to_x > from_x else -1
        from_x, to_x = from_x + side * WIDTH / 2, to_x - side * (WIDTH / 2 + 4)
    else:
        down = 1 if to_y > from_y else -1
        from_y, to_y = from_y + down * HEIGHT / 2, to_y - down * (HEIGHT / 2 + 4)
        if from_column != to_column:  # slanted: not through the middle of the box
            side = 1 if to_x > from_x else -1
            from_x, to_x = from_x + side * WIDTH / 4, to_x - side * WIDTH / 4
    return f'<line x1="{from_x}" y1="{from_y}" x2="{to_x}" y2="{to_y}" marker-end="url(#head)"/>'


def draw_legend() -> list[str]:
    """A small box of each colour with its meaning."""
    parts = []
    for number, (kind, (fill, border)) in enumerate(COLORS.items()):
        y = ROWS[4]
        x = COLUMNS[0] + number * 104
        parts.append(
            f'<rect x="{x}" y="{y}" width="96" height="{LEGEND_HEIGHT}" rx="6" fill="{fill}"'
            f' stroke="{border}"/>\n<text x="{x + 48}" y="{y + 20}">{kind}</text>'
        )
    return parts


def draw() -> str:
    """The picture as SVG."""
    width, height = COLUMNS[-1] + WIDTH + 10, ROWS[-1] + LEGEND_HEIGHT + 10
    head = (
        '<marker id="head" markerWidth="8" markerHeight="8" refX="4" refY="4" orient="auto">'
        f'<path d="M0,0.5 L7,4 L0,7.5 z" fill="{ARROW}"/></marker>'
    )
    style = (
        "text { font-family: sans-serif; font-size: 14px; text-anchor: middle; fill: #1f2328 }"
        " .title { font-weight: bold; font-size: 15px }"
        f" line {{ stroke: {ARROW}; stroke-width: 2 }} rect {{ stroke-width: 1.5 }}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>Variants and a reference go through split, windows, score and merge to"
            " scores.parquet, and from there to calibrate, export, evaluate and report</title>",
            f"<defs>{head}<style>{style}</style></defs>",
            *(draw_arrow(*arrow) for arrow in ARROWS),
            *(draw_box(name) for name in BOXES),
            *draw_legend(),
            "</svg>\n",
        ]
    )
