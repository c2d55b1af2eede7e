"""Published values, the bands around them, and what keeps a checkpoint from giving them."""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands import verify as verify_task
from evo2_tasks.commands.convert import convert
from evo2_tasks.config.choices import Release
from evo2_tasks.config.resolve import ModelSettings, resolve_model
from evo2_tasks.config.schema import ModelConfig
from evo2_tasks.errors import InputError
from evo2_tasks.hub import HubFile
from evo2_tasks.runtime import models
from evo2_tasks.verification import comparison
from evo2_tasks.verification.comparison import differing_files
from evo2_tasks.verification.expected import (
    PROMPTS,
    Arithmetic,
    Check,
    Expected,
    dump_expected,
    published_sequences,
    read_expected,
    read_published,
    status_of,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "tiny_1b_8k"
HERE = Arithmetic("float32", "off", "cpu")
RELEASES = get_args(Release)


# What is published


def test_the_four_sequences_are_the_published_file() -> None:
    digest = hashlib.sha256(PROMPTS.read_bytes()).hexdigest()
    assert digest == "371015ef6e1c87bfa2cfe548e3025230f0fdd1a2b63af8a7e110b84341e0493c"
    sequences = published_sequences()["prompts"]
    assert [len(sequence) for sequence in sequences] == [6538, 7056, 6160, 7616]


def test_scores_of_the_aptamers_are_sums_of_bfloat16() -> None:
    """Of 81 tokens on two strands: 162 times a score is a multiple of 1/256, if typed right."""
    for release in ("evo2_1b_base", "evo2_7b"):
        check = read_published(release).checks[0]
        scores = check.values["score"]
        assert isinstance(scores, list)
        assert len(scores) == len(check.sequences) == 50
        aptamers = [s for s, seq in zip(scores, check.sequences, strict=True) if len(seq) == 82]
        assert len(aptamers) == 10
        for score in aptamers:
            steps = score * 162 * 256
            assert steps == pytest.approx(round(steps), abs=0.02)
        # A single precision number, printed with all its digits.
        assert [float(torch.tensor(score)) for score in scores] == scores


@pytest.mark.parametrize("release", RELEASES)
def test_values_of_each_release_can_be_read(release: str) -> None:
    expected = read_published(release)
    has_values = release not in ("evo2_7b_262k", "evo2_7b_microviridae")
    assert bool(expected.checks) == has_values
    for check in expected.checks:
        assert set(check.values) == set(check.bands)
        assert all(0 < same < other for same, other in check.bands.values())
        assert check.source
        assert check.arithmetic.dtype == "bfloat16"
    assert all(file.bytes for file in expected.files)


def test_a_model_without_fp8_is_outside_both_bands() -> None:
    """What a user got of the 1B on a GPU without FP8: loss 1.248, accuracy 38.5 %."""
    [_, check] = read_published("evo2_1b_base").checks
    broken = {
        "loss": [0.906, 1.391, 1.328, 1.367],
        "accuracy": [0.6093, 0.2883, 0.3405, 0.3010],
    }
    assert {one.band for one in check.judge(broken, HERE)} == {"outside"}


@pytest.mark.parametrize(
    ("device", "loss", "accuracy", "band"),
    [
        ("H100", 0.34765625, 0.8636132, "same"),
        ("RTX 5090", 0.34775, 0.86386, "same"),
        ("L40S", 0.34765625, 0.8626015, "other"),
    ],
)
def test_what_other_devices_gave_of_the_7b_is_in_its_band(
    device: str, loss: float, accuracy: float, band: str
) -> None:
    check = read_published("evo2_7b").checks[-1]
    found = check.judge({"loss": [loss], "accuracy": [accuracy]}, HERE)
    assert {one.quantity: one.band for one in found} == {"loss": "same", "accuracy": band}


# Bands


def make_check(**changes: Any) -> Check:
    check = Check(
        name="some",
        measure="scores",
        sequences=("ACGT", "ACGG", "TTTT"),
        num_short=2,
        rounding="float32",
        arithmetic=Arithmetic("bfloat16", "hopper", "H100"),
        values={"score": [-1.0, -2.0, -3.0]},
        bands={"score": (0.01, 0.1)},
        source="made up",
    )
    return replace(check, **changes)


@pytest.mark.parametrize(
    ("values", "band"),
    [
        ([-1.0, -2.0, -3.0], "same"),
        ([-1.009, -2.0, -3.0], "same"),
        ([-1.0, -2.0, -3.05], "other"),
        ([-1.0, -2.0, -3.2], "outside"),
        ([-1.0, -1.8, -3.2], "outside"),
        ([-1.0, math.nan, -3.0], "outside"),
        ([math.nan, -2.0, -3.0], "outside"),
        ([-1.0, -2.0, -math.inf], "outside"),
    ],
)
def test_the_largest_difference_tells_the_band(values: list[float], band: str) -> None:
    [finding] = make_check().judge({"score": values}, HERE)
    assert finding.band == band
    assert (finding.difference is None) == (not all(map(math.isfinite, values)))
    json.dumps(finding.difference, allow_nan=False)


def test_a_single_known_value_is_of_the_mean() -> None:
    check = make_check(values={"score": -2.0})
    [finding] = check.judge({"score": [-1.0, -2.0, -3.0]}, HERE)
    assert (finding.band, finding.difference) == ("same", 0)


def test_the_very_arithmetic_of_the_known_values_has_one_band() -> None:
    check = make_check(arithmetic=HERE)
    values = {"score": [-1.0, -2.0, -3.05]}
    assert check.judge(values, HERE)[0].band == "outside"
    assert check.judge(values, replace(HERE, dtype="bfloat16"))[0].band == "other"
    assert check.judge(values, replace(HERE, fp8="emulate"))[0].band == "other"
    assert check.judge(values, replace(HERE, device_class="gpu"))[0].band == "other"


def test_the_short_form_takes_the_first_sequences() -> None:
    short = make_check().shortened()
    assert (short.sequences, short.values["score"]) == (("ACGT", "ACGG"), [-1.0, -2.0])
    logits = read_published("evo2_7b").checks[1]
    assert logits.shortened() == logits


def test_the_worst_finding_tells_the_status() -> None:
    same = make_check().judge({"score": [-1.0, -2.0, -3.0]}, HERE)
    other = make_check().judge({"score": [-1.0, -2.0, -3.05]}, HERE)
    outside = make_check().judge({"score": [0.0, 0.0, 0.0]}, HERE)
    assert status_of([]) == "not_verified"
    assert status_of(same) == "same_arithmetic"
    assert status_of(other + same) == "other_arithmetic"
    assert status_of(same + outside + other) == "failed"


def test_files_are_known_by_size_and_checksum() -> None:
    known = [HubFile("evo2_7b.pt", 100, "ab"), HubFile("x.pt.part1", 7, None)]

    def differing(name: str, size: int, sha256: str | None = None) -> list[str]:
        return list(differing_files([HubFile(name, size, sha256)], known))

    assert differing("evo2_7b.pt", 100, "ab") == differing("renamed.pt", 100) == []
    assert differing("other.safetensors", 3) == differing("evo2_7b.pt.part1", 7) == []
    assert differing("evo2_7b.pt", 60) == [
        "evo2_7b.pt is cut short or another file: 60 of 100 bytes"
    ]
    assert "another file" in differing("evo2_7b.pt", 101)[0]
    assert "SHA-256" in differing("evo2_7b.pt", 100, "cd")[0]
    assert "cut short" in differing("evo2_7b.pt.part1", 6)[0]


def test_expected_values_there_and_back(tmp_path: Path) -> None:
    expected = Expected(
        "e.json",
        (HubFile("model.pt", 3, "ab"),),
        (make_check(), make_check(sequences=published_sequences()["rna"][:3])),
        ("aa", "bb"),
    )
    file = tmp_path / "e.json"
    file.write_text(json.dumps(dump_expected(expected)))
    assert read_expected(file) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"measure": "mood"}, "mood"),
        ({"sequences": "proteins"}, "proteins"),
        ({"sequences": []}, "no sequences"),
        ({"figures": {}}, "expected values of score"),
        ({"figures": {"score": [1.0]}}, "1 known values for 3 measured ones"),
        ({"figures": {"loss": 1.0}}, "expected values of score"),
        ({"bands": {}}, "score has no bands"),
        ({"bands": {"score": [1.0]}}, r"checks\[0\]\.bands\.score\[1\]: is missing"),
        ({"bands": {"score": [1.0, -1]}}, r"bands\.score\[1\]: -1.* is too small"),
        ({"num_short": True}, r"num_short: expected a whole number, got true"),
        ({"sequences": ["A", 1]}, "no sequences"),
        ({"figures": {"score": [1.0, True, 2.0]}}, "expected numbers"),
        ({"figures": {"score": "many"}}, "many"),
    ],
)
def test_files_of_another_kind_are_one_clear_line(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    values = dump_expected(Expected("", (), (make_check(),)))
    values["checks"][0] |= change
    file = tmp_path / "e.json"
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match=rf"e\.json: .*{named}.*--write-expected") as one:
        read_expected(file)
    assert "\n" not in str(one.value)


