"""The tokenizer: the token ids of a text are the bytes of its UTF-8 encoding."""

from typing import Any

from transformers import PreTrainedTokenizer

VOCAB_SIZE = 512
NUM_BYTES = 256  # ids from this one on represent no text
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Evo2Tokenizer(PreTrainedTokenizer):
    """The tokenizer of every Evo 2 model: one token per UTF-8 byte, id and byte the same number.

    Case matters, since ``a`` and ``A`` are two tokens. No special tokens are added. Decoding
    restores valid UTF-8; ids 256 to 511 and bytes that are not valid UTF-8 become U+FFFD. The name
    of a token is the character with the id as its code point.

    Args:
        eos_token: The end-of-document token, byte 0. It also marks the start of a sequence.
        pad_token: The padding token, byte 1.
        padding_side: Side of the padding in a batch. Generation needs padding on the left.
        **kwargs: As in transformers.
    """

    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 # as transformers

    def __init__(
        self,
        eos_token: str = "\x00",  # noqa: S107 # a token of text, not a password
        pad_token: str = "\x01",  # noqa: S107 # the same
        padding_side: str = "left",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("clean_up_tokenization_spaces", False)
        super().__init__(
            eos_token=eos_token, pad_token=pad_token, padding_side=padding_side, **kwargs
        )

    @property
    def vocab_size(self) -> int:
        """Number of ids without added tokens."""
        return VOCAB_SIZE

    def get_vocab(self) -> dict[str, int]:
        """The id of each token."""
        vocab = {chr(index): index for index in range(VOCAB_SIZE)}
        vocab.update(self._added_tokens_encoder)
        return vocab

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:
        """Split text into the tokens of its bytes, and into added tokens if there are any."""
        if len(self) > VOCAB_SIZE:
            return list(super().tokenize(text, **kwargs))
        return self._tokenize(text)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text.encode("utf-8").decode("latin-1"))

    def _convert_token_to_id(self, token: str) -> int | None:
        return ord(token) if len(token) == 1 and ord(token) < VOCAB_SIZE else None

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of tokens."""
        return b"".join(self._token_bytes(token) for token in tokens).decode("utf-8", "replace")

    def _token_bytes(self, token: str) -> bytes:
        if token in self._added_tokens_encoder:
            return token.encode("utf-8")
        return bytes([ord(token)]) if ord(token) < NUM_BYTES else REPLACEMENT.encode("utf-8")

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """There is no vocabulary file."""
        return ()
