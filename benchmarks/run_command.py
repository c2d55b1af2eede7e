"""CPU time of `evo2-tasks run` for ten SNVs with evo2-mini, and of Snakemake with the same config.

The SNVs are the first ten of the demo, in windows of `--window-length` bases on both strands.

- *run*: the command in a new folder. With *one thread*, `OMP_NUM_THREADS` is 1; else torch decides.
- *run again*: the same command once more, which finds the scores finished.
- *Snakemake*: the jobs of the workflow up to the table, from the config that the command wrote, in
  a new folder and on one core.

CPU time is user and system time of all processes. The target is 15 s for *run*.

    python benchmarks/run_command.py
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median

from machine import describe_machine, print_table, significant

ROOT = Path(__file__).parent.parent
NUM_SNVS = 10
TARGET_S = 15


def write_files(folder: Path) -> None:
    """Write the reference and the first SNVs of the demo."""
    folder.mkdir()
    shutil.copy(ROOT / "data" / "rCRS.fa", folder)
    with gzip.open(ROOT / "data" / "mitomap.vcf.gz", "rt") as demo:
        lines = demo.readlines()
    header = [line for line in lines if line.startswith("#")]
    snvs = (line for line in lines[len(header) :] if {len(one) for one in line.split()[3:5]} == {1})
    (folder / "in.vcf").write_text("".join([*header, *islice(snvs, NUM_SNVS)]))


def measure(folder: Path, command: list[str], *, threads: int | None) -> float:
    """Run a command; gives the CPU seconds of its processes."""
    variables = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if threads is not None:
        variables["OMP_NUM_THREADS"] = str(threads)
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--window-length", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    command = ["evo2-tasks", "run", "in.vcf", "--fasta", "rCRS.fa", "--circular-contigs", "MT"]
    command += ["--checkpoint", "evo2-mini", "--window-length", str(arguments.window_length)]
    workflow = ["snakemake", "-s", str(ROOT / "workflow" / "Snakefile"), "--cores", "1"]
    workflow += ["--configfile", "scores.config.yaml"]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(arguments.repeats):
            for case, threads in (("run", None), ("run, one thread", 1)):
                folder = Path(name) / f"{case} {turn}"
                write_files(folder)
                times.setdefault(case, []).append(measure(folder, command, threads=threads))
                again = times.setdefault(case.replace("run", "run again", 1), [])
                again.append(measure(folder, command, threads=threads))
            folder = Path(name) / f"workflow {turn}"
            write_files(folder)
            shutil.copy(Path(name) / f"run {turn}" / "scores.config.yaml", folder)
            targets = [*(Path(name) / f"run {turn}").glob("scores.results/*/*/scores.parquet")]
            target = str(targets[0].relative_to(Path(name) / f"run {turn}"))
            found = measure(folder, [*workflow[:1], target, *workflow[1:]], threads=None)
            times.setdefault("Snakemake", []).append(found)
    rows = [
        {"case": case, "cpu_s": significant(median(taken)), "most_cpu_s": significant(max(taken))}
        for case, taken in sorted(times.items(), key=lambda item: item[0] == "Snakemake")
    ]
    print_table(rows)
    result = {"benchmark": "run_command", "machine": describe_machine(), "target_s": TARGET_S}
    print(json.dumps(result | {"arguments": vars(arguments), "rows": rows}))


if __name__ == "__main__":
    main()