# A checkpoint and what was done to it


class Checkpoint:
    """A published file that is tampered with, and the values of what it was before."""

    def __init__(self, folder: Path, values: Path) -> None:
        self.file, self.values, self.yml = folder / "model.pt", values, GOLDEN / "config.yml"

    def tamper(self, change: Callable[[dict[str, Any]], object]) -> None:
        with torch.serialization.safe_globals([io.BytesIO]):
            entries = torch.load(GOLDEN / "model.pt", weights_only=True)
        change(entries)
        torch.save(entries, self.file)

    def settings(self, **changes: Any) -> ModelSettings:
        values = {"checkpoint": self.file, "config": self.yml, "gpus": 0, "fp8": "emulate"}
        return resolve_model("verify", "verify", ModelConfig(**(values | changes)))

    def verify(self, *, short: bool = True, **changes: Any) -> dict[str, Any]:
        return verify_task.verify(
            self.settings(**changes), expected_file=self.values, short=short, threads=1
        )


@pytest.fixture(scope="module")
def own_values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Values of the golden checkpoint with FP8, as `write_expected` writes them."""
    file = tmp_path_factory.mktemp("values") / "values.json"
    model = ModelConfig(
        checkpoint=GOLDEN / "model.pt", config=GOLDEN / "config.yml", gpus=0, fp8="emulate"
    )
    settings = resolve_model("verify", "verify", model)
    verify_task.write_expected(settings, out=file, short=True, threads=1)
    return file


@pytest.fixture
def checkpoint(tmp_path: Path, own_values: Path) -> Checkpoint:
    made = Checkpoint(tmp_path, own_values)
    made.file.write_bytes((GOLDEN / "model.pt").read_bytes())
    return made


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_what_was_not_touched_is_the_same(checkpoint: Checkpoint) -> None:
    found = checkpoint.verify()
    assert (found["status"], found["causes"]) == ("same_arithmetic", [])
    assert found["files"] == {"known": True, "differing": []}
    assert {one["difference"] for one in found["findings"]} == {0}


def test_another_precision_is_another_arithmetic(checkpoint: Checkpoint) -> None:
    assert checkpoint.verify(dtype="bfloat16")["status"] == "other_arithmetic"
    exact = checkpoint.verify(fp8="blackwell")
    assert exact["status"] in ("same_arithmetic", "other_arithmetic")


def causes_of(found: dict[str, Any]) -> str:
    assert found["status"] == "failed"
    assert "\n" not in found["complaint"]
    assert found["causes"][0] in found["complaint"]
    return "; ".join(found["causes"])


def test_fp8_off_is_caught(checkpoint: Checkpoint) -> None:
    assert causes_of(checkpoint.verify(fp8="off")).startswith("FP8 is off: set fp8 to emulate")


def test_fp8_on_for_a_model_made_without_is_caught(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.values = tmp_path / "off.json"
    settings = checkpoint.settings(fp8="off")
    verify_task.write_expected(settings, out=checkpoint.values, short=True, threads=1)
    assert "set fp8 to off" in causes_of(checkpoint.verify())
    assert checkpoint.verify(fp8="off")["status"] == "same_arithmetic"


def test_lost_scales_are_caught(checkpoint: Checkpoint) -> None:
    def lose(entries: dict[str, Any]) -> None:
        for name in entries:
            if name.endswith("projections._extra_state"):
                entries[name] = io.BytesIO()

    checkpoint.tamper(lose)
    with pytest.raises(InputError, match="needs FP8 scales, and the checkpoint has none"):
        checkpoint.verify()
    assert "the checkpoint has no FP8 scales" in causes_of(checkpoint.verify(fp8="off"))


def test_scales_that_only_some_layers_have_lost_are_caught(checkpoint: Checkpoint) -> None:
    name = "blocks.2.projections._extra_state"
    checkpoint.tamper(lambda entries: entries.update({name: io.BytesIO()}))
    with pytest.raises(InputError, match="none for layer 2"):
        checkpoint.verify()
    assert "the checkpoint has no FP8 scales" in causes_of(checkpoint.verify(fp8="off"))


def test_sums_of_another_gpu_are_caught_where_they_matter(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    values = json.loads(checkpoint.values.read_text())
    values["checks"][0]["bands"]["score"] = [1e-4, 1e-3]
    checkpoint.values = tmp_path / "narrow.json"
    checkpoint.values.write_text(json.dumps(values))
    causes = causes_of(checkpoint.verify(fp8="hopper"))
    assert causes.startswith(
        "FP8 matrix multiplications use the sums of hopper: set fp8 to emulate"
    )


@pytest.mark.parametrize(("one", "other"), [(0, 4), (2, 6)])
def test_swapped_layers_are_caught(checkpoint: Checkpoint, one: int, other: int) -> None:
    def swap(entries: dict[str, Any]) -> None:
        moved = {}
        for name in list(entries):
            for source, target in ((one, other), (other, one)):
                if name.startswith(f"blocks.{source}."):
                    moved[name.replace(f"blocks.{source}.", f"blocks.{target}.")] = entries[name]
        entries |= moved

    checkpoint.tamper(swap)
    assert f"layers {one}, {other} are in another order" in causes_of(checkpoint.verify())


def test_poles_rounded_to_bfloat16_are_caught(checkpoint: Checkpoint) -> None:
    def round_poles(entries: dict[str, Any]) -> None:
        for name in entries:
            if name.endswith(".log_poles"):
                entries[name] = entries[name].bfloat16().float()

    checkpoint.tamper(round_poles)
    causes = causes_of(checkpoint.verify())
    assert "the poles of layers 2, 6 are rounded to bfloat16" in causes
    assert "the weights of layers 2, 6 are different" in causes


def test_a_file_that_is_cut_short_is_caught(checkpoint: Checkpoint) -> None:
    data = checkpoint.file.read_bytes()
    checkpoint.file.write_bytes(data[:-1000])
    told = f"model.pt is cut short or another file: {len(data) - 1000:,} of {len(data):,} bytes"
    with pytest.raises(InputError, match=rf"incomplete.*Likely: {told}"):
        checkpoint.verify()


def test_a_folder_whose_file_is_cut_short_is_caught(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    convert(checkpoint.file, folder, model=None, config=checkpoint.yml)
    settings = resolve_model(
        "verify", "verify", ModelConfig(checkpoint=folder, gpus=0, fp8="emulate")
    )
    values = tmp_path / "folder.json"
    verify_task.write_expected(settings, out=values, short=True, threads=1)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"model\.safetensors.*damaged.*Likely: .* is cut short"):
        verify_task.verify(settings, expected_file=values, short=True, threads=1)


def test_sequences_in_lower_case_are_caught(checkpoint: Checkpoint, tmp_path: Path) -> None:
    values = json.loads(checkpoint.values.read_text())
    for check in values["checks"]:
        check["sequences"] = [one.lower() for one in published_sequences()[check["sequences"]]]
    checkpoint.values = tmp_path / "lower.json"
    checkpoint.values.write_text(json.dumps(values))
    assert causes_of(checkpoint.verify()).startswith("the sequences are in lower case")


def test_numbers_that_are_not_finite_are_caught(checkpoint: Checkpoint) -> None:
    checkpoint.tamper(lambda entries: entries["blocks.1.filter.D"].fill_(torch.nan))
    found = checkpoint.verify()
    assert "not finite" in found["complaint"]
    assert "the weights of layers 1 are different" in causes_of(found)


def test_a_device_that_computes_wrong_is_caught(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = verify_task.open_model

    def open_wrong(*args: Any) -> Any:
        loaded = real(*args)
        loaded.model.model.layers[3].mlp.register_forward_hook(lambda _, __, out: out * 1.05)
        return loaded

    monkeypatch.setattr(verify_task, "open_model", open_wrong)
    assert causes_of(checkpoint.verify()).endswith("or a device that computes wrong")


def test_checksums_are_for_the_long_form(checkpoint: Checkpoint) -> None:
    checkpoint.tamper(lambda entries: entries["unembed.weight"].zero_())  # which is not used
    assert checkpoint.verify()["files"]["differing"] == []
    found = checkpoint.verify(short=False)
    assert found["status"] == "same_arithmetic"
    assert "another file: its SHA-256" in found["files"]["differing"][0]


# The command


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_the_command_exits_with_0_in_a_band_and_2_outside(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["verify", checkpoint.file, "--config", checkpoint.yml, "--gpus", 0, "--short"]
    arguments += ["--expected", checkpoint.values]
    done = run(*arguments, "--fp8", "emulate")
    assert (done.exit_code, "same_arithmetic" in done.output) == (0, True)
    done = run(*arguments, "--fp8", "off", "--json")
    assert done.exit_code == 2
    found = json.loads(done.stdout)
    assert found["status"] == "failed"
    assert found["fp8"] == "off"
    assert caplog.records[-1].getMessage() == f"verify: {found['complaint']}"


def test_a_model_without_known_values_is_never_a_pass(caplog: pytest.LogCaptureFixture) -> None:
    done = run("verify", "evo2-mini", "--gpus", 0)
    assert done.exit_code == 2
    assert "not_verified" in done.output
    assert "not_verified" in caplog.records[-1].getMessage()


def test_the_command_writes_the_values_that_it_reads(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    arguments = ["verify", checkpoint.file, "--config", checkpoint.yml, "--gpus", 0]
    arguments += ["--threads", 1]
    assert run(*arguments, "--write-expected", out).exit_code == 0
    assert [check.name for check in read_expected(out).checks] == ["RNA variants", "four sequences"]
    done = run(*arguments, "--expected", out, "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (0, "same_arithmetic")
    lines = run(*arguments, "--expected", out).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["check", "-" * 14, "RNA", "four", "four"]
    assert run(*arguments, "--expected", out, "--write-expected", out).exit_code == 2


# Before scoring


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, own_values: Path) -> str:
    """The golden checkpoint as if it were published, and its values too."""
    expected = read_expected(own_values)
    monkeypatch.setattr(models, "read_release", lambda *_, **__: "evo2_1b_base")
    monkeypatch.setattr(comparison, "read_published", lambda _: expected)
    return "evo2_1b_base"


def verify_for_a_run(checkpoint: Checkpoint, **changes: Any) -> dict[str, Any]:
    settings = replace(checkpoint.settings(**changes), where="models.m", name="m")
    loaded = models.open_model(settings, None)
    return models.verify_model(settings, loaded)


@pytest.mark.usefixtures("release")
def test_a_run_verifies_a_published_model_once(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verify_for_a_run(checkpoint)
    assert found["status"] == "same_arithmetic"
    assert found["differences"] == {"RNA variants, score": 0.0}
    kept = checkpoint.file.with_name(".model.pt.verified.json")
    assert list(json.loads(kept.read_text()).values()) == [found]
    monkeypatch.setattr(comparison, "measure", None)
    assert verify_for_a_run(checkpoint) == found
    with pytest.raises(TypeError):  # another mode has to be measured
        verify_for_a_run(checkpoint, fp8="ada")


@pytest.mark.usefixtures("release")
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to give a file to another user")
def test_a_kept_result_of_another_user_is_not_trusted(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verify_for_a_run(checkpoint)
    kept = checkpoint.file.with_name(".model.pt.verified.json")
    os.chown(kept, 54_321, -1)
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "measure", None)
        with pytest.raises(TypeError):  # measured again
            verify_for_a_run(checkpoint)
    os.chown(checkpoint.file, 54_321, -1)
    monkeypatch.setattr(comparison, "measure", None)
    assert verify_for_a_run(checkpoint) == found, "who can change the checkpoint is trusted"


@pytest.mark.usefixtures("release")
def test_a_kept_result_that_cannot_be_read_is_measured_again(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verify_for_a_run(checkpoint)
    kept = checkpoint.file.with_name(".model.pt.verified.json")
    kept.write_text("cannot be read")
    monkeypatch.setattr(os, "access", lambda path, _: path != kept)
    assert verify_for_a_run(checkpoint) == found


@pytest.mark.usefixtures("release")
def test_a_run_stops_if_the_values_differ(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"^models\.m: .*does not give the values.*FP8 is off"):
        verify_for_a_run(checkpoint, fp8="off")
    assert not checkpoint.file.with_name(".model.pt.verified.json").exists()
    allowed = verify_for_a_run(checkpoint, fp8="off", allow_without_fp8=True)
    assert allowed["status"] == "failed"
    assert "FP8 is off" in allowed["causes"][0]


@pytest.mark.usefixtures("release")
def test_what_was_found_goes_to_the_users_cache_where_the_folder_is_closed(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = comparison.write_json

    def refuse(target: Path, value: Any) -> None:
        if target.parent == checkpoint.file.parent:
            raise InputError(f"{target}: cannot be written: Read-only file system")
        real(target, value)

    monkeypatch.setattr(comparison, "write_json", refuse)
    found = verify_for_a_run(checkpoint)
    [kept] = (tmp_path / "cache" / "evo2-tasks").iterdir()
    assert list(json.loads(kept.read_text()).values()) == [found]
    monkeypatch.setattr(comparison, "measure", None)
    assert verify_for_a_run(checkpoint) == found


def test_a_model_without_known_values_costs_nothing(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "measure", None)
    found = verify_for_a_run(checkpoint)
    assert found == {"status": "not_verified", "reason": "no published model"}
    for name, reason in (("evo2_7b_262k", "none are published"), ("evo2_20b", "run evo2-tasks")):
        monkeypatch.setattr(models, "read_release", lambda *_, name=name, **__: name)
        found = verify_for_a_run(checkpoint)
        assert found["status"] == "not_verified"
        assert reason in found["reason"]
    assert not list(checkpoint.file.parent.glob(".*"))
