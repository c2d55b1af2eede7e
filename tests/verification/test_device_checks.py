"""The checks of a device pass on a CPU, each of them can fail, and none hides another."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evo2_tasks.evo2 import layers
from evo2_tasks.evo2.fp8 import PRODUCTS, sum_in_float32
from evo2_tasks.verification import device_checks, device_report, device_times
from evo2_tasks.verification.device_checks import COMPARISONS, Bench, Result, Sizes, run_checks
from evo2_tasks.verification.device_times import CONVOLUTIONS, Time, run_timings

ROOT = Path(__file__).parents[2]
TINY = Sizes(hidden_size=128, window=60, cpu_tokens=50, timed_window=32)
# What a machine may lack that has torch, transformers and the sources.
ABSENT = [
    *("accelerate", "click", "jinja2", "pandas", "plotly", "pyarrow", "pydantic", "pysam"),
    *("requests", "scipy", "sklearn", "snakemake", "tabulate"),
]


@pytest.fixture
def bench() -> Bench:
    return Bench(torch.device("cpu"), TINY)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that the command prints where only torch and transformers are installed."""
    folder = tmp_path_factory.mktemp("absent")
    (folder / "sitecustomize.py").write_text(
        "import socket, sys\n"
        f"for name in {ABSENT}: sys.modules[name] = None\n"
        "def refuse(*_): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
    )
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu" / "run.sh", "--device", "cpu", "--small"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": "1",
        },
        cwd=folder,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_one_command_needs_torch_and_transformers_only(printed: list[str]) -> None:
    report = json.loads(printed[-1])
    assert report["torch"] == torch.__version__
    checked = {one["name"]: one for one in report["checks"]}
    for dtype in ("float32", "bfloat16"):
        for name in ("hyena_se", "hyena_mr", "hyena_li", "attention"):
            assert f"{name}, {dtype}" in checked
        for path in ("eager", "segments", "kv_cache offload", "continuation", "branches", "llr"):
            assert any(path in name and dtype in name for name in checked), path
    assert all(one["status"] == "passed" for one in checked.values())
    assert all({"difference", "limit", "reason"} <= {*one} for one in checked.values())
    assert {one["status"] for one in report["times"]} == {"measured"}
    assert [*report["fastest_convolutions"]] == [
        "3 taps, bfloat16",
        "7 taps, bfloat16",
        "128 taps, float32",
    ]


def test_the_table_has_a_line_for_each_check_and_each_time(printed: list[str]) -> None:
    report = json.loads(printed[-1])
    table = printed[2:-1]
    for line, one in zip(table, [*report["checks"], *report["times"]], strict=True):
        assert line.startswith(one["status"])
        assert one["name"] in line


Break = Callable[[pytest.MonkeyPatch], None]


def forget_states(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layers, "convolution_state", lambda *_: None)


def shift_filters(patch: pytest.MonkeyPatch) -> None:
    run = layers.causal_fir
    patch.setattr(layers, "causal_fir", lambda u, *more: run(u.roll(1, dims=1), *more))


def leave_queries_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layers, "rotate", lambda heads, *_: heads)


def scale_sums(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(
        PRODUCTS, "emulate", lambda x, weight, scale: sum_in_float32(x, weight, 1.1 * scale)
    )


def load_other_weights(patch: pytest.MonkeyPatch) -> None:
    load = device_checks.load_model

    def load_and_change(*args: Any, **kwargs: Any) -> Any:
        model = load(*args, **kwargs)
        model.model.norm.scale.data.mul_(1.01)
        return model

    patch.setattr(device_checks, "load_model", load_and_change)


def look_ahead(patch: pytest.MonkeyPatch) -> None:
    """Eager attention without the mask."""
    patch.setattr(
        layers,
        "eager_attention_forward",
        lambda module, query, key, value, _mask, **kwargs: EAGER(
            module, query, key, value, None, kwargs["scaling"]
        ),
    )


EAGER = layers.eager_attention_forward


@pytest.mark.parametrize(
    ("mistake", "found_by"),
    [
        (shift_filters, {"hyena_se", "hyena_mr"}),
        (leave_queries_in_place, {"attention"}),
        (look_ahead, {"eager attention"}),
        (
            forget_states,
            {"segments", "segments with kv_cache", "continuation", "branches", "llr", "generation"},
        ),
        (load_other_weights, {"model, saved and loaded"}),
        (scale_sums, {"fp8"}),
    ],
)
def test_a_mistake_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, mistake: Break, found_by: set[str]
) -> None:
    mistake(monkeypatch)
    results = list(run_checks(bench))
    failed = {one.name for one in results if one.status == "failed"}
    for name in found_by:
        assert any(one.startswith(name) for one in failed), (name, failed)
    assert not [one for one in results if one.status == "error"]
    if mistake in (load_other_weights, scale_sums, look_ahead):
        assert all(any(one.startswith(name) for name in found_by) for one in failed)


