"""Masked convolutions see their taps and nothing else; taps that are not known in time are refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from pixcodec.exact import predict  # noqa: E402 - after the skip
from pixcodec.nets.masked import (  # noqa: E402 - the same
    FIRST_TAPS,
    REACH,
    TAPS,
    MaskedConv2d,
    Taps,
    check_taps,
    colour_groups,
    colour_mask,
    kernel_taps,
    pointwise,
    row_taps,
)

PAPER_KERNELS = {
    # y - dy from top to bottom, x + dx from left to right; the last one is the pixel itself.
    ("A", 3): ["###", "#.."],
    ("B", 3): ["###", "##."],
    ("A", 7): ["#######", "#######", "#######", "###...."],
    ("B", 5): ["#####", "#####", "###.."],
}
SAME_STEP: Taps = ((0, 0), (1, 2), (0, -3), (2, 4), (3, -1))  # two of them in the pixel's own step of the wavefront


def test_the_kernels_of_the_recipes_are_causal() -> None:
    check_taps(FIRST_TAPS, sees_itself=False)
    check_taps(TAPS, sees_itself=True)
    check_taps(SAME_STEP, sees_itself=True)


def test_taps_reach_as_far_as_the_exact_network_keeps_rows() -> None:
    assert REACH == predict.REACH
    check_taps(((REACH, 0),), sees_itself=False)
    with pytest.raises(ValueError, match="rows up"):
        check_taps(((REACH + 1, 0),), sees_itself=False)


@pytest.mark.parametrize("tap", [(0, 0), (0, 1), (-1, 0), (-1, -4), (1, 2), (1, 3), (2, 4)])
def test_mask_a_refuses_what_is_not_known_before_the_pixel(tap: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not causal"):
        check_taps(((0, -1), tap), sees_itself=False)


@pytest.mark.parametrize("tap", [(0, 1), (-1, 0), (-1, -4), (1, 3), (2, 5)])
def test_mask_b_refuses_what_is_not_known_with_the_pixel(tap: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not causal"):
        check_taps(((0, 0), tap), sees_itself=True)


@pytest.mark.parametrize("taps", [(), ((0, -1), (1, 0), (0, -1))])
def test_no_taps_and_a_tap_twice_are_refused(taps: Taps) -> None:
    with pytest.raises(ValueError, match="different ones"):
        check_taps(taps, sees_itself=False)


@pytest.mark.parametrize("taps", [FIRST_TAPS, TAPS, SAME_STEP], ids=["mask A", "mask B", "same step"])
def test_a_convolution_sees_exactly_its_taps(taps: Taps) -> None:
    conv = MaskedConv2d(2, 3, taps)
    features = torch.zeros(1, 2, 9, 12, requires_grad=True)
    conv(features)[0, :, 5, 6].abs().sum().backward()
    seen = features.grad[0].abs().sum(0).nonzero().tolist()
    assert sorted(map(tuple, seen)) == sorted((5 - dy, 6 + dx) for dy, dx in taps)


@pytest.mark.parametrize("taps", [FIRST_TAPS, TAPS, SAME_STEP], ids=["mask A", "mask B", "same step"])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (5, 7)])
def test_a_convolution_is_the_sum_of_its_taps_with_zeros_outside(taps: Taps, size: tuple[int, int]) -> None:
    height, width = size
    generator = torch.Generator().manual_seed(1)
    conv = MaskedConv2d(2, 3, taps).double()
    features = torch.randn(2, 2, height, width, generator=generator, dtype=torch.float64)
    weights = conv.at_taps(conv.weight)
    expected = conv.bias.expand(2, height, width, 3).clone()
    for weight, (dy, dx) in zip(weights, taps, strict=True):
        for y in range(height):
            for x in range(width):
                if y >= dy and 0 <= x + dx < width:
                    expected[:, y, x] += features[:, :, y - dy, x + dx] @ weight
    torch.testing.assert_close(conv(features).permute(0, 2, 3, 1), expected)


def test_weights_away_from_the_taps_change_nothing_and_get_no_gradient() -> None:
    conv = MaskedConv2d(2, 3, FIRST_TAPS)
    features = torch.randn(1, 2, 6, 7, generator=torch.Generator().manual_seed(2))
    before = conv(features)
    with torch.no_grad():
        conv.weight += 5 * (1 - conv.mask)
    after = conv(features)
    assert torch.equal(before, after)
    after.square().sum().backward()
    assert not (conv.weight.grad * (1 - conv.mask)).any()
    assert (conv.weight.grad.abs().sum((0, 1)) > 0).equal(conv.mask[0, 0] > 0)


def test_sparse_kernels_begin_with_the_variance_of_dense_ones() -> None:
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(1, 64, 40, 40, generator=generator)
    inside = slice(4, -4)
    with torch.no_grad():
        masked = MaskedConv2d(64, 64, TAPS)(features)[:, :, inside, inside].var()
        dense = torch.nn.Conv2d(64, 64, (2, 3), padding=1)(features)[:, :, inside, inside].var()
    assert float(masked) == pytest.approx(float(dense), rel=0.1)


@pytest.mark.parametrize(("mask", "size"), PAPER_KERNELS, ids=str)
def test_the_papers_kernels_end_before_or_at_the_pixel(mask: str, size: int) -> None:
    drawn = PAPER_KERNELS[mask, size]
    conv = MaskedConv2d(1, 1, kernel_taps(size, itself=mask == "B"))
    assert ["".join(".#"[int(used)] for used in row) for row in conv.mask[0, 0]] == drawn
    row = MaskedConv2d(1, 1, row_taps(size, itself=mask == "B"))
    assert "".join(".#"[int(used)] for used in row.mask[0, 0, 0]) == drawn[-1]


RULE = {  # section 3.4: what the features of R, G and B see of the features of the same pixel
    "A": {"R": "", "G": "R", "B": "RG"},
    "B": {"R": "R", "G": "RG", "B": "RGB"},
}


@pytest.mark.parametrize("sizes", [(3, 3), (6, 3), (3, 12), (7, 8), (256, 128)], ids=str)
@pytest.mark.parametrize("mask", RULE)
def test_colour_masks_are_the_papers_rule(mask: str, sizes: tuple[int, int]) -> None:
    inputs, outputs = sizes
    seen = colour_mask(mask, inputs, outputs, 3)
    own = ["RGB"[group] for group in colour_groups(outputs, 3)]
    other = ["RGB"[group] for group in colour_groups(inputs, 3)]
    assert seen.tolist() == [[i in RULE[mask][o] for i in other] for o in own]
    assert colour_mask(mask, inputs, outputs, 3, parts=4).tolist() == 4 * seen.tolist(), "the gates of an LSTM"


@pytest.mark.parametrize("features", [3, 4, 7, 128, 1024])
def test_colour_groups_are_in_order_and_nearly_equal(features: int) -> None:
    groups = colour_groups(features, 3).tolist()
    assert groups == sorted(groups)
    sizes = [groups.count(colour) for colour in range(3)]
    assert sum(sizes) == features
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("mask", RULE)
def test_colour_groups_restrict_the_pixel_itself_and_no_other(mask: str) -> None:
    conv = MaskedConv2d(6, 3, kernel_taps(3, itself=True), colour_mask(mask, 6, 3, 3)).double()
    features = torch.randn(1, 6, 4, 5, dtype=torch.float64, requires_grad=True)
    for colour in range(3):
        (slope,) = torch.autograd.grad(conv(features)[0, colour, 2, 2], features)
        for y, x in [(1, 1), (1, 2), (1, 3), (2, 1)]:
            assert (slope[0, :, y, x] != 0).all()
        itself = ["RGB"[group] for group, used in zip(colour_groups(6, 3), slope[0, :, 2, 2] != 0, strict=True) if used]
        assert set(itself) == set(RULE[mask]["RGB"[colour]])
        assert not slope[0, :, 2, 3:].any()
        assert not slope[0, :, 3].any()


def test_a_pointwise_layer_is_under_mask_b_of_its_groups() -> None:
    assert torch.equal(pointwise(6, 9, 3).mask[:, :, 0, 0] > 0, colour_mask("B", 6, 9, 3))
    assert pointwise(6, 9, 1).mask.all()
