"""Time and peak memory of every step without a model: a table, and a last line of JSON.

The program makes a random genome and a labelled VCF of the given size, and runs each step as a
separate process. Run it in the checkout: `python benchmarks/stages.py`.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from run_steps import describe_run, print_rows, run_steps, write_config

STEPS = (
    *("split", "carry", "windows", "merge", "export", "index", "evaluate", "report"),
    *("show", "query", "status"),
)
CALIBRATION_STEPS = ("fit-calibration", "calibrate")
"""Steps that run only if they are asked for: they change what the later steps do."""
CALIBRATIONS = {"all": [], "strata": ["MC", "type"], "contexts": ["trinucleotide"]}
LABELS: dict[str, object] = {
    "labels": {"CLNSIG": {"positive": ["Pathogenic"], "negative": ["Benign"]}},
    "groups": ["MC", "GENE"],
    "baselines": {"CADD": "high", "PHYLOP": "high", "AF": "low"},
    "carry": ["CLNREVSTAT"],
}
HEADER = """##fileformat=VCFv4.2
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="Clinical significance">
##INFO=<ID=CLNREVSTAT,Number=.,Type=String,Description="Review status">
##INFO=<ID=MC,Number=.,Type=String,Description="Consequence">
##INFO=<ID=GENE,Number=1,Type=String,Description="Gene">
##INFO=<ID=CADD,Number=1,Type=Float,Description="A predictor with ties">
##INFO=<ID=PHYLOP,Number=1,Type=Float,Description="A predictor that some variants lack">
##INFO=<ID=AF,Number=1,Type=Float,Description="Allele frequency, mostly 0">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
"""
CONSEQUENCES = (
    *("missense_variant", "synonymous_variant", "intron_variant", "nonsense", "splice_donor"),
    *("5_prime_UTR_variant", "3_prime_UTR_variant", "frameshift_variant", "inframe_deletion"),
)
SHARES = np.array([40, 25, 15, 5, 3, 4, 4, 3, 1]) / 100
REVIEWS = ("no_assertion_criteria_provided", "criteria_provided,_single_submitter")
NUM_GENES = 3_000
NUM_CONTIGS = 10
ALLELES_PER_SITE = 3
BASES = np.frombuffer(b"ACGT", np.uint8)


def write_inputs(
    folder: Path,
    *,
    alleles: int,
    megabases: int,
    window: int,
    labelled: float,
    calibrated: bool = False,
) -> str:
    """Write a genome of ten contigs, and sorted SNVs, deletions and insertions on it.

    Args:
        folder: Where to write.
        alleles: Number of alleles; three have the same position.
        megabases: Length of the genome.
        window: Length of the windows.
        labelled: Share of the alleles that have a label.
        calibrated: Whether the set has calibrations, with itself as the background.

    Returns:
        A region with about a thousandth of the alleles.
    """
    rng = np.random.default_rng(1)
    length = megabases * 10**6 // NUM_CONTIGS
    sites = alleles // ALLELES_PER_SITE // NUM_CONTIGS
    with (folder / "genome.fa").open("w") as fasta, (folder / "variants.vcf").open("w") as vcf:
        vcf.write(HEADER)
        for number in range(1, NUM_CONTIGS + 1):
            bases = BASES[rng.integers(0, 4, length)].tobytes().decode()
            fasta.write(f">chr{number}\n")
            fasta.writelines(bases[i : i + 60] + "\n" for i in range(0, length, 60))
            starts = np.sort(rng.integers(window, length - window, sites))
            lines = make_lines(f"chr{number}", bases, np.repeat(starts, ALLELES_PER_SITE), labelled)
            vcf.writelines(lines)
    write_config(
        folder,
        window_length=window,
        calibrations=CALIBRATIONS if calibrated else {},
        **(LABELS if labelled else {}),
    )
    return f"chr1:{length // 2}-{length // 2 + length // 100}"


def make_lines(contig: str, bases: str, starts: np.ndarray, labelled: float) -> list[str]:
    """Lines of a VCF, one for each start (0-based); the same start is in successive lines."""
    rng = np.random.default_rng(len(starts))
    num = len(starts)
    is_bad = rng.random(num) < 0.3
    significance = np.where(is_bad, "Pathogenic", "Benign")
    significance[rng.random(num) >= labelled] = "Uncertain"
    consequence = rng.choice(CONSEQUENCES, num, p=SHARES)
    gene = starts * NUM_GENES // len(bases)
    cadd = np.round(np.abs(10 + 8 * rng.normal(size=num) + 6 * is_bad), 2)
    phylop = np.round(rng.normal(size=num) + is_bad, 3)
    lacks_phylop = rng.random(num) < 0.1
    frequency = np.where(rng.random(num) < 0.8, 0, rng.random(num) / 100)
    kinds, lengths = rng.random(num), rng.integers(2, 12, num)
    review = rng.choice(REVIEWS, num)
    lines = []
    for i, start in enumerate(starts.tolist()):
        ref, alt = bases[start], "ACGT"[("ACGT".index(bases[start]) + 1 + i % 3) % 4]
        if kinds[i] > 0.95:
            ref, alt = bases[start : start + int(lengths[i])], bases[start]
        elif kinds[i] > 0.9:
            alt = ref + "ACGTACGTACGT"[: int(lengths[i])]
        more = "" if lacks_phylop[i] else f";PHYLOP={phylop[i]}"
        lines.append(
            f"{contig}\t{start + 1}\t.\t{ref}\t{alt}\t.\tPASS\tCLNSIG={significance[i]};"
            f"CLNREVSTAT={review[i]};MC=SO:0001|{consequence[i]};GENE=G{gene[i]};CADD={cadd[i]};"
            f"AF={frequency[i]:.3g}{more}\n"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alleles", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--megabases", type=int, default=100)
    parser.add_argument("--window", type=int, default=8192)
    parser.add_argument("--labelled", type=float, default=1.0, help="Share of labelled alleles.")
    parser.add_argument("--steps", nargs="+", choices=(*STEPS, *CALIBRATION_STEPS), default=STEPS)
    parser.add_argument("--folder", type=Path, help="Keep the files in this folder.")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for alleles in args.alleles:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.folder or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            region = write_inputs(
                folder,
                alleles=alleles,
                megabases=args.megabases,
                window=args.window,
                labelled=args.labelled,
                calibrated=not {*CALIBRATION_STEPS}.isdisjoint(args.steps),
            )
            for measured in run_steps(
                folder, alleles=alleles, steps=tuple(args.steps), region=region
            ):
                rows.append(asdict(measured))
                print("  ".join(map(str, rows[-1].values())), flush=True)
    print_rows(rows)
    sizes = {"window_length": args.window, "megabases": args.megabases, "labelled": args.labelled}
    print(json.dumps({"benchmark": "stages", **describe_run(), **sizes, "rows": rows}))


if __name__ == "__main__":
    main()
