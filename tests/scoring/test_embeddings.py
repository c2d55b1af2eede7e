"""Embeddings are those of a plain hook on whole windows, each run alone, without a cache."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cost.layers import list_layers
from evo2_tasks.genome.reference import Reference
from evo2_tasks.scoring import layer_sums, passes
from evo2_tasks.scoring.embeddings import EmbeddingRecord, Embeddings
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from tests.cost.build import make_config, shape_of
from tests.scoring.drawn_pairs import SETTINGS, draw_pairs

TOLERANCE = 2e-5  # of the largest output of the layer, in float32
Means = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


@pytest.fixture(scope="module")
def model() -> Evo2ForCausalLM:
    """Each operator, with weights that are large enough to matter."""
    torch.manual_seed(7)
    config = make_config(32, ("hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_li"), 24)
    config.initializer_range = 0.2
    return Evo2ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def layers(model: Evo2ForCausalLM) -> tuple[str, ...]:
    """All layers that can be named."""
    return tuple(layer.name for layer in list_layers(shape_of(model.config)))


class Plain:
    """The outputs of all layers for whole windows, from hooks of the test's own."""

    def __init__(self, model: Evo2ForCausalLM, *, bos: bool) -> None:
        self.model, self.bos = model, bos
        self.modules = {
            layer.name: model.get_submodule(layer.module)
            for layer in list_layers(shape_of(model.config))
        }
        self.of = cache(self._run)

    def _run(self, window: bytes) -> dict[str, NDArray[np.float64]]:
        """Each token's output of each layer. (L, D)."""
        found: dict[str, NDArray[np.float64]] = {}

        def hook_for(name: str):
            def keep(_module: object, _args: object, output: torch.Tensor) -> None:
                found[name] = output[0].detach().double().numpy()[self.bos :]

            return keep

        handles = [
            module.register_forward_hook(hook_for(name)) for name, module in self.modules.items()
        ]
        ids = torch.tensor([[0] * self.bos + list(window)])
        with torch.no_grad():
            self.model.model(ids, use_cache=False)
        for handle in handles:
            handle.remove()
        return found


def aligned(pair: WindowPair, tokens: int) -> list[tuple[int, int]]:
    """The aligned tokens of a pair, one by one."""
    num = len(pair.ref_seq)
    allele = [(pair.prefix + i,) * 2 for i in range(min(pair.num_ref, pair.num_alt))]
    after = [(pair.prefix + pair.num_ref + i, pair.prefix + pair.num_alt + i) for i in range(num)]
    both = [(one, other) for one, other in allele + after if one < num and other < num]
    return both[:tokens]


def plain_means(plain: Plain, pair: WindowPair, tokens: int) -> Means | None:
    """The mean of each layer over the aligned tokens of both windows, in float64."""
    chosen = aligned(pair, tokens)
    if not chosen:
        return None
    ref, alt = plain.of(pair.ref_seq), plain.of(pair.alt_seq)
    return {
        layer: (
            np.mean([ref[layer][one] for one, _ in chosen], axis=0),
            np.mean([alt[layer][other] for _, other in chosen], axis=0),
        )
        for layer in ref
    }


def embed(
    model: Evo2ForCausalLM, pairs: Sequence[WindowPair], embeddings: Embeddings, **options: object
) -> list[EmbeddingRecord | None]:
    settings = {"batch_tokens": 1000, "horizon": False, "prepend_bos": False} | options
    return score_part(model, pairs, [SUMS, embeddings], **settings).of(embeddings)


def require_equal(found: EmbeddingRecord, expected: Means, tolerance: float = TOLERANCE) -> None:
    assert set(found.ref) == set(found.delta) == set(expected)
    for layer, (ref, alt) in expected.items():
        assert found.ref[layer].dtype == found.delta[layer].dtype == np.float32
        atol = tolerance * max(1e-3, np.abs(ref).max(), np.abs(alt).max())
        np.testing.assert_allclose(found.ref[layer], ref, rtol=0, atol=atol, err_msg=layer)
        np.testing.assert_allclose(found.delta[layer], alt - ref, rtol=0, atol=2 * atol)


