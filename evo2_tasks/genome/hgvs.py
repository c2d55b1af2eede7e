"""HGVS names of genomic sequences (``g.``, ``m.``, ``o.``), turned into the spelling of VCF.

A name is read by the recommendations of the HGVS Nomenclature. A name that they do not allow, or
that leaves a position or a base open, is not read. The file is long because it holds the grammar of
all kinds of changes, each beside the spelling that it becomes.

Source:
    HGVS Nomenclature 21.1, recommendations for DNA, https://hgvs-nomenclature.org.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from evo2_tasks.genome.alleles import count_right_shift
from evo2_tasks.genome.records import NoAllele, Record
from evo2_tasks.genome.window_pairs import reverse_complement
from evo2_tasks.io.vcf_text import Unreadable, parse_position
from evo2_tasks.io.words import shown

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

MAX_BASES = 1 << 20
"""Most bases that are written out for the REF or the ALT of a name, which itself is short."""

Change = Literal["=", ">", "del", "dup", "ins", "delins", "inv", "repeat"]

_CHANGES: Mapping[str, Change] = {"del": "del", "dup": "dup", "inv": "inv"}
_LETTER = "[ACGTUNRYSWKMBDHVacgtunryswkmbdhv]"
_STATED = rf"{_LETTER}+(?:\[[0-9]+\])?|[0-9]+"

# The first letter of a type ends the name of the sequence: an inserted sequence may have one too.
_NAME = re.compile(r"(\S+?)(\([^\s()]*\))?:([cgmnopr])\.(.+)")
_WITHOUT_SEQUENCE = re.compile(r"\(?([cgmnor])\.[\[(]*[0-9?=*+-]|\(?(p)\.[\[(]*[A-Z?=*]")
_GENOMIC = re.compile(r"[^,;]+?:[gmo]\.[\[(]*(?:[0-9?=*+-]|pter|qter|cen)")
_OTHER = re.compile(r"[^,;]+?:(?:[cnr]\.[\[(]*[0-9?=*+-]|p\.[\[(]*[A-Z0?=*])")

_SEVERAL = re.compile(r"[;^/]")
_UNSUPPORTED = re.compile(r"con|pter|qter|cen|sup|::|\|")
_OFFSET = re.compile(r"[-+*]|[0-9]+(?:_[0-9]+)?[-+*]")
_POSITIONS = re.compile(r"([0-9]+)(?:_([0-9]+))?([^0-9_].*)")

_SUBSTITUTION = re.compile(rf"({_LETTER}+)>({_LETTER}+)")
_UNCHANGED = re.compile(rf"({_LETTER}*)=")
_DELINS = re.compile(rf"del({_STATED})?ins(.*)")
_WITHOUT_INSERTED = re.compile(rf"(del|dup|inv)({_STATED})?")
_REPEAT = re.compile(rf"(?:{_LETTER}+\[[0-9]+\])+|\[[0-9]+\]")
_UNIT = re.compile(rf"({_LETTER}*)\[([0-9]+)\]")
_BASES = re.compile(rf"({_LETTER}+)(?:\[([0-9]+)\])?")
_COPY = re.compile(r"([0-9]+)_([0-9]+)(inv)?")


class Bases(NamedTuple):
    """Bases that a name spells out: a unit, and how often it comes."""

    unit: str
    number: int = 1

    def write(self) -> str:
        """The bases in full."""
        return self.unit * self.number


class Copy(NamedTuple):
    """Bases of the same sequence: from the first position to the last, 1-based."""

    first: int
    last: int
    is_inverted: bool


class Name(NamedTuple):
    """An HGVS name, before anything is known of the sequence.

    Attributes:
        contig: Name of the sequence.
        selector: The gene or transcript behind it, with its parentheses; may be empty.
        is_circular: Whether the type of the name is one of circular sequences, ``m`` or ``o``.
        first: First position, 1-based; of an insertion the one before it.
        last: Last position; of an insertion the one behind it.
        is_range: Whether the name has two positions.
        change: Kind of the change.
        stated: The bases that the reference has by the name; null if it does not state them.
        num_stated: Their number; null if the name does not state it.
        inserted: What an insertion or a delins inserts, in order.
        units: The new base of a substitution. The units of a repeat with their numbers; an empty
            unit stands for the bases of the range.
    """

    contig: str
    selector: str
    is_circular: bool
    first: int
    last: int
    is_range: bool
    change: Change = "="
    stated: Bases | None = None
    num_stated: int | None = None
    inserted: tuple[Bases | Copy, ...] = ()
    units: tuple[Bases, ...] = ()


class HgvsError(ValueError):
    """A name that cannot be read.

    Attributes:
        reason: The reason in the table, of a closed list; the message is for the log.
    """

    def __init__(self, reason: str, explanation: str) -> None:
        super().__init__(explanation)
        self.reason = reason


def looks_like_hgvs(text: str) -> bool:
    """Whether a text is a name of a genomic sequence: one with ``g.``, ``m.`` or ``o.``.

    A ``;`` without brackets is taken for the end of a column.
    """
    is_one_word = len(text.split()) == 1 and (";" not in text or "[" in text or "(;)" in text)
    return is_one_word and _GENOMIC.match(text) is not None


def looks_like_other_hgvs(text: str) -> bool:
    """Whether a text is a name of a sequence that is not genomic: a transcript or a protein."""
    return _OTHER.match(text) is not None and len(text.split()) == 1


def is_hgvs(text: str) -> bool:
    """Whether a text is HGVS of any kind, with or without the name of the sequence."""
    return any(form.match(text) for form in (_GENOMIC, _OTHER, _WITHOUT_SEQUENCE))


def read_hgvs(text: str, reference: Reference) -> Record | NoAllele | Unreadable:
    """Read a name into the spelling of VCF.

    An insertion or deletion gets the base before it, or the base behind it at the start of a
    sequence. It is not moved: HGVS puts it to the right end of a repeat.

    Args:
        text: The name.
        reference: The reference that the variant refers to.

    Returns:
        The variant. Its REF is what the name states, if it states bases. A `NoAllele` if the
        reference does not have the positions, or more than ``MAX_BASES`` are changed.
    """
    try:
        return make_record(parse_hgvs(text), reference)
    except HgvsError as error:
        return Unreadable(error.reason, f"'{shown(text)}' {error}")


def parse_hgvs(text: str) -> Name:
    """Read a name, without the sequence.

    Raises:
        HgvsError: The name cannot be read.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        bare = _WITHOUT_SEQUENCE.match(text)
        if bare is None:
            raise HgvsError("unknown_notation", "is not HGVS, for example chr17:g.43045712A>G")
        contig, selector, kind, description = "", "", bare[1] or bare[2], text
    else:
        contig, selector, kind, description = match.groups()
    if kind in "cnrp":
        what = "protein" if kind == "p" else "transcript"
        raise HgvsError(
            "not_genomic",
            f"looks like HGVS of a {what} ({kind}.). Convert it to g. or m., for example with "
            "VariantValidator or Ensembl's Variant Recoder",
        )
    if not contig:
        raise HgvsError("no_contig", "does not name its sequence, as chr17:g.43045712A>G does")
    if len(text.split()) != 1:
        raise _not_hgvs("it has blanks")
    _refuse_open_descriptions(description)
    positions = _POSITIONS.fullmatch(description)
    if positions is None:
        raise _not_hgvs("expected a position or a range, and then the change")
    first, last, edit = positions.groups()
    name = Name(
        contig,
        selector or "",
        kind in "mo",
        _parse_number(first),
        _parse_number(last or first),
        last is not None,
    )
    return _parse_edit(name, edit)


