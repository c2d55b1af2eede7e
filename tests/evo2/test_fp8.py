"""The FP8 input projections, against whole-number arithmetic, torch's float8, and real hardware."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.config import FP8_MODES
from evo2_tasks.evo2.fp8 import PRODUCTS, add_rounded, add_truncated, fp8_linear, round_to_e4m3

VECTORS = "EVO2_TASKS_FP8_VECTORS"
NOT_A_NUMBER = {0x7F, 0xFF}  # the codes of E4M3 that stand for nan
EXACT_MODES = ["hopper", "ada", "blackwell"]


def decode(codes: Any) -> Tensor:
    """The values of E4M3 codes, float32."""
    return torch.tensor(codes, dtype=torch.uint8).view(torch.float8_e4m3fn).float()


FINITE = decode([code for code in range(256) if code not in NOT_A_NUMBER])


# Rounding


def same_values(ours: Tensor, theirs: Tensor) -> bool:
    """Equal numbers, -0 as 0, and nan where there is nan."""
    return bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())


def test_every_bfloat16_rounds_as_torch_rounds_it() -> None:
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    ours = round_to_e4m3(numbers[None], 1.0)[0]
    theirs = numbers.float().clamp(-448, 448).to(torch.float8_e4m3fn)
    assert ours.dtype == torch.bfloat16
    assert same_values(ours.float(), theirs.float())


def test_ties_go_to_the_even_neighbour_and_their_neighbours_to_the_nearest() -> None:
    positive = FINITE[: len(FINITE) // 2].double()
    middles = (positive[:-1] + positive[1:]) / 2
    even = torch.where(torch.arange(len(middles)) % 2 == 0, positive[:-1], positive[1:])
    for sign in (1, -1):
        for there, expected in (
            (middles, even),
            (torch.nextafter(middles.float(), torch.tensor(0.0)), positive[:-1]),
            (torch.nextafter(middles.float(), torch.tensor(448.0)), positive[1:]),
        ):
            rounded = round_to_e4m3(sign * there.float()[None], 1.0)[0]
            assert torch.equal(rounded, sign * expected.float())


def test_what_is_too_large_saturates_and_nan_stays() -> None:
    numbers = torch.tensor([[448.0, 449, 464, 465, 1e30, torch.inf, -torch.inf, torch.nan]])
    rounded = round_to_e4m3(numbers, 1.0)[0]
    assert rounded[:7].tolist() == [448] * 6 + [-448]
    assert rounded[7].isnan()


def test_the_scale_is_applied_in_float32_before_rounding() -> None:
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(300, 70, generator=generator).bfloat16()
    scaled = numbers.float() * torch.tensor(46.61598205566406)
    expected = scaled.clamp(-448, 448).to(torch.float8_e4m3fn).float()
    assert torch.equal(round_to_e4m3(numbers, 46.61598205566406).float(), expected)


def test_rounding_in_pieces_is_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = torch.randn(37, 20, generator=torch.Generator().manual_seed(2))
    whole = round_to_e4m3(numbers, 3.0)
    monkeypatch.setattr("evo2_tasks.evo2.fp8.ELEMENTS_AT_ONCE", 65)
    assert torch.equal(round_to_e4m3(numbers, 3.0), whole)


# Sums


def cut(number: Fraction, unit: Fraction) -> int:
    """How many units a number has, cut towards zero."""
    count = abs(number) // unit
    return int(count) if number >= 0 else -int(count)


def exponent(number: Fraction) -> int:
    """``floor(log2 |x|)`` of a number that is not 0."""
    number, found = abs(number), 0
    while number >= 2:
        number, found = number / 2, found + 1
    while number < 1:
        number, found = number * 2, found - 1
    return found


def sum_truncated(a: list[Fraction], b: list[Fraction], total: Fraction) -> Fraction:
    """The rule of Hopper for one group, in whole numbers.

    Products and the sum so far are cut to 13 bits below the largest exponent and added; the sum is
    cut to 13 bits below its own.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x * y != 0]
    exponents = [exponent(x) + exponent(y) for x, y in pairs]
    exponents += [exponent(total)] if total else []
    if not exponents:
        return Fraction(0)
    unit = Fraction(2) ** (max(exponents) - 13)
    total = unit * (cut(total, unit) + sum(cut(x * y, unit) for x, y in pairs))
    if not total:
        return total
    unit = Fraction(2) ** (exponent(total) - 13)
    return unit * cut(total, unit)


def sum_rounded(a: list[Fraction], b: list[Fraction], total: Fraction) -> Fraction:
    """The rule of Blackwell: all at once, rounded to the nearest float32, ties to even."""
    total += sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))
    if not total:
        return total
    unit = Fraction(2) ** (exponent(total) - 23)
    return unit * round(total / unit)  # Python rounds ties to even


