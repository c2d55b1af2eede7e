"""What the windows of a part share is run once, and every score is that of two whole windows."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.genome.reference import Reference
from evo2_tasks.scoring.deltas import Score, score_strand
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.passes import FORK_TOKENS, Pass, plan_passes
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import SharedPair, score_part, share_pairs
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from tests.scoring.drawn_pairs import SETTINGS, draw_pairs

TOLERANCE = 1e-6  # nats of `llr`, for each scored token


def plain_scores(
    model: Evo2ForCausalLM, pairs: list[WindowPair], *, horizon: bool, prepend_bos: bool
) -> list[Score]:
    """The slow path: two whole windows for each pair, each alone."""
    scores = []
    for pair in pairs:
        ref, alt = (
            window_log_probs(model, [seq], prepend_bos=prepend_bos)[0]
            for seq in (pair.ref_seq, pair.alt_seq)
        )
        scores.append(score_strand(pair, ref, alt, horizon=horizon))
    return scores


def shared_scores(
    model: Evo2ForCausalLM,
    pairs: list[WindowPair],
    *,
    batch_tokens: int,
    horizon: bool,
    prepend_bos: bool,
    segment_length: int = 1 << 16,
    offload: bool = False,
) -> tuple[list[Score], int]:
    run: list[int] = []
    scores = score_part(
        model,
        pairs,
        [SUMS],
        batch_tokens=batch_tokens,
        segment_length=segment_length,
        offload=offload,
        horizon=horizon,
        prepend_bos=prepend_bos,
        on_call=lambda _, tokens: run.append(tokens),
        on_halving=lambda _: pytest.fail("memory is not short"),
    ).of(SUMS)
    return scores, sum(run)


def require_equal(pairs: list[WindowPair], ours: list[Score], plain: list[Score]) -> None:
    for pair, one, other in zip(pairs, ours, plain, strict=True):
        scored = len(pair.ref_seq) - pair.prefix
        for name in SUMS.columns:
            expected = getattr(other, name)
            if expected is None:
                assert getattr(one, name) is None
            else:
                num = len(pair.ref_seq) if name in ("ll_ref", "ll_alt") else scored
                assert getattr(one, name) == pytest.approx(expected, abs=TOLERANCE * max(num, 8))


@pytest.fixture(scope="module", params=["all operators", "attention alone", "no attention"])
def model(request: pytest.FixtureRequest) -> Evo2ForCausalLM:
    torch.manual_seed(5)
    operators = {
        "all operators": ["hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_li"],
        "attention alone": ["attention", "attention"],
        "no attention": ["hyena_se", "hyena_mr", "hyena_li"],
    }[request.param]
    config = Evo2Config(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        operators=operators,
        hyena_se_groups=4,
        hyena_mr_groups=4,
        initializer_range=0.2,
    )
    return Evo2ForCausalLM(config).eval()


@pytest.mark.parametrize("name", SETTINGS)
def test_scores_are_those_of_two_whole_windows(
    model: Evo2ForCausalLM, genome: Reference, name: str
) -> None:
    chosen = SETTINGS[name]
    pairs = draw_pairs(genome, chosen, 40, seed=1)
    assert {pair.strand for pair in pairs} == {"forward", "reverse"}
    options = {"horizon": chosen.horizon is not None, "prepend_bos": chosen.prepend_bos}
    plain = plain_scores(model, pairs, **options)
    full = sum(len(seq) for seq in {seq for pair in pairs for seq in (pair.ref_seq, pair.alt_seq)})
    for batch_tokens in (1, 700, 1 << 20):
        ours, tokens_run = shared_scores(model, pairs, batch_tokens=batch_tokens, **options)
        require_equal(pairs, ours, plain)
        assert tokens_run < full


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("name", ["centered", "tiled", "begins with a token"])
def test_windows_in_segments_share_too(
    model: Evo2ForCausalLM, genome: Reference, name: str, offload: bool
) -> None:
    chosen = SETTINGS[name]
    pairs = draw_pairs(genome, chosen, 24, seed=2)
    options = {"horizon": False, "prepend_bos": chosen.prepend_bos}
    plain = plain_scores(model, pairs, **options)
    ours, _ = shared_scores(
        model, pairs, batch_tokens=400, segment_length=23, offload=offload, **options
    )
    require_equal(pairs, ours, plain)


@pytest.mark.parametrize("prepend_bos", [False, True])
def test_alleles_all_over_a_window_share_it_from_its_first_token_on(
    model: Evo2ForCausalLM, prepend_bos: bool
) -> None:
    """Every SNV of a window at the start of a contig: the first fork lies before all tokens."""
    rng = random.Random(6)
    ref = bytes(rng.choices(b"ACGT", k=70))
    places = range(0 if prepend_bos else 1, len(ref))
    pairs = [
        WindowPair(at, "forward", ref, ref[:at] + bytes([alt]) + ref[at + 1 :], at, 1, 1)
        for at in places
        for alt in b"ACGT"
        if alt != ref[at]
    ]
    (planned,) = plan_passes(share_pairs(pairs, prepend_bos=prepend_bos), 2000)
    assert planned.forks[0].offset == 0 < planned.forks[1].offset
    options = {"horizon": False, "prepend_bos": prepend_bos}
    plain = plain_scores(model, pairs, **options)
    for segment_length in (1 << 16, 20):
        ours, _ = shared_scores(
            model, pairs, batch_tokens=2000, segment_length=segment_length, **options
        )
        require_equal(pairs, ours, plain)


def test_company_and_order_change_nothing_but_last_digits(
    model: Evo2ForCausalLM, genome: Reference
) -> None:
    pairs = draw_pairs(genome, SETTINGS["tiled"], 40, seed=3)
    options = {"batch_tokens": 1000, "horizon": False, "prepend_bos": False}
    whole, _ = shared_scores(model, pairs, **options)
    turned, _ = shared_scores(model, pairs[::-1], **options)
    require_equal(pairs, turned[::-1], whole)
    parts = [
        shared_scores(model, part, **options)[0] for part in slice_parts(pairs, part_tokens=900)
    ]
    assert len(parts) > 3
    require_equal(pairs, [score for part in parts for score in part], whole)


def test_a_window_that_is_another_ones_beginning_shares_its_trunk() -> None:
    pairs = [
        WindowPair(0, "forward", b"ACGTAC", b"ACTTAC", 2, 1, 1),
        WindowPair(1, "forward", b"ACGTACGT", b"ACGTAGGT", 5, 1, 1),
        WindowPair(2, "forward", b"ACGTT", b"ACGAT", 3, 1, 1),
    ]
    shared = share_pairs(pairs, prepend_bos=False)
    assert [pair.ref for pair in shared] == [b"ACGTACGT", b"ACGTACGT", b"ACGTT"]
    assert [pair.fork for pair in shared] == [1, 4, 2]
    assert [pair.alt_length for pair in shared] == [6, 8, 5]


@st.composite
def shared_pairs(draw: st.DrawFn) -> list[SharedPair]:
    """Pairs as windows would make them: bytes stand for windows, few enough to meet again."""
    num_trunks = draw(st.integers(1, 6))
    lengths = draw(st.lists(st.integers(2, 3000), min_size=num_trunks, max_size=num_trunks))
    pairs = []
    for number in range(draw(st.integers(1, 60))):
        trunk = draw(st.integers(0, num_trunks - 1))
        length = lengths[trunk]
        fork = draw(st.integers(0, length - 2))
        own = draw(st.integers(fork + 2, length))
        # Now and then the window of another pair, or another pair's reference.
        name = draw(st.sampled_from([b"alt %d" % number, b"alt 1", b"ref %d" % (trunk + 1)]))
        if name == b"ref %d" % (trunk + 1):
            own = lengths[min(trunk + 1, num_trunks - 1)]
        pairs.append(SharedPair(b"ref %d" % trunk, name, length, own, fork))
    first = {}
    for pair in pairs:  # one window has one length
        first.setdefault(pair.alt, pair.alt_length)
    refs = {pair.ref: pair.ref_length for pair in pairs}
    pairs = list(
        {(pair.ref, pair.alt): pair for pair in pairs}.values()
    )  # and one first difference
    return [
        pair._replace(alt_length=refs.get(pair.alt, first[pair.alt]))
        for pair in pairs
        if refs.get(pair.alt, first[pair.alt]) >= pair.fork + 2
    ]


def calls_of(planned: Pass[bytes]) -> list[tuple[int, int]]:
    """Rows and length of each call, by the definition of a pass."""
    calls, start = [], 0
    for fork in planned.forks:
        if fork.offset > start:
            calls.append((len(planned.trunks), fork.offset - start))
        start = fork.offset
        calls += [(len(call), max(row.length for row in call)) for call in fork.calls]
    return calls


@settings(max_examples=200, deadline=None)
@given(pairs=shared_pairs(), batch_tokens=st.integers(1, 20_000))
def test_laws_of_the_plan(pairs: list[SharedPair], batch_tokens: int) -> None:
    passes = plan_passes(pairs, batch_tokens)
    assert passes == plan_passes(list(pairs), batch_tokens), "a function of its arguments"

    refs = {pair.ref: pair.ref_length for pair in pairs}
    lengths = refs | {pair.alt: pair.alt_length for pair in pairs if pair.alt not in refs}
    run: Counter[bytes] = Counter()
    forks = {(pair.ref, pair.alt): pair.fork for pair in pairs}
    num_tokens = 0
    for planned in passes:
        assert [fork.offset for fork in planned.forks] == sorted(
            {fork.offset for fork in planned.forks}
        )
        assert len({refs[trunk] for trunk in planned.trunks}) == 1
        last = planned.forks[-1]
        for fork in planned.forks:
            for call in fork.calls:
                for row in call:
                    run[row.window] += 1
                    trunk = planned.trunks[row.trunk]
                    assert row.length == lengths[row.window] - fork.offset
                    if row.window == trunk:
                        assert fork is last
                    else:
                        assert fork.offset <= forks[trunk, row.window]
        calls = calls_of(planned)
        assert planned.longest_row == max(length for _, length in calls)
        batches = [rows * length for rows, length in calls if rows > 1]
        assert planned.largest_batch == max(batches, default=0) <= batch_tokens
        assert all(rows == 1 or rows * length <= batch_tokens for rows, length in calls)
        if len(planned.trunks) > 1:
            assert len(planned.trunks) * last.offset <= batch_tokens // 2
        num_tokens += planned.num_tokens
    assert run == Counter(dict.fromkeys(lengths, 1)), "each window once"
    assert num_tokens <= sum(lengths.values()), "never more than whole windows"
    assert sum(planned.num_windows for planned in passes) == len(lengths)


def test_tokens_of_a_centered_snv_of_three_and_of_a_dense_set() -> None:
    length = 8192

    def tokens(pairs: list[SharedPair]) -> float:
        return sum(one.num_tokens for one in plan_passes(pairs, 1 << 18)) / length

    def pair(ref: str, alt: str, at: int) -> SharedPair:
        return SharedPair(ref.encode(), alt.encode(), length, length, at - 1)

    assert tokens([pair("r", "a", 4096)]) == pytest.approx(1.5, abs=1e-3)
    assert tokens([pair("r", alt, 4096) for alt in "abc"]) == pytest.approx(2.5, abs=1e-3)
    dense = [pair("r", f"{at} {alt}", at) for at in range(3596, 4596) for alt in "abc"]
    per_allele = tokens(dense) / len(dense)
    best = (length + sum(length - one.fork for one in dense)) / length / len(dense)
    assert best < per_allele < 1.01 * best


def test_dense_alleles_share_forks_at_the_price_of_one() -> None:
    """For a row of SNVs the greedy rule is hardly worse than the best of all even cuts."""
    dense = [
        SharedPair(b"r", f"{at} {alt}".encode(), 4000, 4000, at)
        for at in range(1000, 1300)
        for alt in "abc"
    ]
    (planned,) = plan_passes(dense, 1 << 30)

    def cost(sites: int) -> int:
        extra = sum(3 * (at % sites) for at in range(300))
        return extra + FORK_TOKENS * -(-300 // sites)

    exact = 4000 + sum(4000 - pair.fork for pair in dense)
    ours = planned.num_tokens - exact + FORK_TOKENS * len(planned.forks)
    assert ours <= 1.05 * min(cost(sites) for sites in range(1, 301))


def test_a_trunk_without_branches_is_run_whole() -> None:
    pairs = [SharedPair(b"a", b"b", 10, 10, 4), SharedPair(b"b", b"a", 10, 10, 4)]
    (planned,) = plan_passes(pairs, 100)
    assert planned.trunks == (b"a", b"b")
    assert planned.num_tokens == 20


def test_bfloat16_forks_as_closely_as_it_rounds(genome: Reference) -> None:
    """Per token the shared path is as far from float32 as whole windows are."""
    torch.manual_seed(7)
    config = Evo2Config(
        hidden_size=64,
        intermediate_size=96,
        num_attention_heads=2,
        operators=["hyena_se", "hyena_mr", "hyena_li", "attention"],
        hyena_se_groups=4,
        hyena_mr_groups=4,
    )
    model = Evo2ForCausalLM(config).eval()
    pairs = draw_pairs(genome, SETTINGS["centered"], 40, seed=4)
    options = {"horizon": False, "prepend_bos": False}
    exact = np.array([score.llr for score in plain_scores(model, pairs, **options)])
    model = model.to(torch.bfloat16)
    plain = np.array([score.llr for score in plain_scores(model, pairs, **options)])
    ours, _ = shared_scores(model, pairs, batch_tokens=2000, **options)
    errors = np.array([score.llr for score in ours]) - exact
    assert np.sqrt((errors**2).mean()) < 1.5 * np.sqrt(((plain - exact) ** 2).mean())
