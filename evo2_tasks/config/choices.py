"""Choices and defaults that the config and the command line share, without pydantic."""

from typing import Final, Literal

Fp8Mode = Literal["off", "emulate", "hopper", "ada", "blackwell"]

Release = Literal[
    "evo2_1b_base",
    "evo2_7b",
    "evo2_7b_base",
    "evo2_7b_262k",
    "evo2_7b_microviridae",
    "evo2_20b",
    "evo2_40b",
    "evo2_40b_base",
]

ConsequenceField = Literal["CSQ", "ANN", "BCSQ"]

WINDOW_LENGTH: Final = 8192
"""Default of the number of reference bases around an allele that the model reads."""

MAX_SEQUENCE_LENGTH: Final = 1_048_576
"""Default of the longest sequence that is scored: the longest context of a published model."""

BATCH_TOKENS: Final = 65_536
"""Default of the number of tokens that go through the model at once."""

CIRCULAR_MIN_CONTEXT: Final = 512
"""Default of the bases before the first base of a circular sequence that the model reads."""
