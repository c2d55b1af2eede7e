from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks import Evo2Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Evo2Tokenizer:
    return Evo2Tokenizer()


@given(st.text())
def test_ids_are_the_bytes_and_text_comes_back(text: str) -> None:
    tokenizer = Evo2Tokenizer()
    ids = tokenizer.encode(text)
    assert ids == list(text.encode())
    assert tokenizer.decode(ids) == text


@given(st.lists(st.integers(0, 511)))
def test_any_ids_decode(ids: list[int]) -> None:
    as_bytes = b"".join(bytes([index]) if index < 256 else b"\xef\xbf\xbd" for index in ids)
    assert Evo2Tokenizer().decode(ids) == as_bytes.decode("utf-8", "replace")


def test_vocabulary(tokenizer: Evo2Tokenizer) -> None:
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab()) == 512
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1)
    assert tokenizer.bos_token_id is None
    assert tokenizer.encode("ACGTN") == [65, 67, 71, 84, 78]
    assert tokenizer.encode("acgt|") == [97, 99, 103, 116, 124]
    assert tokenizer.convert_ids_to_tokens([65, 511]) == ["A", chr(511)]
    assert tokenizer.convert_tokens_to_ids(["A", chr(511)]) == [65, 511]


def test_ids_without_text_become_the_replacement_character(tokenizer: Evo2Tokenizer) -> None:
    assert tokenizer.decode([65, 256, 511, 67]) == "A\ufffd\ufffdC"
    assert tokenizer.decode([65, 0, 1, 67]) == "A\0\1C"
    assert tokenizer.decode([65, 0, 1, 67], skip_special_tokens=True) == "AC"


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_padded(side: str) -> None:
    batch = Evo2Tokenizer(padding_side=side)(["ACGT", "AC"], padding=True, return_tensors="pt")
    short = [1, 1, 65, 67] if side == "left" else [65, 67, 1, 1]
    assert batch.input_ids.tolist() == [[65, 67, 71, 84], short]
    assert batch.attention_mask.tolist() == [[1] * 4, [int(index != 1) for index in short]]


def test_truncation_and_tensors(tokenizer: Evo2Tokenizer) -> None:
    batch = tokenizer("ACGTACGT", truncation=True, max_length=3)
    assert dict(batch) == {"input_ids": [65, 67, 71], "attention_mask": [1, 1, 1]}
    assert torch.equal(tokenizer.encode("AC", return_tensors="pt"), torch.tensor([[65, 67]]))


def test_batch_decoding(tokenizer: Evo2Tokenizer) -> None:
    assert tokenizer.batch_decode([[65, 67], [71]]) == ["AC", "G"]


def test_added_tokens_stay_whole(tmp_path: Path) -> None:
    tokenizer = Evo2Tokenizer()
    tokenizer.add_tokens(["<mask>"])
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, Evo2Tokenizer.from_pretrained(tmp_path)):
        assert one.encode("A<mask>é") == [65, 512, 195, 169]
        assert one.decode([65, 512, 195, 169]) == "A<mask>é"


def test_save_and_load(tmp_path: Path) -> None:
    Evo2Tokenizer(padding_side="right").save_pretrained(tmp_path)
    loaded = Evo2Tokenizer.from_pretrained(tmp_path)
    assert loaded.padding_side == "right"
    assert loaded.get_vocab() == Evo2Tokenizer().get_vocab()
    assert (loaded.eos_token_id, loaded.pad_token_id, len(loaded)) == (0, 1, 512)
