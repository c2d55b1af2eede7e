"""Which scorings of which variant sets the command ``explain`` may explain an allele with."""

from evo2_tasks.config.resolve import PlannedScoring, resolve_scoring_of
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError


def resolve_explain(
    config: RunConfig, variant_set: str | None, scoring: str | None
) -> list[PlannedScoring]:
    """The scorings of the variant sets that have these names, in the order of the config.

    Args:
        config: The config.
        variant_set: Name of a variant set; None for any.
        scoring: Name of a scoring; None for any.

    Raises:
        InputError: The config has no such variant set or scoring, or no set has both.
    """
    sets = [*config.variant_sets] if variant_set is None else [variant_set]
    if scoring is not None and scoring not in config.scorings:
        known = ", ".join(config.scorings)
        raise InputError(f"config: scorings has no {scoring!r}; it has {known}.")
    if variant_set is not None and variant_set not in config.variant_sets:
        known = ", ".join(config.variant_sets)
        raise InputError(f"config: variant_sets has no {variant_set!r}; it has {known}.")
    found = [
        resolve_scoring_of(config, name, one)
        for name in sets
        for one in config.variant_sets[name].scorings
        if scoring in (None, one)
    ]
    if not found:
        where = "no variant set" if variant_set is None else f"variant_sets.{variant_set}"
        raise InputError(f"config: {where} has the scoring {scoring!r}. Name another scoring.")
    return found
