"""All checks and times of a device: a table, and one line of JSON to send with an issue report.

    bash benchmarks/gpu/run.sh
    bash benchmarks/gpu/run.sh --device cpu --small

It needs torch, transformers and the sources of this package only, and no network. The exit code is
1 if a check or a time ended with an exception, or if a check found too large a difference.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import transformers

from evo2_tasks.verification.device_checks import FULL, SMALL, Bench, Result, run_checks
from evo2_tasks.verification.device_times import CONVOLUTION, Time, run_timings

SECONDS, SMALL_SECONDS = 1.0, 0.05  # for the runs of each timing
LONGEST_S = 240.0  # no timing starts later
GOOD = {"passed", "measured", "not_run"}
NAME_WIDTH = 72


def choose_device(name: str | None) -> torch.device:
    """The device of this name; by default the accelerator of this machine, or else the CPU."""
    if name is not None:
        return torch.device(name)
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else torch.device(found.type, 0)


def examine(
    device: torch.device, *, small: bool, show: Callable[[str], object] = lambda _line: None
) -> dict[str, Any]:
    """Check and time a device with a model of random weights.

    Args:
        device: The device.
        small: Whether the model is narrow and the windows are short.
        show: Called with each line of the table as soon as it is known.

    Returns:
        ``sizes``, ``checks``, ``times``, ``fastest_convolutions`` and ``seconds``, for JSON.
    """
    begun = time.monotonic()
    bench = Bench(device, SMALL if small else FULL)
    show(f"{'status':9}{'check or time':{NAME_WIDTH}}{'result':>12}  limit, and its reason")
    checks: list[Result] = []
    for result in run_checks(bench):
        show(line_of_check(result))
        checks.append(result)
    times: list[Time] = []
    seconds = SMALL_SECONDS if small else SECONDS
    for measured in run_timings(bench, seconds=seconds, until=begun + LONGEST_S):
        show(line_of_time(measured))
        times.append(measured)
    return {
        "sizes": bench.sizes._asdict(),
        "checks": [as_json(asdict(one)) for one in checks],
        "times": [as_json(asdict(one)) for one in times],
        "fastest_convolutions": fastest_convolutions(times),
        "seconds": round(time.monotonic() - begun, 1),
    }


def line_of_check(result: Result) -> str:
    """A check as a line of the table."""
    start = f"{result.status:9}{result.name:{NAME_WIDTH}}"
    if result.difference is None or result.limit is None:
        return f"{start}{'-':>12}  {result.reason}"
    return f"{start}{result.difference:12.3g}  {result.limit:.3g} {result.reason}"


def line_of_time(measured: Time) -> str:
    """A time as a line of the table."""
    start = f"{measured.status:9}{measured.name:{NAME_WIDTH}}"
    if measured.ms is None or measured.tokens_per_s is None:
        return f"{start}{'-':>12}  {measured.reason}"
    line = f"{start}{measured.ms:9.3g} ms  {measured.tokens_per_s:,.0f} tokens per s"
    if measured.matmul_tflop_per_s is not None:
        line += f", {measured.matmul_tflop_per_s:.3g} TFLOP per s"
    if measured.matmul_speed is not None:
        line += f", {measured.matmul_speed:.3g} of the speed of its matrix multiplications"
    if measured.matmul_time is not None:
        line += f", {measured.matmul_time:.3g} of the time of a layer's matrix multiplications"
    return line


def fastest_convolutions(times: Sequence[Time]) -> dict[str, str]:
    """For each number of taps and dtype, the fastest form of the depthwise convolution."""
    of_case: dict[str, dict[str, float]] = {}
    for measured in times:
        if measured.name.startswith(CONVOLUTION) and measured.ms is not None:
            case, form = measured.name.removeprefix(CONVOLUTION).rsplit(", ", 1)
            of_case.setdefault(case, {})[form] = measured.ms
    return {case: min(forms, key=forms.__getitem__) for case, forms in of_case.items()}


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value, numbers with three significant digits."""

    def written(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.3g}") if math.isfinite(value) else str(value)

    return {key: written(value) for key, value in values.items() if value not in (None, "")}


def is_good(report: Mapping[str, Any]) -> bool:
    """Whether nothing failed."""
    return all(one["status"] in GOOD for one in [*report["checks"], *report["times"]])


def describe(device: torch.device) -> dict[str, Any]:
    """The device and the versions that matter."""
    described: dict[str, Any] = {
        "device": str(device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        cudnn: Any = torch.backends.cudnn
        properties = torch.cuda.get_device_properties(device)
        described |= {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
            "cudnn": cudnn.version(),
        }
    return described


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="for example cuda:1 or cpu; default: an accelerator")
    parser.add_argument(
        "--small",
        action="store_true",
        help="a narrow model and short windows, in less than a minute; always on a CPU",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the line of JSON, and return the exit code."""
    options = parse_arguments(arguments)
    device = choose_device(options.device)
    machine = describe(device)
    print("  ".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    small = options.small or device.type == "cpu"
    report = examine(device, small=small, show=lambda line: print(line, flush=True))
    if device.type != "cpu":
        peak = torch.accelerator.max_memory_allocated(device)
        machine["peak_device_memory_mb"] = round(peak / 1e6, 1)
    print(json.dumps({"benchmark": "gpu", **machine, **report}))
    return 0 if is_good(report) else 1


if __name__ == "__main__":
    raise SystemExit(main())