@pytest.mark.parametrize("name", SETTINGS)
def test_embeddings_are_those_of_a_plain_hook(
    model: Evo2ForCausalLM, layers: tuple[str, ...], genome: Reference, name: str
) -> None:
    """Both strands; SNVs, substitutions, insertions, deletions; ends of contigs, circles."""
    chosen = SETTINGS[name]
    pairs = draw_pairs(genome, chosen, 24, seed=11)
    assert {pair.strand for pair in pairs} == {"forward", "reverse"}
    kinds = {np.sign(pair.num_ref - pair.num_alt) * (pair.num_ref * pair.num_alt) for pair in pairs}
    assert len(kinds) > 3
    plain = Plain(model, bos=chosen.prepend_bos)
    options = {"horizon": chosen.horizon is not None, "prepend_bos": chosen.prepend_bos}
    for tokens, batch_tokens, segment_length in (
        (1, 1 << 20, 1 << 16),
        (33, 700, 1 << 16),
        (64, 400, 23),
        (1 << 20, 1, 1 << 16),
    ):
        found = embed(
            model,
            pairs,
            Embeddings(layers, tokens),
            batch_tokens=batch_tokens,
            segment_length=segment_length,
            **options,
        )
        for pair, record in zip(pairs, found, strict=True):
            expected = plain_means(plain, pair, tokens)
            if expected is None:
                assert record is None
            else:
                assert record is not None
                require_equal(record, expected)


def draw_sites(length: int, places: Sequence[int], seed: int) -> list[WindowPair]:
    """Every SNV at some places of one window."""
    ref = bytes(random.Random(seed).choices(b"ACGT", k=length))
    return [
        WindowPair(at, "forward", ref, ref[:at] + bytes([alt]) + ref[at + 1 :], at, 1, 1)
        for at in places
        for alt in b"ACGT"
        if alt != ref[at]
    ]


@pytest.mark.parametrize("segment_length", [1 << 16, 20])
def test_a_range_may_be_in_several_forks_of_a_trunk(
    model: Evo2ForCausalLM, layers: tuple[str, ...], segment_length: int
) -> None:
    """SNVs all over a window, so that the trunk is cut between the tokens of one allele."""
    pairs = draw_sites(150, range(1, 150, 6), seed=6)
    plain = Plain(model, bos=False)
    found = embed(
        model, pairs, Embeddings(layers, 64), batch_tokens=2000, segment_length=segment_length
    )
    for pair, record in zip(pairs, found, strict=True):
        assert record is not None
        require_equal(record, plain_means(plain, pair, 64))


