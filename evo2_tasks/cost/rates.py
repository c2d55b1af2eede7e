"""Rates: how many tokens per second a model runs on a device, measured or published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from evo2_tasks.io.documents import Count, Document

PUBLISHED_RATES = Path(__file__).parent / "published_rates.json"


class Rate(Document):
    """The measured rate of a model on a device, and its source."""

    device: str
    model: str
    window_length: Count
    tokens_per_s: Annotated[float, Field(gt=0, le=1e18)]
    flops_per_token: Annotated[float, Field(gt=0, le=1e18)]
    source: str
    threads: Count | None = None

    @property
    def flops_per_s(self) -> float:
        """Floating-point operations per second, from which the rates of other models follow."""
        return self.tokens_per_s * self.flops_per_token


class Rates(Document):
    """A file of rates: one that ``measure`` wrote, or the published rates of the package."""

    remedy: ClassVar[str] = "Expected a file that `evo2-tasks measure` wrote."

    rates: tuple[Rate, ...]


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
