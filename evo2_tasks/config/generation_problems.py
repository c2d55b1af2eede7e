"""What is wrong with the generations of a config: their prompts, tags and scorers."""

import re
from collections.abc import Iterator
from typing import Final

from evo2_tasks.config.generations import SCORER_KINDS, list_kinds, name_scorer
from evo2_tasks.config.resolve import unknown_name
from evo2_tasks.config.schema import PromptsConfig, RunConfig, ScorerConfig

RANKS: Final = "DPCOFGS"
"""Ranks of a phylogenetic tag in their order, from the domain to the species."""

_EXAMPLE: Final = "|D__ANIMALIA;P__CHORDATA;C__MAMMALIA|"
_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_BASES: Final = re.compile(r"[A-Za-z\s]+")


def generation_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the generations: the key, and what is wrong."""
    for name, one in config.generations.items():
        key = f"generations.{name}"
        yield from unknown_name(f"{key}.model", one.model, "models", config.models)
        if one.compare_with is not None:
            yield from unknown_name(
                f"{key}.compare_with", one.compare_with, "references", config.references
            )
        if one.prompts.reference is not None:
            yield from unknown_name(
                f"{key}.prompts.reference", one.prompts.reference, "references", config.references
            )
        yield from prompt_problems(f"{key}.prompts", one.prompts)
        yield from scorer_problems(f"{key}.scorers", one.scorers)
        for i, scorer in enumerate(one.scorers):
            if scorer.likelihood is not None:
                yield from unknown_name(
                    f"{key}.scorers[{i}].likelihood.model",
                    scorer.likelihood.model,
                    "models",
                    config.models,
                )
        if one.beam_width * one.samples_per_beam > 1 and not one.scorers:
            yield (
                f"{key}.scorers",
                "is missing: a search with several candidates needs a scorer that chooses. Add "
                "one, or set beam_width and samples_per_beam to 1",
            )


def prompt_problems(key: str, prompts: PromptsConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with prompts.

    Args:
        key: Their place in the config.
        prompts: The prompts.
    """
    sources = [
        name for name in ("fasta", "text", "region", "bed") if getattr(prompts, name) is not None
    ]
    if not sources and prompts.tag is None:
        yield key, "there is no prompt; name one of fasta, text, region, bed and tag"
    if len(sources) > 1:
        yield f"{key}.{sources[1]}", f"cannot be combined with {sources[0]}; keep one of the two"
    of_reference = [name for name in sources if name in ("region", "bed")]
    if of_reference and prompts.reference is None:
        yield f"{key}.{of_reference[0]}", "needs `reference`, the genome that it is a part of"
    if prompts.reference is not None and not of_reference:
        yield (
            f"{key}.reference",
            "needs `region` or `bed`, which name its parts. To compare the sequences with a "
            "genome, set `compare_with` of the generation",
        )
    if prompts.text is not None and not _BASES.fullmatch(prompts.text):
        yield f"{key}.text", "expected bases, for example ACGT; a tag goes to `tag`"
    if prompts.tag is not None:
        problem = find_tag_problem(prompts.tag)
        if problem is not None:
            yield f"{key}.tag", problem


def find_tag_problem(tag: str) -> str | None:
    """What is wrong with a phylogenetic tag; None for a tag in the published format.

    Args:
        tag: For example ``|D__ANIMALIA;P__CHORDATA;C__MAMMALIA|``.
    """
    expected = f"expected for example {_EXAMPLE}"
    if len(tag) < 3 or not (tag.startswith("|") and tag.endswith("|")):
        return f"a tag begins and ends with |; {expected}"
    if not (tag.isascii() and tag.isprintable()):
        return f"has a character that is not printable ASCII; {expected}"
    if tag != tag.upper():
        return (
            "has lower-case letters, which are other tokens to the model; the published tags are "
            f"in upper case: {tag.upper()}"
        )
    ranks = []
    for part in tag[1:-1].split(";"):
        rank, mark, name = part.partition("__")
        if rank not in RANKS or len(rank) != 1 or not mark or not name.strip() or "|" in name:
            return (
                f"'{part}' is not a rank with a name; the ranks are {', '.join(RANKS)}, and "
                f"{expected}"
            )
        ranks.append(rank)
    if ranks != sorted(set(ranks), key=RANKS.index):
        return f"the ranks are not in the order {', '.join(RANKS)}, each once; {expected}"
    return None


def scorer_problems(key: str, scorers: tuple[ScorerConfig, ...]) -> Iterator[tuple[str, str]]:
    """What is wrong with scorers.

    Args:
        key: Their place in the config.
        scorers: The scorers.
    """
    names: dict[str, int] = {}
    for i, one in enumerate(scorers):
        where, kinds = f"{key}[{i}]", list_kinds(one)
        if not kinds:
            yield where, f"there is no scorer; name one of {', '.join(SCORER_KINDS)}"
            continue
        if len(kinds) > 1:
            yield (
                f"{where}.{kinds[1]}",
                f"cannot be combined with {kinds[0]}; make it an entry of its own",
            )
        if one.weight == 0:
            yield f"{where}.weight", "expected a number other than 0"
        predictor = None if one.peaks is None else one.peaks.predictor
        for place, function in (("function", one.function), ("peaks.predictor", predictor)):
            if function is not None and not _FUNCTION.fullmatch(function):
                yield f"{where}.{place}", "expected module:function, for example my_scorers:count"
        name = name_scorer(one)
        if name in names:
            yield (
                f"{where}.name",
                f"{key}[{names[name]}] is named {name} too; give one of them another `name`",
            )
        names.setdefault(name, i)