def test_windows_that_are_windows_of_other_pairs_too(
    model: Evo2ForCausalLM, layers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alternate window is another pair's reference, its longer beginning, or another's too."""
    monkeypatch.setattr(passes, "FORK_TOKENS", 3)  # the branches of one window fork far apart
    rng = random.Random(9)
    ref = bytes(rng.choices(b"ACGT", k=60))

    def change(window: bytes, at: int) -> bytes:
        return window[:at] + (b"A" if window[at : at + 1] != b"A" else b"C") + window[at + 1 :]

    late, early = change(ref, 40), change(ref, 10)
    both = change(late, 10)
    pairs = [
        WindowPair(0, "forward", ref, late, 40, 1, 1),
        WindowPair(1, "forward", late, both, 10, 1, 1),  # the first alternate window
        WindowPair(2, "forward", early, both, 40, 1, 1),  # of another reference, at another place
        WindowPair(3, "forward", ref[:30], early[:30], 10, 1, 1),  # a horizon of 20
        WindowPair(4, "forward", ref, early, 10, 1, 1),
        WindowPair(6, "forward", change(ref, 58), change(change(ref, 58), 5), 5, 1, 1),
        WindowPair(7, "forward", ref, change(change(ref, 58), 5), 5, 1, 1),
        WindowPair(8, "forward", early, change(early, 55), 55, 1, 1),
    ]
    plain = Plain(model, bos=False)
    for batch_tokens in (1, 300, 1 << 20):
        for order in (pairs, pairs[::-1]):
            found = embed(model, order, Embeddings(layers, 40), batch_tokens=batch_tokens)
            for pair, record in zip(order, found, strict=True):
                assert record is not None
                require_equal(record, plain_means(plain, pair, 40))


def test_equal_windows_have_a_delta_of_zero(
    model: Evo2ForCausalLM, layers: tuple[str, ...]
) -> None:
    (pair, *_) = draw_sites(80, [30], seed=2)
    same = replace(pair, alt_seq=pair.ref_seq)
    for record in embed(model, [pair, same], Embeddings(layers, 16))[1:]:
        assert record is not None
        assert all(not values.any() for values in record.delta.values())
        assert all(values.any() for values in record.ref.values())


def test_half_as_far_from_the_reference_with_twice_the_tokens(
    model: Evo2ForCausalLM, layers: tuple[str, ...]
) -> None:
    """The tokens before the first difference add nothing to delta, so 128 around it give half."""
    pairs = draw_sites(200, [64, 100, 136], seed=3)
    plain = Plain(model, bos=False)
    for pair, record in zip(pairs, embed(model, pairs, Embeddings(layers, 64)), strict=True):
        ref, alt = plain.of(pair.ref_seq), plain.of(pair.alt_seq)
        around = slice(pair.prefix - 64, pair.prefix + 64)
        for layer, delta in record.delta.items():
            centered = (alt[layer][around] - ref[layer][around]).mean(axis=0)
            atol = TOLERANCE * np.abs(ref[layer]).max()
            np.testing.assert_allclose(2 * centered, delta, rtol=0, atol=2 * atol)


def test_company_changes_nothing_but_last_digits(
    model: Evo2ForCausalLM, layers: tuple[str, ...], genome: Reference
) -> None:
    pairs = draw_pairs(genome, SETTINGS["tiled"], 30, seed=5)
    embeddings = Embeddings(layers, 20)
    together = embed(model, pairs, embeddings)
    again = embed(model, pairs, embeddings)
    turned = embed(model, pairs[::-1], embeddings, batch_tokens=300)[::-1]
    for pair, one, same, other in zip(pairs, together, again, turned, strict=True):
        (alone,) = embed(model, [pair], embeddings)
        assert (one is None) == (other is None) == (alone is None)
        if one is None:
            continue
        for layer in layers:
            for values in ("ref", "delta"):
                expected = getattr(one, values)[layer]
                assert (getattr(same, values)[layer] == expected).all(), "the same run, same bits"
                atol = TOLERANCE * max(1e-3, np.abs(one.ref[layer]).max())
                for company in (other, alone):
                    np.testing.assert_allclose(
                        getattr(company, values)[layer], expected, rtol=0, atol=atol
                    )


def test_scores_do_not_change_where_the_last_token_is_not_needed(
    model: Evo2ForCausalLM, layers: tuple[str, ...]
) -> None:
    """Without tokens at the end of a window, the model runs the same calls, to the last bit."""
    pairs = draw_sites(120, [20, 40, 60], seed=4)
    options = {"batch_tokens": 500, "horizon": False, "prepend_bos": False}
    alone = score_part(model, pairs, [SUMS], **options).of(SUMS)
    assert score_part(model, pairs, [SUMS, Embeddings(layers, 30)], **options).of(SUMS) == alone
    to_end = score_part(model, pairs, [SUMS, Embeddings(layers, 100)], **options).of(SUMS)
    for one, other in zip(alone, to_end, strict=True):
        assert other.llr == pytest.approx(one.llr, abs=1e-4)


def test_memory_that_is_short_changes_nothing_but_last_digits(
    model: Evo2ForCausalLM, layers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls fail above a number of tokens: smaller batches, then segments, in the same sums."""
    pairs = draw_sites(170, [40, 80, 120], seed=8)
    embeddings = Embeddings(layers, 64)
    whole = embed(model, pairs, embeddings)
    forward = type(model.model).forward
    halved: list[int] = []

    def fail_above(self: object, input_ids: torch.Tensor, **options: object) -> object:
        result = forward(self, input_ids=input_ids, **options)
        if input_ids.numel() > 70:  # after the hooks have seen the call
            raise torch.OutOfMemoryError("no memory for that many tokens")
        return result

    monkeypatch.setattr(type(model.model), "forward", fail_above)
    short = embed(model, pairs, embeddings, on_halving=halved.append)
    assert len(halved) > 2
    for one, other in zip(whole, short, strict=True):
        for layer in layers:
            atol = TOLERANCE * np.abs(one.ref[layer]).max()
            np.testing.assert_allclose(other.ref[layer], one.ref[layer], rtol=0, atol=atol)
            np.testing.assert_allclose(other.delta[layer], one.delta[layer], rtol=0, atol=2 * atol)


def test_long_ranges_are_summed_in_steps(
    model: Evo2ForCausalLM, layers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = draw_sites(200, [10, 60], seed=10)
    whole = embed(model, pairs, Embeddings(layers, 150))
    monkeypatch.setattr(layer_sums, "ELEMENTS_AT_ONCE", 32 * 7)
    for one, other in zip(whole, embed(model, pairs, Embeddings(layers, 150)), strict=True):
        for layer in layers:
            atol = TOLERANCE * np.abs(one.ref[layer]).max()
            np.testing.assert_allclose(other.ref[layer], one.ref[layer], rtol=0, atol=atol)


def test_bfloat16_is_summed_in_float32(model: Evo2ForCausalLM, layers: tuple[str, ...]) -> None:
    """Forked and whole windows differ by the rounding of bfloat16; the sums add none."""
    narrow = Evo2ForCausalLM(model.config).eval()
    narrow.load_state_dict(model.state_dict())
    narrow = narrow.to(torch.bfloat16)
    pairs = draw_sites(160, [30, 90], seed=12)
    plain = Plain(narrow, bos=False)
    for pair, record in zip(pairs, embed(narrow, pairs, Embeddings(layers, 64)), strict=True):
        require_equal(record, plain_means(plain, pair, 64), tolerance=0.01)
    # The tokens' own embeddings are read from a table, so that here only the sum can round.
    exact = ("embedding_layer",)
    for pair, record in zip(pairs, embed(narrow, pairs, Embeddings(exact, 64)), strict=True):
        expected = {name: plain_means(plain, pair, 64)[name] for name in exact}
        require_equal(record, expected, tolerance=1e-6)


def test_layers_that_are_not_finite_are_left_out(
    model: Evo2ForCausalLM, layers: tuple[str, ...]
) -> None:
    broken = Evo2ForCausalLM(model.config).eval()
    broken.load_state_dict(model.state_dict())
    with torch.no_grad():
        broken.model.layers[3].mlp.l3.weight[2] = torch.inf
    pairs = draw_sites(50, [20], seed=13)
    for record in embed(broken, pairs, Embeddings(layers, 16)):
        assert "blocks.2" in record.ref
        assert "blocks.3.mlp.l2" in record.delta
        assert not {"blocks.3.mlp.l3", "blocks.3", "blocks.4", "norm"} & {*record.ref}
        assert set(record.ref) == set(record.delta)
    only = Embeddings(("blocks.3", "norm"), 16)
    assert embed(broken, pairs, only) == [None] * len(pairs)


def test_an_allele_without_aligned_tokens_has_no_record(model: Evo2ForCausalLM) -> None:
    ref = b"ACGTACGTAC"
    pair = WindowPair(0, "forward", ref, b"ACGTACGTTT", 8, 0, 2)  # an insertion at the very end
    for tokens in (1, 64):
        assert embed(model, [pair], Embeddings(("norm",), tokens)) == [None]


@pytest.mark.parametrize("name", ["blocks.5", "blocks.0.mlp", "lm_head", "blocks.3.filter", ""])
def test_a_layer_that_the_model_lacks_is_refused(model: Evo2ForCausalLM, name: str) -> None:
    pairs = draw_sites(20, [5], seed=1)
    with pytest.raises(ValueError, match="layer"):
        embed(model, pairs, Embeddings((name,), 4))
    assert not any(module._forward_hooks for module in model.modules())


def test_an_output_of_another_form_is_refused_by_name(model: Evo2ForCausalLM) -> None:
    broken = Evo2ForCausalLM(model.config).eval()
    broken.model.layers[1].mixer.filter.register_forward_hook(
        lambda _module, _args, output: output.transpose(1, 2), prepend=True
    )
    broken.model.layers[1].mixer.out_filter_dense.register_forward_pre_hook(
        lambda _module, args: (args[0].transpose(1, 2),)
    )
    with pytest.raises(ValueError, match=r"blocks\.1\.filter is \(\d+, 32, \d+\), expected"):
        embed(broken, draw_sites(90, [5], seed=1), Embeddings(("blocks.1.filter",), 4))


def test_hooks_are_gone_after_an_error_too(
    model: Evo2ForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = draw_sites(20, [5], seed=1)
    embed(model, pairs, Embeddings(("norm",), 4))
    assert not any(module._forward_hooks for module in model.modules())

    def fail(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(layer_sums, "add_groups", fail)
        with pytest.raises(KeyboardInterrupt):
            embed(model, pairs, Embeddings(("norm",), 4))
    assert not any(module._forward_hooks for module in model.modules())
