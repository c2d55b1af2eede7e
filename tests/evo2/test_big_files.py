"""Memory of converting and loading a checkpoint larger than the memory that it may take.

The checkpoint has the layout of the 40B's: parts, FP8 states, norms in float32, shared storages.
What a process has allocated counts; pages of mapped files go when somebody needs the memory.

CONVERT_GB=8 pytest -s tests/evo2/test_big_files.py
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from safetensors import safe_open

from evo2_tasks import Evo2Config
from evo2_tasks.evo2.published import published_name
from tests.evo2.layout import (
    FP32,
    Dtypes,
    blob_names,
    fill_ends,
    mapped,
    split_sparse,
    write_sparse,
)

SIZE_GB = float(os.environ.get("CONVERT_GB", "0.2"))
WIDTH, INNER = (8192, 21_888) if SIZE_GB >= 4 else (1024, 2736)  # of the 40B, or an eighth
WIDEST = 2 * WIDTH * max(3 * WIDTH, INNER)  # bytes of the widest tensor
SLACK = 20_000_000
BLOBS = {
    "hyena": ["projections", "out_filter_dense", "mlp.l1", "mlp.l2", "mlp.l3"],
    "attention": ["inner_mha_cls.Wqkv", "mixer.attn", "mlp.l1", "mlp.l2", "mlp.l3"],
}
CONVERT = """
import sys
from pathlib import Path
from evo2_tasks.evo2 import folders
from evo2_tasks.evo2.checkpoints import convert_published
source, out, config, shard_bytes = sys.argv[1:]
folders.SHARD_BYTES = int(shard_bytes)
print("ready", flush=True)
convert_published(Path(source), Path(out), config=Path(config))
"""
LOAD_MODEL = """
import sys
from pathlib import Path
import torch
from evo2_tasks.evo2.checkpoints import load_model
print("ready", flush=True)
load_model(Path(sys.argv[1]), dtype=torch.bfloat16, devices=[torch.device("cpu")])
"""
FROM_PRETRAINED = """
import sys
import torch
from evo2_tasks import Evo2ForCausalLM
place = {**dict.fromkeys(["model.embed_tokens", "model.norm", "lm_head"], "cpu"),
         "model.layers": sys.argv[2]}
print("ready", flush=True)
Evo2ForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16, device_map=place)
"""

pytestmark = pytest.mark.slow


class Measured(NamedTuple):
    """Bytes that a process has allocated after its imports, the most after that, and seconds."""

    at_start: int
    peak: int
    wall_s: float

    @property
    def growth(self) -> int:
        return self.peak - self.at_start


def measure(
    program: str, *arguments: object, kill_when: Callable[[], bool] = lambda: False
) -> Measured:
    """Run a program, by SIGKILL not to its end if the condition comes true."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        started = time.monotonic()
        at_start = peak = allocated(process.pid)
        killed = False
        while process.poll() is None:
            peak = max(peak, allocated(process.pid))
            if not killed and kill_when():
                process.kill()
                killed = True
            time.sleep(0.002)
    assert (process.returncode != 0) == killed
    measured = Measured(at_start, peak, time.monotonic() - started)
    print(f"\nallocated {at_start / 1e6:.0f} to {peak / 1e6:.0f} MB in {measured.wall_s:.1f} s")
    return measured


def allocated(pid: int) -> int:
    """RssAnon of a process; 0 when it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``model.pt`` of one piece, the same in parts, and its ``model.yml``."""
    folder = tmp_path_factory.mktemp("big")
    num_layers = round(SIZE_GB * 1e9 / (2 * (4 * WIDTH * WIDTH + 3 * INNER * WIDTH)))
    config = Evo2Config(
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_attention_heads=WIDTH // 128,
        operators=Evo2Config.from_preset("evo2_40b").operators[:num_layers],
        hyena_se_groups=WIDTH // 16,
        hyena_mr_groups=WIDTH // 16,
    )
    path = folder / "model.pt"
    write_sparse(path, config, Dtypes(FP32, FP32), blob_names(config, BLOBS))
    fill_ends(path, WIDTH * 16)
    split_sparse(path, 2)
    (folder / "model.yml").write_text(yaml.safe_dump(config.to_published()))
    assert path.stat().st_size == pytest.approx(SIZE_GB * 1e9, rel=0.15)
    yield folder
    for file in folder.rglob("*.safetensors"):  # pytest keeps the folders of its last three runs
        file.unlink()


class Conversion(NamedTuple):
    """A conversion that was killed when the first of its files was there, and gone on with."""

    folder: Path
    first: Measured
    then: Measured
    kept: dict[str, int]
    """Inode of each file that was there."""


@pytest.fixture(scope="module")
def conversion(checkpoint: Path) -> Conversion:
    out = checkpoint / "converted"
    unfinished = checkpoint / ".converted.unfinished"
    shard_bytes = round(SIZE_GB * 1e9 / 3)
    arguments = (checkpoint / "model.pt.part0", out, checkpoint / "model.yml", shard_bytes)
    first = measure(CONVERT, *arguments, kill_when=(unfinished / "conversion.json").exists)
    stated = json.loads((unfinished / "conversion.json").read_text())
    kept = {name: (unfinished / name).stat().st_ino for name in stated["files"]}
    return Conversion(out, first, measure(CONVERT, *arguments), kept)


def test_a_conversion_holds_a_tensor_at_a_time(conversion: Conversion) -> None:
    for measured in (conversion.first, conversion.then):
        assert measured.growth < WIDEST + SLACK
        assert measured.peak < 2_000_000_000


def test_a_conversion_that_was_killed_keeps_its_files(conversion: Conversion) -> None:
    stated = json.loads((conversion.folder / "conversion.json").read_text())["files"]
    assert 0 < len(conversion.kept) < len(stated)
    for name, file in stated.items():
        path = conversion.folder / name
        assert conversion.kept.get(name, path.stat().st_ino) == path.stat().st_ino
        with path.open("rb") as opened:
            assert hashlib.file_digest(opened, "sha256").hexdigest() == file["sha256"]


def test_every_tensor_is_the_one_that_torch_reads(conversion: Conversion, checkpoint: Path) -> None:
    expected = mapped(checkpoint / "model.pt")
    del expected["unembed.weight"]
    for path in conversion.folder.glob("model-*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 # no mapping
                converted, original = file.get_tensor(name), expected.pop(published_name(name))
                assert converted.dtype == original.dtype, name
                assert torch.equal(converted, original), name
    assert not expected


def test_loading_holds_the_weights_and_a_tensor(conversion: Conversion) -> None:
    weights = sum(path.stat().st_size for path in conversion.folder.glob("model-*"))
    assert measure(LOAD_MODEL, conversion.folder).growth < weights + WIDEST + SLACK
    on_cpu = measure(FROM_PRETRAINED, conversion.folder, "cpu")
    assert on_cpu.growth < weights + WIDEST + SLACK
    assert measure(FROM_PRETRAINED, conversion.folder, "disk").growth < WIDEST + SLACK