def _refuse_open_descriptions(description: str) -> None:
    """Refuse what is not one change at known positions of the sequence.

    Raises:
        HgvsError: The description is of another kind.
    """
    outside = description
    first, last = description.find("ins["), description.rfind("]")
    if 0 <= first < last:
        outside = description[: first + len("ins")] + description[last + 1 :]
    if description.startswith("[") or _SEVERAL.search(outside):
        raise HgvsError(
            "several_changes",
            "has several changes or alleles. Write each change on a line of its own, or the "
            "changes of one haplotype as one delins",
        )
    if "(" in description or "?" in description:
        raise HgvsError("uncertain", "has an uncertain position, length or change")
    if _UNSUPPORTED.search(outside) or outside == "=":
        raise HgvsError(
            "unsupported_change",
            "is a conversion (con), a translocation, the end of a chromosome (pter, qter), a "
            "methylation or a whole sequence, which are not read",
        )
    if _OFFSET.match(outside):
        problem = "has a position with a sign; g., m. and o. have numbers alone, and ranges 5_7"
        raise HgvsError("bad_position", problem)


def _parse_edit(name: Name, edit: str) -> Name:
    """Read what comes after the positions.

    Raises:
        HgvsError: The change cannot be read.
    """
    num_bases = name.last - name.first + 1
    if num_bases < 1 and not name.is_circular:
        problem = "has a range that ends before it begins; only m. and o. go across the origin"
        raise HgvsError("reversed_range", problem)
    if match := _SUBSTITUTION.fullmatch(edit):
        ref, alt = match[1].upper(), match[2].upper()
        if name.is_range or len(ref) != 1 or len(alt) != 1:
            raise _not_hgvs("a substitution is of one base; write several bases as delins")
        return name._replace(change=">", stated=Bases(ref), num_stated=1, units=(Bases(alt),))
    if match := _UNCHANGED.fullmatch(edit):
        return _state(name, match[1])
    if match := _DELINS.fullmatch(edit):
        inserted = _parse_inserted(match[2], name)
        return _state(name._replace(change="delins", inserted=inserted), match[1])
    if match := _WITHOUT_INSERTED.fullmatch(edit):
        if match[1] == "inv" and num_bases == 1:
            raise _not_hgvs("an inversion has more than one base; write one base as a substitution")
        return _state(name._replace(change=_CHANGES[match[1]]), match[2])
    if edit.startswith("ins"):
        if not name.is_range or (num_bases != 2 and not (num_bases < 1 and name.last == 1)):
            raise _not_adjacent()
        return name._replace(change="ins", inserted=_parse_inserted(edit[3:], name))
    if _REPEAT.fullmatch(edit):
        units = tuple(Bases(unit.upper(), _parse_number(n)) for unit, n in _UNIT.findall(edit))
        if len(units) > 1 and not name.is_range:
            raise _not_hgvs("a repeat of several units needs the first and the last position")
        return name._replace(change="repeat", units=units)
    raise _not_hgvs("expected A>G, del, dup, ins, delins, inv, = or a repeat such as CAG[23]")


