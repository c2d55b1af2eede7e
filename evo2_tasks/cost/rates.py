"""Rates: how many tokens per second a model runs on a device, measured or published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.errors import InputError

PUBLISHED_RATES = Path(__file__).parent / "published_rates.json"


@dataclass(frozen=True)
class Rate:
    """The measured rate of a model on a device, and its source."""

    device: str
    model: str
    window_length: int
    tokens_per_s: float
    flops_per_token: float
    source: str
    threads: int | None = None

    @property
    def flops_per_s(self) -> float:
        """Floating-point operations per second, from which the rates of other models follow."""
        return self.tokens_per_s * self.flops_per_token


def read_rates(file: Path) -> list[Rate]:
    """Read a file of rates: one that ``measure`` wrote, or the published rates of the package.

    Raises:
        InputError: The file cannot be read or is not a file of rates.
    """
    try:
        rates = [Rate(**values) for values in json.loads(file.read_bytes())["rates"]]
        if not all(rate.tokens_per_s > 0 and rate.flops_per_token > 0 for rate in rates):
            raise ValueError("a rate is not above 0")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: not a file of rates; expected a file that `evo2-tasks measure` wrote."
        ) from error
    return rates


def find_rate(rates: Sequence[Rate], device: str | None) -> Rate | None:
    """The last rate of a device whose name contains this text; None matches every device."""
    text = (device or "").lower()
    found = [rate for rate in rates if text in rate.device.lower()]
    return found[-1] if found else None


def choose_rate(rates: Sequence[Rate], model: str, device: str | None, *, gpus: int) -> Rate | None:
    """The rate for an estimate: of this model if there is one, else of another model."""
    of_kind = [rate for rate in rates if rate.device.startswith("cpu") == (gpus == 0)]
    of_model = [rate for rate in of_kind if rate.model == model]
    return find_rate(of_model, device) or find_rate(of_kind, device)