Rule = Callable[[list[Fraction], list[Fraction], Fraction], Fraction]
RULES: dict[str, tuple[Rule, int]] = {
    "hopper": (sum_truncated, 32),
    "ada": (sum_truncated, 16),
    "blackwell": (sum_rounded, 32),
}


def dot_by_rule(mode: str, a: Tensor, b: Tensor) -> float:
    rule, group = RULES[mode]
    one, other = ([Fraction(float(value)) for value in values] for values in (a, b))
    total = Fraction(0)
    for start in range(0, len(one), group):
        total = rule(one[start : start + group], other[start : start + group], total)
    return float(total)


@st.composite
def operands(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """E4M3 values of two small matrices: all codes, or alike in size, with many zeros or none."""
    m, n = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    k = draw(st.sampled_from([1, 15, 16, 17, 31, 32, 33, 64, 80]))
    codes = draw(
        st.sampled_from(
            [
                st.integers(0, 255).filter(lambda code: code not in NOT_A_NUMBER),
                st.one_of(st.just(0), st.integers(0, 0x0F)),  # zero and the subnormals
                st.integers(0x30, 0x4F),  # 0.5 to 7.5
                st.one_of(st.integers(0, 0x12), st.sampled_from([0x7E, 0xFE, 0x78, 0xF8])),
            ]
        )
    )
    matrices = (draw(st.lists(codes, min_size=size * k, max_size=size * k)) for size in (m, n))
    a, b = (decode(values).view(-1, k) for values in matrices)
    return a, b


@settings(max_examples=80)
@given(matrices=operands(), mode=st.sampled_from(EXACT_MODES))
def test_sums_are_those_of_whole_numbers(matrices: tuple[Tensor, Tensor], mode: str) -> None:
    a, b = matrices
    sums = PRODUCTS[mode](a, b, 1.0)
    expected = [[dot_by_rule(mode, row, column) for column in b] for row in a]
    assert sums.dtype == torch.float32
    assert sums.tolist() == expected


def test_sums_in_tiles_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    a, b = (FINITE[torch.randint(len(FINITE), (7, 70), generator=generator)] for _ in range(2))
    for mode in EXACT_MODES:
        whole = PRODUCTS[mode](a, b, 0.37)
        with monkeypatch.context() as patch:
            patch.setattr("evo2_tasks.evo2.fp8.ELEMENTS_AT_ONCE", 500)
            assert torch.equal(PRODUCTS[mode](a, b, 0.37), whole)


def test_modes_differ_where_the_hardware_does() -> None:
    """256 and many small products: cut away one by one on Hopper, summed exactly on Blackwell."""
    a = decode([[0x78] + [0x38] * 63])  # 256, then ones
    b = decode([[0x78] + [0x1A] * 63])  # 256, then 0.078125
    found = {mode: PRODUCTS[mode](a, b, 1.0).item() for mode in PRODUCTS}
    exact = 256 * 256 + 63 * 0.078125
    assert found["emulate"] == found["blackwell"] == exact
    assert found["hopper"] == found["ada"] == 256 * 256


def test_nan_stays_where_it_is() -> None:
    a = decode([[0x38] * 40, [0x38] * 39 + [0x7F], [0x7F] + [0x38] * 39])
    for mode in PRODUCTS:
        sums = PRODUCTS[mode](a, decode([[0x38] * 40]), 1.0).flatten()
        assert sums[0] == 40
        assert sums[1:].isnan().all()


def test_the_sum_is_scaled_in_float32_and_rounded_once() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(29, 48, generator=generator).bfloat16()
    weight = torch.randn(31, 48, generator=generator).bfloat16()
    scales = (51.55969, 93.62285, 1 / 51.55969 / 93.62285)
    exact = round_to_e4m3(x, scales[0]).double() @ round_to_e4m3(weight, scales[1]).double().T
    in_float32 = exact.float() * scales[2]
    twice = (exact.bfloat16().float() * scales[2]).bfloat16()
    once = in_float32.bfloat16()
    assert (once != twice).sum() > 50  # so the test can tell
    # The sums themselves have their rounding, which may tip a value that is nearly a tie.
    for mode in ("emulate", "blackwell"):
        assert (fp8_linear(x, weight, scales, mode) != once).sum() <= 2
        in_full = fp8_linear(x.float(), weight.float(), scales, mode)
        torch.testing.assert_close(in_full, in_float32, rtol=1e-5, atol=1e-5)


@pytest.mark.golden
def test_a_projection_of_the_fixtures(golden_folder: Path) -> None:
    tensors = load_file(golden_folder / "tiny_1b_8k" / "fp8_linear.safetensors")
    of_input, of_weight, _ = tensors["scale_fwd"]
    assert torch.equal(round_to_e4m3(tensors["x"], float(of_input)).float(), tensors["xq"])
    assert torch.equal(round_to_e4m3(tensors["weight"], float(of_weight)).float(), tensors["wq"])
    scales = (float(of_input), float(of_weight), float(1 / of_input * (1 / of_weight)))
    output = fp8_linear(tensors["x"], tensors["weight"], scales, "emulate")
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, tensors["y_bf16"])
    wide = fp8_linear(tensors["x"].float(), tensors["weight"].float(), scales, "emulate")
    torch.testing.assert_close(wide, tensors["y_fp32"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("device", "add_group", "group"),
    [
        ("h100", add_truncated, 32),
        ("h200", add_truncated, 32),
        ("l40s", add_truncated, 16),
        ("b200", add_rounded, 32),
    ],
)
def test_what_the_hardware_returned(
    device: str, add_group: Callable[[Tensor, Tensor, Tensor], Tensor], group: int
) -> None:
    """Dot products of 32 on tensor cores, by the MATLAB-tensor-core project (BSD-2-Clause)."""
    if VECTORS not in os.environ:
        pytest.skip(f"{VECTORS} names no file of vectors")
    with np.load(os.environ[VECTORS]) as vectors:
        a, b = decode(vectors["a_e4m3"]), decode(vectors["b_e4m3"])
        name = f"d_{device}" if f"d_{device}" in vectors else f"d_{device}_c0"
        expected = torch.from_numpy(vectors[name])
        begin = torch.from_numpy(vectors.get(f"c_{device}", np.zeros(len(a), np.float32)))
    found = []
    for row in range(len(a)):
        sums = begin[row].view(1, 1)
        pieces = (t[row : row + 1].split(group, dim=1) for t in (a, b))
        for one, other in zip(*pieces, strict=True):
            sums = add_group(one, other, sums)
        found.append(sums)
    equal = torch.cat(found).flatten() == expected
    print(f"{device}: {int(equal.sum())} of {len(equal)} equal to the bit")
    assert equal.all()


def test_the_modes_of_the_config_are_these() -> None:
    assert ("off", *PRODUCTS) == FP8_MODES


# The model

OPERATORS = ["hyena_se", "attention", "hyena_mr", "hyena_li"]
INPUT_IDS = torch.tensor([list(b"ACGTTGCAACGTACGGTTACAGATTACAACGTNACG")])


def scales_of(model: Evo2ForCausalLM) -> list[list[float] | None]:
    """Scales as training sets them: the largest value of a tensor becomes 448."""
    scales: list[list[float] | None] = []
    for layer in model.model.layers:
        projections = getattr(layer.mixer, "projections", None)
        if projections is None:
            scales.append(None)
            continue
        of_weight = 448 / float(projections.weight.detach().abs().max())
        scales.append([120.0, of_weight, 1 / 120.0 / of_weight])
    return scales


@pytest.fixture
def model(make_model: Any) -> Evo2ForCausalLM:
    """A model with FP8 scales, and FP8 off."""
    made: Evo2ForCausalLM = make_model(OPERATORS)
    made.config.fp8_scales = scales_of(made)
    made.config.check_fp8()
    return made


@torch.no_grad()
def logits_of(model: Any) -> Tensor:
    logits: Tensor = model(INPUT_IDS, use_cache=False).logits
    return logits


@pytest.mark.parametrize("mode", PRODUCTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_projections_and_nothing_else_are_in_fp8(
    model: Evo2ForCausalLM, mode: str, dtype: torch.dtype
) -> None:
    model.to(dtype)
    plain = logits_of(model)
    model.config.fp8 = mode
    in_fp8 = logits_of(model)
    assert not torch.equal(in_fp8, plain)
    model.config.fp8 = "off"
    replaced = []
    for layer, scales in zip(model.model.layers, model.config.fp8_scales, strict=True):
        if scales is not None:

            def product(
                module: Any, args: tuple[Tensor], _: Tensor, scales: list[float] = scales
            ) -> Tensor:
                x, w = round_to_e4m3(args[0][0], scales[0]), round_to_e4m3(module.weight, scales[1])
                return PRODUCTS[mode](x, w, scales[2])[None]

            replaced.append(layer.mixer.projections.register_forward_hook(product))
    assert len(replaced) == 3
    assert torch.equal(logits_of(model), in_fp8)
    for hook in replaced:
        hook.remove()
    assert torch.equal(logits_of(model), plain)


@pytest.mark.parametrize("mode", PRODUCTS)
def test_company_and_segments_change_nothing(model: Evo2ForCausalLM, mode: str) -> None:
    model.config.fp8 = mode
    alone = logits_of(model)
    with torch.no_grad():
        together = model(INPUT_IDS.expand(3, -1), use_cache=False).logits
        first = model(INPUT_IDS[:, :20], use_cache=True)
        second = model(INPUT_IDS[:, 20:], past_key_values=first.past_key_values)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-4)
    in_segments = torch.cat([first.logits, second.logits], dim=1)
    # A last bit before rounding may tip a value to its other neighbour in E4M3.
    assert float((in_segments - alone).abs().median()) < 1e-4


def test_there_is_no_gradient_and_the_error_says_so(model: Evo2ForCausalLM) -> None:
    model.config.fp8 = "emulate"
    loss = model(INPUT_IDS, labels=INPUT_IDS, use_cache=False).loss
    with pytest.raises(ValueError, match=r"no gradient.*fp8='off'"):
        loss.backward()
    model.config.fp8 = "off"
    model(INPUT_IDS, labels=INPUT_IDS, use_cache=False).loss.backward()


def test_a_model_without_scales_is_refused(make_model: Any, make_config: Any) -> None:
    with pytest.raises(ValueError, match=r"'emulate' needs FP8 scales.*layer 0"):
        Evo2ForCausalLM(make_config(OPERATORS, fp8="emulate"))
    model = make_model(OPERATORS)
    model.config.fp8 = "hopper"
    with pytest.raises(ValueError, match=r"'hopper' needs FP8 scales.*layer 0"):
        logits_of(model)
    assert not model.config.has_fp8_scales
    model.config.fp8_scales = [[1.0, 1.0, 1.0], None, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    assert model.config.has_fp8_scales  # attention needs none
    model.config.fp8_scales = [[1.0, 1.0, 1.0], None, None, [1.0, 1.0, 1.0]]
    assert not model.config.has_fp8_scales
    with pytest.raises(ValueError, match="none for layer 2"):
        logits_of(model)
    model.config.fp8 = "tensor cores"
    model.config.fp8_scales = [[1.0, 1.0, 1.0]] * 4
    with pytest.raises(ValueError, match="'tensor cores' unknown"):
        logits_of(model)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"fp8": "float8"}, "'float8' unknown; expected off, emulate"),
        ({"fp8_scales": [[1.0, 1.0, 1.0]]}, "not a list with 4 layers"),
        ({"fp8_scales": [None, None, None, [1.0, 1.0]]}, "layer 3"),
        ({"fp8_scales": [None, [1.0, 1.0, 0.0], None, None]}, "layer 1"),
        ({"fp8_scales": [None, [1.0, 1.0, float("nan")], None, None]}, "layer 1"),
    ],
)
def test_impossible_configs_are_refused(
    make_config: Any, values: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        make_config(OPERATORS, **values)


@pytest.mark.parametrize("device_map", [None, "auto", "disk"])
def test_scales_are_saved_and_go_where_their_layer_goes(
    model: Evo2ForCausalLM, tmp_path: Path, device_map: str | None
) -> None:
    model.config.fp8 = "emulate"
    expected = logits_of(model)
    model.save_pretrained(tmp_path / "saved")
    where: Any = device_map
    if device_map == "disk":
        where = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
        where |= {f"model.layers.{index}": ("cpu", "disk")[index % 2] for index in range(4)}
    loaded = Evo2ForCausalLM.from_pretrained(
        tmp_path / "saved", device_map=where, offload_folder=tmp_path / "offload"
    )
    assert (loaded.config.fp8, loaded.config.fp8_scales) == ("emulate", model.config.fp8_scales)
    assert torch.equal(logits_of(loaded), expected)
    off = Evo2ForCausalLM.from_pretrained(tmp_path / "saved", fp8="off")
    model.config.fp8 = "off"
    assert torch.equal(logits_of(off), logits_of(model))


def test_weights_that_wait_in_host_memory(model: Evo2ForCausalLM) -> None:
    model.config.fp8 = "emulate"
    expected = logits_of(model)
    cpu_offload(model, execution_device="cpu")
    assert any(parameter.is_meta for parameter in model.parameters())
    assert torch.equal(logits_of(model), expected)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_compiled(model: Evo2ForCausalLM) -> None:
    model.config.fp8 = "emulate"
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        output = compiled(INPUT_IDS, use_cache=False).logits
    torch.testing.assert_close(output, logits_of(model), rtol=1e-4, atol=1e-4)


def test_the_default_is_off() -> None:
    assert (Evo2Config().fp8, Evo2Config().fp8_scales) == ("off", None)