def _state(name: Name, text: str | None) -> Name:
    """Add the bases, or the number of bases, that a name states behind its change.

    Raises:
        HgvsError: They are not as many as the positions. Those of a range across the origin are
            counted later.
    """
    if not text:
        return name
    match = _BASES.fullmatch(text)
    if match is None:
        if not name.is_range:
            raise _not_hgvs("a number of bases is not allowed; give first and last position")
        stated, number = None, _parse_number(text)
    else:
        stated = _parse_bases(match)
        number = len(stated.unit) * stated.number
    name = name._replace(stated=stated, num_stated=number)
    if name.first <= name.last:
        _require_length(name, name.last - name.first + 1)
    return name


def _require_length(name: Name, num_bases: int) -> None:
    if name.num_stated not in (None, num_bases):
        raise HgvsError(
            "length_mismatch",
            f"has a range of {num_bases:,} bases, but states {name.num_stated:,}",
        )


def _parse_inserted(text: str, name: Name) -> tuple[Bases | Copy, ...]:
    """Read an inserted sequence: bases, a copy of a range, or a list of these in brackets.

    Raises:
        HgvsError: It is not stated, or cannot be read.
    """
    is_list = text.startswith("[") and text.endswith("]")
    pieces: list[Bases | Copy] = []
    for part in text[1:-1].split(";") if is_list else [text]:
        if ":" in part:
            problem = "inserts bases of another sequence; write them in letters"
            raise HgvsError("other_sequence", problem)
        if match := _BASES.fullmatch(part):
            pieces.append(_parse_bases(match))
        elif match := _COPY.fullmatch(part):
            first, last = _parse_number(match[1]), _parse_number(match[2])
            if last < first and not name.is_circular:
                raise HgvsError("reversed_range", "inserts a range that ends before it begins")
            pieces.append(Copy(first, last, is_inverted=match[3] is not None))
        elif not part.strip("0123456789[]"):
            raise _no_sequence()
        else:
            raise _not_hgvs(f"'{shown(part, 30)}' is not an inserted sequence")
    if not any(isinstance(piece, Copy) or piece.number for piece in pieces):
        raise _no_sequence()
    return tuple(pieces)


