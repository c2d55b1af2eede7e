"""The examples of docs/python.md run, and show what they print."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.checkpoints import load_model

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "python.md"
EXAMPLE = re.compile(
    r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL
)
ROW = re.compile(
    r"^\| (?P<theirs>`[^|]*) \| (?P<ours>`[^|]*) \| (?P<output>[^|]*) \|$", re.MULTILINE
)


def run_examples() -> list[tuple[str, str]]:
    """What the page shows and what its examples print, run in order as one program."""
    names: dict[str, Any] = {"__name__": "docs"}
    outputs = []
    for example in EXAMPLE.finditer(PAGE.read_text(encoding="utf-8")):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(example["code"], str(PAGE), "exec"), names)  # noqa: S102 # our own page
        outputs.append((example["output"] or "", printed.getvalue()))
    return outputs


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_examples_print_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = run_examples()
    assert len(outputs) >= 8
    for shown, printed in outputs:
        assert printed == shown


def module_names() -> dict[str, str]:
    """Reference name and ours, of each part that the page's table names."""
    names = {}
    for row in ROW.finditer(PAGE.read_text(encoding="utf-8")):
        theirs, ours = (re.findall(r"`([^`]+)`", row[part]) for part in ("theirs", "ours"))
        names.update(zip(theirs, ours, strict=True))
    return names


def test_the_table_names_the_parts_of_the_model() -> None:
    names = module_names()
    assert {"blocks.N", "blocks.N.mlp.l3", "blocks.N.filter", "norm"} <= names.keys()
    config = Evo2Config(
        operators=["hyena_li", "attention"],
        hidden_size=8,
        intermediate_size=8,
        num_attention_heads=2,
    )
    modules = dict(Evo2ForCausalLM(config).named_modules())
    for ours in names.values():  # layer 0 is a Hyena layer, layer 1 an attention layer
        assert ours.replace("N", "0") in modules or ours.replace("N", "1") in modules, ours


@pytest.mark.golden
@pytest.mark.parametrize("name", ["tiny_7b_1m", "tiny_1b_8k", "tiny_40b_1m"])
def test_the_parts_give_what_the_reference_gives(golden_folder: Path, name: str) -> None:
    """The fixtures hold the stream after each block and each gated filter's output."""
    folder, names = golden_folder / name, module_names()
    model = load_model(
        folder / "model.pt",
        dtype=torch.float32,
        devices=[torch.device("cpu")],
        config=folder / "config.yml",
    )
    tensors = load_file(folder / "logits.safetensors")
    scores = json.loads((folder / "scores.json").read_text())
    input_ids = torch.tensor([list(scores["sequences"][scores["probe_sequence"]].encode())])
    found: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        for index in range(len(model.model.layers)):
            part, key = ours.replace("N", str(index)), theirs.replace("N", str(index))
            if part in dict(model.named_modules()):
                model.get_submodule(part).register_forward_hook(
                    lambda *args, key=key: found.update({key: args[-1][0]})
                )
    with torch.inference_mode():
        model(input_ids, use_cache=False)
    stream = found["embedding_layer"]
    for index, operator in enumerate(model.config.operators):
        block = f"blocks.{index}"
        if operator == "attention":
            mixed = found[f"{block}.inner_mha_cls.out_proj"]
        else:
            gated = tensors[f"mixer_out.{index}"]
            assert_close(found[f"{block}.filter"], gated)
            mixed = found[f"{block}.out_filter_dense"]
            with torch.inference_mode():
                assert_close(mixed, model.model.layers[index].mixer.out_filter_dense(gated))
        after = tensors[f"block_out.{index}"]
        assert_close(found[block], after)
        assert_close(found[f"{block}.mlp.l3"], after - stream - mixed, scale=after)
        stream = after


def assert_close(ours: Tensor, theirs: Tensor, scale: Tensor | None = None) -> None:
    largest = float((theirs if scale is None else scale).abs().max())
    assert float((ours - theirs).abs().max()) < 2e-5 * max(1.0, largest)
