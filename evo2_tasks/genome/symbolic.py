"""Symbolic alleles that the reference resolves: ``<DEL>``, ``<DUP>``, ``<INV>`` and ``<INS>``.

INFO says how many bases such an allele changes, or which bases it inserts. What it says is read
here, and turned into the change of the reference. Where INFO leaves something open, the reason is
kept instead, and the allele stays symbolic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from evo2_tasks.genome.alleles import TrimmedAllele, trim
from evo2_tasks.genome.records import Symbol
from evo2_tasks.genome.window_pairs import reverse_complement
from evo2_tasks.io.lines import decode

Kind = Literal["deletion", "duplication", "inversion", "insertion"]

KINDS: Final[Mapping[str, Kind]] = {
    "<DEL>": "deletion",
    "<DUP>": "duplication",
    "<DUP:TANDEM>": "duplication",
    "<INV>": "inversion",
    "<INS>": "insertion",
}
"""The symbolic alleles that can be resolved. VCF's symbols are case-sensitive."""

NO_SYMBOL: Final = Symbol()
_OTHER: Final = Symbol("other_symbol")

# Bases inserted at the breakpoint: by Manta and GRIDSS, and how many there are (also by Delly).
_SEQUENCES: Final = (b"SVINSSEQ", b"INSSEQ")
_NUMBERS: Final = (b"SVINSLEN", b"INSLEN")
_INTERVALS: Final = (b"CIPOS", b"CIEND", b"CILEN")
_KEYS: Final = frozenset(
    {b"SVLEN", b"END", b"IMPRECISE", b"SVCLAIM", *_SEQUENCES, *_NUMBERS, *_INTERVALS}
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_CLAIMS: Final = frozenset({"D", "J", "DJ", "JD"})

# Bases compared in the first step from both ends of an inversion, and at most in a later step.
_FIRST_STEP: Final = 32
_LAST_STEP: Final = 4096

Fetch = Callable[[int, int], str]
"""Returns the bases between two positions, 0-based and half-open."""


class SymbolicChange(NamedTuple):
    """What a symbolic allele changes, before its bases are read.

    Attributes:
        kind: How the bases are changed.
        start: First changed base, 0-based; for a duplication and an insertion the base after it.
            The copy of a duplicated segment is put before the segment, next to POS. That is the
            same sequence as with the copy behind the segment.
        length: Number of bases that are deleted, copied, inverted or inserted.
        sequence: The inserted bases; empty for other kinds.
    """

    kind: Kind
    start: int
    length: int
    sequence: str = ""

    @property
    def num_ref(self) -> int:
        """Number of reference bases that it replaces."""
        return self.length if self.kind in ("deletion", "inversion") else 0

    @property
    def num_alt(self) -> int:
        """Number of bases that replace them."""
        return 0 if self.kind == "deletion" else self.length

    def spell(self, fetch: Fetch) -> TrimmedAllele:
        """Write the allele out in bases, as VCF does it, and trim it."""
        end = self.start if self.kind == "insertion" else self.start + self.length
        bases = fetch(self.start - 1, end)
        before, segment = bases[0], bases[1:]
        match self.kind:
            case "deletion":
                ref, alt = bases, before
            case "duplication":
                ref, alt = before, bases
            case "insertion":
                ref, alt = before, before + self.sequence
            case "inversion":
                ref, alt = bases, before + reverse_complement(segment)
        return trim(self.start - 1, ref, alt)


def make_change(alt: str, start: int, symbol: Symbol, fetch: Fetch) -> SymbolicChange:
    """The change that a symbolic allele makes.

    Of an inversion only the bases are left that change. An inversion that changes none has the
    length 0.

    Args:
        alt: The allele, one of ``KINDS``.
        start: The base after POS, 0-based.
        symbol: What INFO says about it, without a reason.
        fetch: Returns bases of the contig.
    """
    kind = KINDS[alt]
    if kind == "insertion":
        return SymbolicChange(kind, start, len(symbol.sequence or ""), symbol.sequence or "")
    length = symbol.length or 0
    if kind == "inversion":
        same = _count_same(fetch, start, start + length)
        return SymbolicChange(kind, start + same, max(0, length - 2 * same))
    return SymbolicChange(kind, start, length)


def _count_same(fetch: Fetch, start: int, end: int) -> int:
    """How many bases at each end of an inverted segment stay the same; half of it if all do."""
    half = (end - start + 1) // 2
    done, step = 0, _FIRST_STEP
    while done < half:
        size = min(step, half - done)
        left = fetch(start + done, start + done + size)
        right = reverse_complement(fetch(end - done - size, end - done))
        if left != right:
            return done + next(i for i in range(size) if left[i] != right[i])
        done += size
        step = min(2 * step, _LAST_STEP)
    return half


def describe_symbols(
    pos: int, ref: str, alts: Sequence[str], info: bytes = b""
) -> tuple[Symbol, ...]:
    """What INFO says about each allele of a record.

    Args:
        pos: POS, 1-based.
        ref: REF.
        alts: The entries of ALT, symbolic or not.
        info: The INFO column; empty in a format without one.
    """
    if KINDS.keys().isdisjoint(alts):  # as in every line of a gVCF
        return tuple(_OTHER if _has_symbol(alt) else NO_SYMBOL for alt in alts)
    reader = _Info(pos, ref, alts, info)
    symbols = []
    for place, alt in enumerate(alts):
        if alt not in KINDS:
            symbols.append(_OTHER if _has_symbol(alt) else NO_SYMBOL)
            continue
        try:
            symbols.append(reader.describe(place))
        except _OpenError as error:
            symbols.append(Symbol(error.reason))
    return tuple(symbols)


def _has_symbol(alt: str) -> bool:
    return "<" in alt and "[" not in alt and "]" not in alt  # no breakend


class _OpenError(ValueError):
    """INFO leaves open what an allele is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Info:
    """The fields of a record that describe its symbolic alleles; of two with one key the first."""

    def __init__(self, pos: int, ref: str, alts: Sequence[str], info: bytes) -> None:
        self._pos = pos
        self._ref = ref
        self._alts = alts
        self._items: dict[bytes, str] = {}
        for item in info.split(b";"):
            key, _, value = item.partition(b"=")
            if key in _KEYS:
                self._items.setdefault(key, decode(value))
        lists = {key: value.split(",") for key, value in self._items.items()}
        self._lists = {key: values for key, values in lists.items() if not _are_missing(values)}
        self._last: int | None = None

    def describe(self, place: int) -> Symbol:
        """What the fields say about one allele.

        Raises:
            _OpenError: They leave something open, or contradict each other.
        """
        alt = self._alts[place]
        self._require_exact(place)
        self._require_junction(place, alt)
        if KINDS[alt] == "insertion":
            return Symbol(None, None, self._find_sequence(place))
        length = self._find_length(place)
        if self._has_inserted(place):
            raise _OpenError("extra_sequence")
        return Symbol(None, length)

    def _require_exact(self, place: int) -> None:
        intervals = {key: self._read_interval(key, place) for key in _INTERVALS}
        if b"IMPRECISE" in self._items and intervals[b"CIPOS"] != (0, 0):
            raise _OpenError("imprecise")
        if any(one not in (None, (0, 0)) for one in intervals.values()):
            raise _OpenError("uncertain_bounds")

    def _require_junction(self, place: int, alt: str) -> None:
        claim = self._read(b"SVCLAIM", place)
        if claim is not None and claim not in _CLAIMS:
            raise _OpenError("bad_info")
        if claim is not None and "J" not in claim:
            raise _OpenError("no_junction")
        if claim is None and alt == "<DUP>":
            raise _OpenError("not_tandem")

    def _find_sequence(self, place: int) -> str:
        """The inserted bases of an ``<INS>``, in upper case."""
        found = {self._read_sequence(key, place) for key in _SEQUENCES} - {None}
        if not found:
            raise _OpenError("no_sequence")
        sequence = found.pop()
        length, span = self._read_length(place), self._read_span()
        is_same = length in (None, len(sequence or ""))
        if found or not is_same or span not in (None, 0, 1, self._find_last()):
            raise _OpenError("contradiction")
        return sequence or ""

    def _find_length(self, place: int) -> int:
        """How many bases a ``<DEL>``, ``<DUP>`` or ``<INV>`` changes."""
        length, span = self._read_length(place), self._read_span()
        # END is that of the record: of its longest allele.
        is_same = length is None or span in (None, length, self._find_last())
        if not is_same or (span or 0) < 0:
            raise _OpenError("contradiction")
        found = span if length is None else length
        if not found:
            raise _OpenError("no_length")
        return found

    def _find_last(self) -> int:
        """How far after POS the record reaches by its REF and its lengths."""
        if self._last is None:
            lengths = self._lists.get(b"SVLEN", [])
            self._last = len(self._ref) - 1
            for alt, length in zip(self._alts, lengths, strict=False):
                is_known = _has_symbol(alt) and KINDS.get(alt) != "insertion"
                if is_known and _INTEGER.fullmatch(length):
                    self._last = max(self._last, abs(int(length)))
        return self._last

    def _has_inserted(self, place: int) -> bool:
        """Whether there are more bases at the breakpoint than the allele says."""
        return any(self._read_sequence(key, place) for key in _SEQUENCES) or any(
            self._read_integer(key, place) for key in _NUMBERS
        )

    def _read_length(self, place: int) -> int | None:
        length = self._read_integer(b"SVLEN", place)
        return None if length is None else abs(length)

    def _read_span(self) -> int | None:
        """END - POS."""
        text = self._items.get(b"END", ".")
        return None if text == "." else _parse(text) - self._pos

    def _read_integer(self, key: bytes, place: int) -> int | None:
        text = self._read(key, place)
        return None if text is None else _parse(text)

    def _read_sequence(self, key: bytes, place: int) -> str | None:
        text = self._read(key, place)
        if text is not None and not _LETTERS.fullmatch(text):
            raise _OpenError("bad_info")
        return None if text is None else text.upper()

    def _read_interval(self, key: bytes, place: int) -> tuple[int, int] | None:
        """The two ends of a confidence interval: one for each allele, or one for all of them."""
        values = self._lists.get(key)
        if values is None:
            return None
        if len(values) == 2 * len(self._alts):
            values = values[2 * place : 2 * place + 2]
            if _are_missing(values):
                return None
        if len(values) != 2:
            raise _OpenError("bad_info")
        first, last = map(_parse, values)
        return first, last

    def _read(self, key: bytes, place: int) -> str | None:
        """The value of one allele; None if it is missing."""
        values = self._lists.get(key)
        if values is None:
            return None
        if len(values) != len(self._alts):
            raise _OpenError("bad_info")
        return None if values[place] == "." else values[place]


def _are_missing(values: Collection[str]) -> bool:
    return all(value == "." for value in values)


def _parse(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise _OpenError("bad_info")
    return int(text)