def _parse_bases(match: re.Match[str]) -> Bases:
    return Bases(match[1].upper(), 1 if match[2] is None else _parse_number(match[2]))


def _parse_number(text: str) -> int:
    number = parse_position(text.encode())
    if number is None:
        raise HgvsError("bad_position", f"has '{shown(text, 30)}', which is not a 64-bit integer")
    return number


def _not_hgvs(explanation: str) -> HgvsError:
    return HgvsError("not_hgvs", f"is not allowed by HGVS: {explanation}")


def _not_adjacent() -> HgvsError:
    return HgvsError(
        "flanks_not_adjacent",
        "does not insert between two neighbouring positions, as 123_124insA does",
    )


def _no_sequence() -> HgvsError:
    return HgvsError("no_inserted_sequence", "does not state the inserted bases")


class _Sequence(NamedTuple):
    """The sequence that a name is about. Positions count from 0, and go on across the origin."""

    reference: Reference
    name: str
    length: int
    is_circular: bool

    def fetch(self, start: int, end: int) -> str:
        return self.reference.fetch(self.name, start, end)

    def has(self, start: int, end: int) -> bool:
        """Whether there are bases from start to end."""
        return self.is_circular or 0 <= start <= end <= self.length

    def locate(self, first: int, last: int) -> tuple[int, int]:
        """Start and number of bases of a range, whose positions count from 1.

        Raises:
            HgvsError: The range goes across the origin of a sequence that is not circular.
        """
        if first <= last:
            return first - 1, last - first + 1
        if not self.is_circular:
            raise HgvsError(
                "reversed_range",
                f"has a range across the origin, but '{shown(self.name)}' is not one of the "
                "circular_contigs of the reference",
            )
        return first - 1, self.length - first + 1 + last


class _Edit(NamedTuple):
    """Bases that are replaced: the first of them from 0, what they are, and the new ones."""

    start: int
    ref: str
    alt: str


def make_record(name: Name, reference: Reference) -> Record | NoAllele:
    """Spell a name as VCF does; see :func:`read_hgvs`.

    Raises:
        HgvsError: The name does not fit the sequence, so that it cannot be read.
    """
    contig = name.contig
    if name.selector and reference.find(contig + name.selector) is not None:
        contig += name.selector  # the parentheses belong to the name of the sequence
    resolved = reference.resolve(contig)
    if name.change == ">" and name.stated is not None:
        return Record(contig, name.first, name.stated.unit, [name.units[0].unit], None, ())
    if resolved is None:
        return NoAllele(contig, name.first, "contig_not_found", reference.why_not_found(contig))
    sequence = _Sequence(
        reference, resolved, reference.contigs[resolved], reference.is_circular(resolved)
    )
    copies = [piece for piece in name.inserted if isinstance(piece, Copy)]
    positions = [name.first, name.last, *(one for copy in copies for one in copy[:2])]
    if not 1 <= min(positions) <= max(positions) <= sequence.length:
        reason = "reaches_past_end" if 1 <= name.first <= sequence.length else "after_end"
        reason = "before_start" if min(positions) < 1 else reason
        return NoAllele(contig, name.first, "position_out_of_range", reason)
    start, num_ref = _locate(name, sequence)
    num_new = _count_new(name, num_ref, sequence)
    if max(num_ref, num_new) > MAX_BASES:
        reason = "long_ref" if num_new <= MAX_BASES else "long_alt"
        reason = "long_ref_and_alt" if min(num_ref, num_new) > MAX_BASES else reason
        return NoAllele(contig, name.first, "too_long", reason)
    edit = _find_edit(name, start, num_ref, sequence)
    return _spell(name, contig, edit, sequence)


def _locate(name: Name, sequence: _Sequence) -> tuple[int, int]:
    """Where the replaced bases are: their start, and their number.

    Raises:
        HgvsError: The positions do not fit the sequence or what the name states.
    """
    if name.change == "ins":
        is_at_origin = sequence.is_circular and (name.first, name.last) == (sequence.length, 1)
        if name.last != name.first + 1 and not is_at_origin:
            raise _not_adjacent()
        return name.first, 0
    start, num_ref = sequence.locate(name.first, name.last)
    _require_length(name, num_ref)
    if name.change == "repeat" and not name.is_range and name.units[0].unit:
        num_ref = _count_repeat(name, start, sequence)
    return start, num_ref


