"""How many tokens per second a device runs: measured and published rates."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.errors import InputError

PUBLISHED_RATES = Path(__file__).parent / "published_rates.json"


@dataclass(frozen=True)
class Rate:
    """How fast a device runs a model, as measured by somebody."""

    device: str
    model: str
    window_length: int
    tokens_per_s: float
    flops_per_token: float
    source: str
    threads: int | None = None

    @property
    def flops_per_s(self) -> float:
        """Operations per second that it comes to, which other models are reckoned by."""
        return self.tokens_per_s * self.flops_per_token


def read_rates(file: Path) -> list[Rate]:
    """A rate table: what ``calibrate`` writes, or the published one of the package.

    Raises:
        InputError: It cannot be read or holds something else.
    """
    try:
        rates = [Rate(**values) for values in json.loads(file.read_bytes())["rates"]]
        if not all(rate.tokens_per_s > 0 and rate.flops_per_token > 0 for rate in rates):
            raise ValueError("a rate is not above 0")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: is no table of rates. Expected what `evo2-tasks calibrate` writes."
        ) from error
    return rates


def find_rate(rates: Sequence[Rate], device: str | None) -> Rate | None:
    """The last rate of a device whose name holds these words; of any device without them."""
    wanted = (device or "").lower()
    found = [rate for rate in rates if wanted in rate.device.lower()]
    return found[-1] if found else None


def choose_rate(rates: Sequence[Rate], model: str, device: str | None, *, gpus: int) -> Rate | None:
    """The rate to reckon with: of this model where there is one, else of another one."""
    of_kind = [rate for rate in rates if rate.device.startswith("cpu") == (gpus == 0)]
    of_model = [rate for rate in of_kind if rate.model == model]
    return find_rate(of_model, device) or find_rate(of_kind, device)
