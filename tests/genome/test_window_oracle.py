"""Every status, flag, window and token against a second reading of the definitions.

The oracle below knows no intervals and no closed forms: it writes both haplotypes out as strings,
moves alleles one base at a time, and compares the windows token by token.
"""

import itertools
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import merge_intervals, needed_intervals, strand_sequences
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings, place_allele

COMPLEMENT = dict(zip("ACGTUNRYSWKMBDHV", "TGCAANYRSWMKVHDB", strict=True))


@dataclass
class Expected:
    status: str
    flags: frozenset[str] = frozenset()
    window: tuple[int, int] | None = None
    edit: tuple[int, int, str] | None = None
    strands: dict[str, tuple[str, str, int]] | None = None  # ref tokens, alt tokens, prefix


# Written out from the table of IUPAC: the base of each letter that comes first in the alphabet.
LEAST_BASE = dict(zip("RYSWKMBDHV", "ACCAGACAAA", strict=True))


def expect(variant: Variant, genome: dict[str, str], circular: set[str], settings: WindowSettings):
    ref, alt, name = variant.ref, variant.alt, variant.contig
    if alt == ".":
        return Expected("missing_allele")
    if ref == alt:
        return Expected("not_a_variant")
    if alt == "*":
        return Expected("overlapping_deletion")
    if "[" in alt or "]" in alt or (alt[0] == "." or alt[-1] == "."):
        return Expected("breakend")
    if "<" in alt:
        return Expected("symbolic_allele")
    r, a, p = list(ref), list(alt), variant.pos - 1
    while r and a and r[-1] == a[-1]:
        r.pop()
        a.pop()
    while r and a and r[0] == a[0]:
        r.pop(0)
        a.pop(0)
        p += 1
    if set(r + a) - set("ACGT"):
        return Expected("non_acgt_allele")
    if name not in genome:
        return Expected("contig_not_found")
    sequence, is_circle = genome[name].upper(), name in circular
    length = len(sequence)
    first = variant.pos - 1
    if first < 0 or first + len(ref) > length:
        return Expected("position_out_of_range")
    original = sequence
    stands_for = {first + i for i, base in enumerate(ref) if sequence[first + i] != base}
    if any(LEAST_BASE.get(sequence[i]) != ref[i - first] for i in stands_for):
        fits = first + len(alt) <= length and sequence[first : first + len(alt)] == alt
        return Expected("ref_alt_swapped" if fits and len(alt) >= len(ref) else "ref_mismatch")
    stands_for &= set(range(p, p + len(r)))
    for i in stands_for:
        sequence = sequence[:i] + ref[i - first] + sequence[i + 1 :]
    window_length = min(settings.window_length, length) if is_circle else settings.window_length
    longest = window_length // 4
    if settings.max_allele_length is not None:
        longest = settings.max_allele_length
    if is_circle:
        longest = max(1, min(longest, window_length // 4))
    if len(r) > longest or len(a) > longest:
        return Expected("too_long")

    trimmed_p = p % length if is_circle else p
    unit, moves = r or a, 0
    while not (r and a):
        if (p == 0 and not is_circle) or (is_circle and moves == length + len(unit)):
            break
        if sequence[(p - 1) % length] != unit[-1]:
            break
        unit.insert(0, unit.pop())
        p -= 1
        moves += 1
    p = p % length if is_circle else p
    num_ref, new = len(r), "".join(a)

    start = find_start(p, length, is_circle, window_length, settings)
    end = start + window_length
    if not is_circle:
        start, end = max(0, start), min(length, end)
    window = "".join(original[i % length] for i in range(start, end))
    edit = (p, num_ref, new)
    num_other = sum(base not in "ACGT" for base in window)
    if num_other / len(window) > settings.max_n_share:
        return Expected("too_many_n", window=(start, end), edit=edit)

    strands, uncut = {}, []
    failed = False
    for strand in ("forward", "reverse"):
        if settings.strands not in ("both", strand):
            continue
        ref_tokens, alt_tokens = read(strand, sequence, is_circle, start, end, edit)
        prefix = 0
        while prefix < len(ref_tokens) and ref_tokens[prefix] == alt_tokens[prefix]:
            prefix += 1
        if prefix == len(ref_tokens) or (prefix == 0 and not settings.prepend_bos):
            failed = True
            continue
        uncut.append((len(ref_tokens), prefix))
        stop = None if settings.horizon is None else prefix + settings.horizon
        strands[strand] = (ref_tokens[:stop], alt_tokens[:stop], prefix)
    if failed:
        return Expected("no_context", window=(start, end), edit=edit, strands=strands)

    least = settings.min_context
    least = min(512, window_length // 4) if least is None else least
    flags = set()
    if any(n < settings.window_length for n, _ in uncut):
        flags.add("clipped")
    if any(prefix < least for _, prefix in uncut):
        flags.add("low_context")
    if any(n - prefix < (settings.horizon or least) for n, prefix in uncut):
        flags.add("low_downstream")
    if num_other:
        flags.add("n_in_window")
    if stands_for:
        flags.add("iupac_ref")
    if p != trimmed_p:
        flags.add("moved")
    return Expected("to_score", frozenset(flags), (start, end), edit, strands)


def find_start(p, length, is_circle, window_length, settings):
    half = window_length // 2
    if settings.window_placement == "centered":
        return p - half
    step = settings.window_step or window_length // 4
    if is_circle:
        step = max(1, min(step, window_length // 4))

    def distance(start):
        middle = start + half
        if not is_circle:
            return abs(p - middle), middle > p
        before, after = (p - middle) % length, (middle - p) % length
        return min(before, after), before > after

    return min(range(0, length, step), key=distance)


def read(strand, sequence, is_circle, start, end, edit):
    """Both windows of a strand, from whole haplotypes, cut to the length that both have."""
    p, num_ref, new = edit
    length, size = len(sequence), end - start
    if is_circle:
        # Both circles cut open where the strand begins to read.
        cut = (start if strand == "forward" else end) % length
        ref = sequence[cut:] + sequence[:cut]
        at = (p - cut) % length
        alt = ref[:at] + new + ref[at + num_ref :]
    else:
        alt = sequence[:p] + new + sequence[p + num_ref :]
        if strand == "forward":
            ref, alt = sequence[start:], alt[start:]
        else:
            ref, alt = sequence[:end], alt[: end + len(new) - num_ref]
    if strand == "reverse":
        ref, alt = ("".join(COMPLEMENT[base] for base in reversed(bases)) for bases in (ref, alt))
    size = min(size, len(ref), len(alt))
    return ref[:size], alt[:size]


def check(variant: Variant, genome, circular, settings, reference: Reference) -> str:
    expected = expect(variant, genome, circular, settings)
    placed = place_allele(variant, reference, settings)
    assert placed.status == expected.status, (variant, placed, expected)
    assert set(placed.flags) == expected.flags, (variant, placed, expected)
    window = None if placed.window_start is None else (placed.window_start, placed.window_end)
    assert window == expected.window
    edit = (placed.edit_start, placed.edit_ref, placed.edit_alt)
    assert (None if placed.edit_start is None else edit) == expected.edit
    check_strands(placed, expected, genome, variant.contig in circular)
    return placed.status


def check_strands(placed: PlacedAllele, expected: Expected, genome, is_circle: bool) -> None:
    lengths = {"forward": placed.length_fwd, "reverse": placed.length_rev}
    prefixes = {"forward": placed.prefix_fwd, "reverse": placed.prefix_rev}
    wanted = expected.strands or {}
    assert {s for s, n in lengths.items() if n is not None} == set(wanted)
    assert {s for s, n in prefixes.items() if n is not None} == set(wanted)
    if not wanted:
        return
    sequence = genome[placed.reference_contig].upper()
    needed = needed_intervals(
        placed.pair,
        {strand: size.length for strand, size in placed.sizes.items()},
        len(sequence),
        is_circle,
    )
    assert needed == merge_intervals(needed)

    def fetch(name, start, end):
        assert any(first <= start <= end <= last for first, last in needed)
        return sequence[start:end]

    for strand, (ref_tokens, alt_tokens, prefix) in wanted.items():
        assert (lengths[strand], prefixes[strand]) == (len(ref_tokens), prefix)
        length = len(ref_tokens)
        found = strand_sequences(fetch, placed.pair, strand, length, len(sequence), is_circle)
        assert found == (ref_tokens.encode(), alt_tokens.encode())


def make_genome(rng: random.Random) -> dict[str, str]:
    """Contigs of few letters, with repeats of every period, some soft-masked bases and some N."""
    genome = {}
    for name in ("line", "circle"):
        pieces = []
        for _ in range(rng.randint(1, 5)):
            unit = "".join(
                rng.choice("ACGT"[: rng.randint(1, 4)]) for _ in range(rng.randint(1, 4))
            )
            pieces.append(unit * rng.randint(1, 12))
            pieces.append("".join(rng.choice("ACGT") for _ in range(rng.randint(0, 9))))
        if rng.random() < 0.3:
            pieces.insert(rng.randrange(len(pieces)), rng.choice(["N", "NNNNNNNN", "R", "YN"]))
        sequence = "".join(pieces)
        genome[name] = sequence.lower() if rng.random() < 0.2 else sequence
    return genome


def make_settings(rng: random.Random) -> WindowSettings:
    window_length = rng.choice([8, 9, 12, 13, 16, 17, 21, 32, 47])
    placement = rng.choice(["centered", "tiled"])
    half = window_length - window_length // 2
    step = None
    longest = rng.choice([None, rng.randint(1, half)])
    if placement == "tiled":
        step = rng.choice([None, rng.randint(1, max(1, window_length // 4))])
        if longest is not None:
            longest = max(1, longest - (step or window_length // 4) // 2)
    return WindowSettings(
        window_length=window_length,
        window_placement=placement,
        window_step=step,
        strands=rng.choice(["both", "both", "forward", "reverse"]),
        horizon=rng.choice([None, None, rng.randint(1, window_length // 4)]),
        max_allele_length=longest,
        max_n_share=rng.choice([0.5, 0.0, 0.2, 1.0]),
        min_context=rng.choice([None, 0, 1, 3, window_length]),
        prepend_bos=rng.random() < 0.3,
    )


def make_variant(rng: random.Random, genome: dict[str, str], record: int) -> Variant:
    contig = rng.choice(
        [*genome, "line", "circle", "nowhere"] if rng.random() < 0.05 else [*genome]
    )
    sequence = genome.get(contig, "ACGT").upper()
    start = rng.randrange(len(sequence)) if rng.random() < 0.95 else rng.randint(-3, len(sequence))
    if rng.random() < 0.2:  # the ends
        start = rng.choice([0, 1, len(sequence) - 1, len(sequence) - 2])
    size = rng.choice([1, 1, 1, 2, 2, 3, 4, 6])
    ref = sequence[max(0, start) : max(0, start) + size] or "A"
    kind = rng.random()
    if kind < 0.3:
        alt = "".join(rng.choice("ACGT") for _ in range(rng.randint(1, 5)))
    elif kind < 0.6:  # a copy more, which moves in repeats
        alt = ref + ref[-rng.randint(1, len(ref)) :] * rng.randint(1, 2)
    elif kind < 0.85:
        alt = ref[: rng.randint(1, len(ref))]
    elif kind < 0.95:
        alt = sequence[max(0, start - 1) : start + size] or "C"
    else:
        alt = rng.choice([".", "*", "<DEL>", "A.", ".A", "A]line:3]", "C<x>", "N", ref + "N"])
    if rng.random() < 0.05:
        ref, alt = alt, ref
    if ref.isalpha() and rng.random() < 0.02:
        ref = "".join(rng.choice("ACGT") for _ in ref)
    return Variant(record, 1, contig, start + 1, ref, alt, None)


def write_genome(path: Path, genome: dict[str, str]) -> None:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in genome.items()))


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_plain_strings(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    seen = set()
    for number in range(12):
        genome = make_genome(rng)
        write_genome(tmp_path / f"{number}.fa", genome)
        reference = Reference(tmp_path / f"{number}.fa", circular_contigs=["circle"])
        for _ in range(6):
            settings = make_settings(rng)
            for record in range(40):
                variant = make_variant(rng, genome, record)
                seen.add(check(variant, genome, {"circle"}, settings, reference))
    assert {"to_score", "no_context", "too_long", "too_many_n", "ref_mismatch"} <= seen


@pytest.mark.parametrize("placement", ["centered", "tiled"])
def test_agrees_on_every_small_circle(tmp_path: Path, placement: str) -> None:
    """Circles of one to five bases, shorter than the window, with every short allele."""
    genome = {"".join(bases): "".join(bases) for n in range(1, 6) for bases in _words("AC", n)}
    write_genome(tmp_path / "circles.fa", genome)
    reference = Reference(tmp_path / "circles.fa", circular_contigs=genome)
    settings = WindowSettings(window_length=8, window_placement=placement, min_context=1)
    bos = WindowSettings(window_length=8, window_placement=placement, prepend_bos=True)
    for sequence in genome:
        for start, size in itertools.product(range(len(sequence)), (1, 2)):
            ref = sequence[start : start + size]
            for alt in ("A", "C", ref + "A", ref + "C", "A" + ref, "CA", "AC"):
                variant = Variant(0, 1, sequence, start + 1, ref, alt, None)
                for chosen in (settings, bos):
                    check(variant, genome, set(genome), chosen, reference)


def _words(letters: str, size: int):
    return itertools.product(letters, repeat=size)