def _count_repeat(name: Name, start: int, sequence: _Sequence) -> int:
    """How many bases the copies of a unit have that begin at a position; at least one copy."""
    unit = name.units[0].unit
    goes_round = sequence.is_circular and name.is_circular
    limit = sequence.length if goes_round else sequence.length - start
    limit = min(limit, MAX_BASES + len(unit))
    same = count_right_shift(sequence.fetch, start, unit, limit)
    return max(1, same // len(unit)) * len(unit)


def _count_new(name: Name, num_ref: int, sequence: _Sequence) -> int:
    """How many bases a change puts into the place of ``num_ref`` bases, or behind them."""
    if name.change == "del":
        return 0
    if name.change in ("=", "dup", "inv"):
        return num_ref
    num_new = sum((len(one.unit) or num_ref) * one.number for one in name.units)
    for piece in name.inserted:
        if isinstance(piece, Copy):
            num_new += sequence.locate(piece.first, piece.last)[1]
        else:
            num_new += len(piece.unit) * piece.number
    return num_new


def _find_edit(name: Name, start: int, num_ref: int, sequence: _Sequence) -> _Edit:
    """The replaced bases, which are those that the name states, and the new ones.

    Raises:
        HgvsError: A repeat does not have the range of the name.
    """
    if name.change == "repeat":
        return _find_repeat(name, start, num_ref, sequence)
    end = start + num_ref
    ref = sequence.fetch(start, end) if name.stated is None else name.stated.write()
    match name.change:
        case "=":
            alt = ref
        case "inv":
            alt = reverse_complement(ref)
        case "dup":
            if ref != sequence.fetch(start, end):
                return _Edit(start, ref, ref + ref)
            return _Edit(end if end <= sequence.length else end - sequence.length, "", ref)
        case _:
            alt = "".join(_write(piece, sequence) for piece in name.inserted)
    return _Edit(start, ref, alt)


def _find_repeat(name: Name, start: int, num_ref: int, sequence: _Sequence) -> _Edit:
    """The bases of a repeat, and its new ones.

    The range is that of all copies of the unit, so REF is made of whole copies. If there are more
    copies before or behind the range, the name can mean two things.

    Raises:
        HgvsError: The range is not that of whole copies, or not of all copies.
    """
    end = start + num_ref
    unit = name.units[0].unit
    if len(name.units) > 1 or not unit:
        ref = sequence.fetch(start, end)
    else:
        if num_ref % len(unit):
            raise HgvsError(
                "length_mismatch",
                f"has a range of {num_ref:,} bases, which are not whole copies of "
                f"{shown(unit, 30)}",
            )
        ref = unit * (num_ref // len(unit))
    units = [Bases(one.unit or ref, one.number) for one in name.units]
    if len(units) == 1 and sequence.has(start, end) and ref == sequence.fetch(start, end):
        unit = units[0].unit
        for place in (start - len(unit), end):
            around = (place, place + len(unit))
            if sequence.has(*around) and sequence.fetch(*around) == unit:
                raise HgvsError(
                    "partial_repeat",
                    "is a repeat with more copies next to its range, so the number of copies can "
                    "mean two things; give the range of all copies",
                )
    return _Edit(start, ref, "".join(one.write() for one in units))


def _spell(name: Name, contig: str, edit: _Edit, sequence: _Sequence) -> Record:
    """The record of an edit, with a base next to it if it has no bases in one of the alleles."""
    start, ref, alt = edit
    if not (ref and alt):
        if start > 0:
            start -= 1
            base = sequence.fetch(start, start + 1)
            ref, alt = base + ref, base + alt
        else:
            base = sequence.fetch(len(ref), min(len(ref) + 1, sequence.length))
            ref, alt = ref + base, alt + base
    spans_origin = name.is_circular and sequence.is_circular and start + len(ref) > sequence.length
    return Record(contig, start + 1, ref, [alt], None, (), spans_origin=spans_origin)


def _write(piece: Bases | Copy, sequence: _Sequence) -> str:
    if isinstance(piece, Bases):
        return piece.write()
    start, num_bases = sequence.locate(piece.first, piece.last)
    bases = sequence.fetch(start, start + num_bases)
    return reverse_complement(bases) if piece.is_inverted else bases
