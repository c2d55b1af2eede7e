"""The names of the sets of a config: each is a folder of the results, so no name is used twice."""

from collections.abc import Iterator, Mapping
from typing import Final

from evo2_tasks.config.schema import RunConfig, Section
from evo2_tasks.layout import RESERVED_SETS

SET_SECTIONS: Final = ("variant_sets", "track_sets", "sequence_sets")
"""The sections of the config whose names are folders of the results."""


def list_sets(config: RunConfig) -> dict[str, Mapping[str, Section]]:
    """The sets of a config by the section that they are in."""
    return {section: getattr(config, section) for section in SET_SECTIONS}


def set_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """No set at all, or names that the results have another use for: the key, and what is wrong."""
    has_sets = any(list_sets(config).values())
    if not has_sets and not config.generations:
        others = (*SET_SECTIONS[1:], "generations")
        yield (
            "variant_sets",
            "there is no set to score; add one here or under "
            f"{' or '.join(f'`{section}`' for section in others)}",
        )
    if has_sets and not config.scorings:
        yield "scorings", "expected at least one entry, got none"
    taken: dict[str, str] = {}
    for section, sets in list_sets(config).items():
        for name in sets:
            key = f"{section}.{name}"
            if name in RESERVED_SETS:
                yield key, "this name is reserved in the results folder; choose another name"
            elif name in taken:
                yield (
                    key,
                    f"{taken[name]} has this name too, and both are folders in the results; choose "
                    "another name",
                )
            taken.setdefault(name, key)
