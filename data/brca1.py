"""Make the BRCA1 variants of config.brca1.yaml from the supplement of their paper.

The variants are 3,893 SNVs whose function was measured in cells by saturation genome editing
(Findlay et al., Nature 562, 217, 2018). They may not be shipped here. Download Supplementary
Table 1, an Excel file (``41586_2018_461_MOESM3_ESM.xlsx``), and the sequence of chromosome 17 of
hg19. Then make the files that the config names:

    curl -L -o data/findlay.xlsx https://static-content.springer.com/esm/\
art%3A10.1038%2Fs41586-018-0461-z/MediaObjects/41586_2018_461_MOESM3_ESM.xlsx
    curl -L https://hgdownload.soe.ucsc.edu/goldenPath/hg19/chromosomes/chr17.fa.gz \
        | gunzip > data/chr17.fa
    pip install pandas openpyxl
    python data/brca1.py data/findlay.xlsx --out data/brca1.tsv
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

HEADER_ROW = 2  # 0-based; two rows of headings are above it
COLUMNS = {
    "chromosome": "contig",
    "position (hg19)": "pos",
    "reference": "ref",
    "alt": "alt",
    "func.class": "CLASS",
    "function.score.mean": "FUNCTION_SCORE",
    "consequence": "CONSEQUENCE",
    "CADD.score": "CADD",
    "phyloP (mammalian)": "PHYLOP",
}


def read_supplement(path: Path) -> pd.DataFrame:
    """The variants by genome position, a row for each, with the columns that the config names."""
    sheet = pd.read_excel(path, header=HEADER_ROW)
    missing = [name for name in COLUMNS if name not in sheet.columns]
    if missing:
        sys.exit(
            f"{path}: has no column {missing[0]!r} in row {HEADER_ROW + 1}. Expected Supplementary "
            "Table 1 of Findlay et al. 2018."
        )
    table = sheet[list(COLUMNS)].rename(columns=COLUMNS)
    return table.sort_values(["pos", "alt"], ignore_index=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("supplement", type=Path, help="the paper's Supplementary Table 1, .xlsx")
    parser.add_argument("--out", type=Path, required=True, metavar="TSV")
    arguments = parser.parse_args()
    table = read_supplement(arguments.supplement)
    table.to_csv(arguments.out, sep="\t", index=False)
    print(f"{arguments.out}: {len(table):,} variants")


if __name__ == "__main__":
    main()