def test_an_exception_is_a_line_and_the_others_follow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no kernel in /home/somebody/torch\nand more")

    monkeypatch.setattr(device_checks, "plain_filter", fail)
    monkeypatch.setitem(COMPARISONS, "segments", fail)
    results = {one.name: one for one in run_checks(bench)}
    assert results["hyena_mr, float32"].status == "error"
    assert results["hyena_mr, float32"].reason == "RuntimeError: no kernel in (path)"
    assert results["attention, float32"].status == "passed"
    assert results["segments"].status == "error"
    assert results["model, saved and loaded, bfloat16"].status == "passed"


def test_fp8_that_a_device_lacks_is_no_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("compute capability 8.9 is needed")

    monkeypatch.setattr(torch, "_scaled_mm", refuse)
    results = [one for one in run_checks(bench) if one.name.startswith("fp8")]
    assert {one.status for one in results} == {"not_run"}
    assert "8.9 is needed" in results[0].reason


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result("a", "passed", 0.1, 0.2, "why"), 0),
        (Result("a", "not_run", reason="why"), 0),
        (Result("a", "failed", float("inf"), 0.2, "why"), 1),
        (Result("a", "error", reason="why"), 1),
    ],
)
def test_the_exit_code_says_whether_a_check_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: Result, code: int
) -> None:
    times = [Time("b", "measured", 1.0, 2.0)]
    monkeypatch.setattr(device_report, "run_checks", lambda _: iter([result]))
    monkeypatch.setattr(device_report, "run_timings", lambda *_, **__: iter(times))
    assert device_report.main(["--device", "cpu"]) == code
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["checks"][0]["status"] == result.status
    assert told["checks"][0].get("difference", 0) in (0, 0.1, "inf")


def test_times_end_with_their_time_and_an_error_is_a_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = list(run_timings(bench, seconds=0.0, until=time.monotonic() - 1))
    assert {one.status for one in over} == {"not_run"}

    def fail(*_: object) -> Iterator[None]:
        raise RuntimeError("no memory")

    monkeypatch.setattr(device_times, "branches", fail)
    times = {one.name: one for one in run_timings(bench, seconds=0.0, until=time.monotonic() + 600)}
    assert [one.reason for one in times.values() if one.status == "error"] == [
        "RuntimeError: no memory"
    ]
    assert times["generation, 8 at once"].status == "measured"
    assert times["layer of hyena_mr"].matmul_speed == pytest.approx(
        times["matrix multiplications of a layer"].ms / times["layer of hyena_mr"].ms
    )


@pytest.mark.parametrize("num_taps", [3, 128])
def test_the_forms_of_a_convolution_are_the_same(num_taps: int) -> None:
    u, taps = torch.randn(2, 150, 6), torch.randn(6, num_taps)
    plain = torch.zeros_like(u)
    for t in range(u.shape[1]):
        for k in range(num_taps):
            if t - (num_taps - 1) + k >= 0:
                plain[:, t] += taps[:, k] * u[:, t - (num_taps - 1) + k]
    for form in CONVOLUTIONS.values():
        torch.testing.assert_close(form(u, taps), plain, atol=1e-4, rtol=1e-4)


def test_the_fastest_form_is_named() -> None:
    times = [
        Time("convolution of 7 taps, bfloat16, channels last", "measured", 3.0, 1.0),
        Time("convolution of 7 taps, bfloat16, fft", "measured", 2.0, 1.0),
        Time("convolution of 128 taps, float32, fft", "error"),
        Time("hyena_se", "measured", 1.0, 1.0),
    ]
    assert device_report.fastest_convolutions(times) == {"7 taps, bfloat16": "fft"}
