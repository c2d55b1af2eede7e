"""What `convert` takes as its source, and what it says where it cannot."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from evo2_tasks.cli import main
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS

MINI = BUNDLED_CHECKPOINTS / "evo2-mini" / "model.safetensors"


def convert(*arguments: object) -> str:
    """Convert; gives the error, or nothing."""
    done = CliRunner().invoke(main, ["convert", *map(str, arguments)])
    assert done.exit_code in (0, 2), done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(lines) == (done.exit_code == 2)
    return lines[0] if lines else ""


def test_the_model_of_the_package_comes_back_by_the_config_next_to_it(tmp_path: Path) -> None:
    assert convert("evo2-mini", tmp_path / "mini.pt") == ""
    assert (tmp_path / "mini.yml").is_file()
    assert convert(tmp_path / "mini.pt", tmp_path / "back") == ""
    there, back = load_file(MINI), load_file(tmp_path / "back" / "model.safetensors")
    assert there.keys() == back.keys()
    assert all(there[name].equal(back[name]) for name in there)


def test_a_config_that_is_given_wins_over_the_one_next_to_it(tmp_path: Path) -> None:
    convert("evo2-mini", tmp_path / "mini.pt")
    (tmp_path / "mini.yml").rename(tmp_path / "right.yml")
    (tmp_path / "mini.yml").write_text("- no config\n")
    assert "mini.yml: has no keys" in convert(tmp_path / "mini.pt", tmp_path / "back")
    right = tmp_path / "right.yml"
    assert convert(tmp_path / "mini.pt", tmp_path / "back", "--config", right) == ""


def test_without_a_config_the_message_asks_for_one(tmp_path: Path) -> None:
    convert("evo2-mini", tmp_path / "mini.pt")
    (tmp_path / "mini.yml").unlink()
    assert "give its config with --config" in convert(tmp_path / "mini.pt", tmp_path / "back")


def test_a_folder_is_no_target_of_a_folder(tmp_path: Path) -> None:
    error = convert("evo2-mini", tmp_path / "folder")
    assert "evo2-mini is already a folder for from_pretrained" in error
    assert str(MINI.parent) in error
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("source", "way_out"),
    [
        ("evo2_7b", "`arcinstitute/evo2_7b@"),
        ("weights/Evo2-40B.pt", "`arcinstitute/evo2_40b@"),
        ("evo2_mini", "Write `evo2-mini`"),
        ("evo2_8b", "one of the known models: evo2-mini, evo2_1b_base, "),
        ("arcinstitute/evo2_1b_base", "`arcinstitute/evo2_1b_base@"),
    ],
)
def test_a_name_that_is_no_file_leads_to_the_model(source: str, way_out: str) -> None:
    assert way_out in convert(source, "out.pt")
