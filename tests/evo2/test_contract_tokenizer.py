"""The tokenizer does what people who know transformers expect of one without a fast twin."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from evo2_tasks import Evo2Tokenizer

BATCH = ["ACGTN", "AC"]


@pytest.fixture
def tokenizer() -> Evo2Tokenizer:
    return Evo2Tokenizer()


def test_text_that_other_tokenizers_tidy_up_comes_back(tokenizer: Evo2Tokenizer) -> None:
    for text in ("  A  C ", "do n't .", "|D__Bacteria;|ACGT", "acgtACGT", "日本 🧬", "<s>", "\n"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.parametrize(
    ("arguments", "lengths"),
    [
        ({"padding": False}, [5, 2]),
        ({"padding": True}, [5, 5]),
        ({"padding": "max_length", "max_length": 7}, [7, 7]),
        ({"padding": True, "pad_to_multiple_of": 4}, [8, 8]),
        ({"truncation": True, "max_length": 3}, [3, 2]),
        ({"truncation": True, "padding": True, "max_length": 3}, [3, 3]),
    ],
)
def test_lengths_of_a_batch(
    tokenizer: Evo2Tokenizer, arguments: dict[str, Any], lengths: list[int]
) -> None:
    batch = tokenizer(BATCH, **arguments)
    assert [len(ids) for ids in batch.input_ids] == lengths
    for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
        assert [index for index, token in enumerate(ids) if token == 1] == [
            index for index, is_token in enumerate(mask) if not is_token
        ]


def test_truncation_has_a_side() -> None:
    arguments = {"truncation": True, "max_length": 3}
    assert Evo2Tokenizer()("ACGTN", **arguments).input_ids == list(b"ACG")
    assert Evo2Tokenizer(truncation_side="left")("ACGTN", **arguments).input_ids == list(b"GTN")


def test_padding_has_a_side_for_each_call(tokenizer: Evo2Tokenizer) -> None:
    assert tokenizer.padding_side == "left"
    assert tokenizer(BATCH, padding=True).input_ids[1] == [1, 1, 1, *b"AC"]
    right = tokenizer(BATCH, padding=True, padding_side="right")
    assert right.input_ids[1] == [*b"AC", 1, 1, 1]


def test_encoded_sequences_are_padded_later(tokenizer: Evo2Tokenizer) -> None:
    batch = tokenizer.pad([tokenizer(text) for text in BATCH], return_tensors="pt")
    assert torch.equal(
        batch.input_ids, tokenizer(BATCH, padding=True, return_tensors="pt").input_ids
    )


def test_tensors_of_both_kinds(tokenizer: Evo2Tokenizer) -> None:
    in_torch = tokenizer(BATCH, padding=True, return_tensors="pt").input_ids
    in_numpy = tokenizer(BATCH, padding=True, return_tensors="np").input_ids
    assert in_torch.dtype == torch.int64
    assert isinstance(in_numpy, np.ndarray)
    assert in_torch.tolist() == in_numpy.tolist()
    assert tokenizer.batch_decode(in_torch, skip_special_tokens=True) == BATCH


def test_there_are_no_offsets(tokenizer: Evo2Tokenizer) -> None:
    assert not tokenizer.is_fast
    assert "offset_mapping" not in tokenizer("ACGT", return_offsets_mapping=True)


def test_nothing_is_added_around_a_text(tokenizer: Evo2Tokenizer) -> None:
    assert tokenizer("ACGT", add_special_tokens=True).input_ids == list(b"ACGT")
    assert tokenizer("AC", "GT").input_ids == list(b"ACGT")
    assert tokenizer.num_special_tokens_to_add() == 0
    assert tokenizer.model_max_length > 10**9


@pytest.mark.parametrize("side", ["left", "right"])
def test_copies_are_the_same_tokenizer(side: str, tmp_path: Path) -> None:
    tokenizer = Evo2Tokenizer(padding_side=side, truncation_side=side, model_max_length=100)
    tokenizer.save_pretrained(tmp_path)
    for one in (
        AutoTokenizer.from_pretrained(tmp_path),
        Evo2Tokenizer.from_pretrained(tmp_path),
        copy.deepcopy(tokenizer),
        pickle.loads(pickle.dumps(tokenizer)),  # noqa: S301 # our own
    ):
        assert type(one) is Evo2Tokenizer
        assert (one.padding_side, one.truncation_side, one.model_max_length) == (side, side, 100)
        assert one.get_vocab() == tokenizer.get_vocab()
        assert one(BATCH, padding=True).data == tokenizer(BATCH, padding=True).data


def test_special_tokens_can_be_added(tokenizer: Evo2Tokenizer) -> None:
    tokenizer.add_special_tokens({"bos_token": "<begin>"})
    ids = tokenizer.encode("<begin>AC")
    assert ids == [512, *b"AC"]
    assert tokenizer.bos_token_id == 512
    assert tokenizer.decode(ids) == "<begin>AC"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "AC"
