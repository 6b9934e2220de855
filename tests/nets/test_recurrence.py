"""The scan and both LSTM layers give what a loop over pixels gives that follows the paper's equations word by word."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pixcodec.nets.diagonal_bilstm import DiagonalBiLSTMLayer  # noqa: E402 - after the skip
from pixcodec.nets.recurrence import GATES, Recurrence, scan, skew, unskew  # noqa: E402
from pixcodec.nets.row_lstm import RowLSTMLayer  # noqa: E402

WIDTH = 3  # h
SHAPES = {
    "rows": ((-1, 0, 1), ((0, 4),) * 3),
    "wide kernel": ((-2, -1, 0, 1, 2), ((0, 4),) * 3),
    "above only": ((0,), ((0, 2),) * 4),
    "diagonals": ((-1, 0), ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4))),
    "diagonals of a wide image": ((-1, 0), ((0, 1), (0, 2), (0, 2), (0, 2), (1, 2))),
    "any spans": ((-1, 1), ((1, 3), (0, 4), (2, 3), (3, 4))),
}


def step(pre: Any, terms: Any, weight: Any, cell: Any) -> tuple[Any, Any]:
    """Equation 3 for one pixel: state and cell, from input to state, the states seen, and the cell before."""
    o, f, i, g = (pre + torch.cat(terms, dim=-1) @ weight).chunk(GATES, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def scan_by_pixels(pre: Any, weight: Any, initial: Any, offsets: Any, spans: Any) -> dict[tuple[int, int, int], Any]:
    """States [images, h] by line, way and place."""
    states: dict[Any, Any] = {}
    cells: dict[Any, Any] = {}
    images = pre.shape[3]
    for t, (first, last) in enumerate(spans):
        for way in range(pre.shape[1]):
            outside = initial[:, way, None].expand(2, images, -1)
            for s in range(first, last):
                terms = [states.get((t - 1, way, s + offset), outside[0]) for offset in offsets]
                cell = cells.get((t - 1, way, s), outside[1])
                states[t, way, s], cells[t, way, s] = step(pre[t, way, s], terms, weight[way], cell)
    return states


def inputs(shape: str, ways: int = 2, images: int = 2) -> tuple[Any, ...]:
    torch.manual_seed(1)
    offsets, spans = SHAPES[shape]
    places = max(last for _, last in spans)
    pre = torch.randn(len(spans), ways, places, images, GATES * WIDTH, dtype=torch.float64)
    weight = torch.randn(ways, len(offsets) * WIDTH, GATES * WIDTH, dtype=torch.float64)
    initial = torch.randn(2, ways, WIDTH, dtype=torch.float64)
    for tensor in (pre, weight, initial):
        tensor.requires_grad_()
    return pre, weight, initial, offsets, spans


@pytest.mark.parametrize("shape", SHAPES)
def test_a_scan_gives_the_states_and_gradients_of_a_loop_over_pixels(shape: str) -> None:
    arguments = inputs(shape)
    pre, weight, initial = arguments[:3]
    result, expected = scan(*arguments), scan_by_pixels(*arguments)
    for place, state in expected.items():
        torch.testing.assert_close(result[place], state, rtol=1e-12, atol=1e-12)
    slopes = torch.randn_like(result)
    loss = sum((state * slopes[place]).sum() for place, state in expected.items())
    wanted = torch.autograd.grad(loss, (pre, weight, initial))
    found = torch.autograd.grad((result * slopes).sum(), (pre, weight, initial))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert min(float(b.abs().max()) for b in wanted) > 0.1


def test_outside_of_the_image_is_the_initial_state() -> None:
    pre, weight, initial, offsets, spans = inputs("any spans")
    result = scan(pre, weight, initial, offsets, spans)
    for t, (first, last) in enumerate(spans):
        for s in {*range(4)} - {*range(first, last)}:
            torch.testing.assert_close(result[t, :, s], initial[0, :, None].expand(2, 2, WIDTH))


def test_what_is_outside_of_the_image_has_no_influence() -> None:
    pre, weight, initial, offsets, spans = inputs("any spans")
    inside = torch.zeros(pre.shape[0], 1, pre.shape[2], 1, 1, dtype=torch.bool)
    for t, (first, last) in enumerate(spans):
        inside[t, :, first:last] = True
    other = torch.where(inside, pre, torch.nan)
    assert torch.equal(scan(pre, weight, initial, offsets, spans), scan(other, weight, initial, offsets, spans))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (3, 4), (4, 3)])
def test_a_skewed_map_has_diagonals_as_columns_and_comes_back(size: tuple[int, int]) -> None:
    height, width = size
    x = torch.arange(1, 2 * height * width + 1).view(height, width, 2)
    skewed = skew(x)
    assert skewed.shape == (height + width - 1, height, 2)
    for t in range(height + width - 1):
        for y in range(height):
            expected = x[y, t - y] if 0 <= t - y < width else torch.zeros(2, dtype=x.dtype)
            assert torch.equal(skewed[t, y], expected)
    assert torch.equal(unskew(skewed), x)


def test_states_are_computed_in_the_weights_type_under_autocast() -> None:
    recurrence = Recurrence(WIDTH, (0,))
    pre = torch.randn(2, 1, 3, 1, GATES * WIDTH, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        states = recurrence.scan(pre.bfloat16(), ((0, 3),) * 2)
    assert states.dtype == torch.float32
    states.sum().backward()
    assert all(parameter.grad is not None for parameter in recurrence.parameters())


def layer_of(kind: Any, groups: int) -> Any:
    """A layer of random weights, in binary64; also the initial states are random."""
    torch.manual_seed(2)
    layer = kind(WIDTH, 3, groups).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.7)
    return layer


def colour(feature: int, features: int, groups: int) -> int:
    """The colour of a feature: they are in groups in the order R, G, B."""
    return feature * groups // features


def centre(outputs: int, inputs: int, groups: int, parts: int = 1) -> Any:
    """float64[parts * outputs, inputs]: 1 where mask B lets a feature see another one of the same pixel."""
    rows = [
        [float(colour(o, outputs, groups) >= colour(i, inputs, groups)) for i in range(inputs)]
        for _ in range(parts)
        for o in range(outputs)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def widened(layer: Any, states: Any, groups: int) -> Any:
    """[N, h, H, W] to [N, 2h, H, W]: the 1x1 layer."""
    weight = layer.wide.weight[:, :, 0, 0] * centre(2 * WIDTH, WIDTH, groups)
    return torch.einsum("oi,nihw->nohw", weight, states) + layer.wide.bias[:, None, None]


def row_lstm_by_pixels(layer: Any, x: Any, groups: int) -> Any:
    """Section 3.1: input to state 3x1 under mask B, state to state 3x1 over the row above."""
    images, _, height, width = x.shape
    kernel = layer.input_to_state.weight[:, :, 0]  # [4 h, 2 h, 3], of which the last column is of the future
    own = kernel[:, :, 1] * centre(WIDTH, 2 * WIDTH, groups, GATES)
    initial = layer.states.initial[0].tanh(), layer.states.initial[1]
    outside = [each[0].expand(images, WIDTH) for each in initial]
    states: dict[Any, Any] = {}
    cells: dict[Any, Any] = {}
    for y in range(height):
        for c in range(width):
            pre = layer.input_to_state.bias + x[:, :, y, c] @ own.T
            if c > 0:
                pre = pre + x[:, :, y, c - 1] @ kernel[:, :, 0].T
            terms = [states.get((y - 1, c + dx), outside[0]) for dx in (-1, 0, 1)]
            cell = cells.get((y - 1, c), outside[1])
            states[y, c], cells[y, c] = step(pre, terms, layer.states.weight[0], cell)
    rows = [torch.stack([states[y, c] for c in range(width)], -1) for y in range(height)]
    return widened(layer, torch.stack(rows, -2), groups)


def diagonal_bilstm_by_pixels(layer: Any, x: Any, groups: int) -> Any:
    """Section 3.2: a pixel's state comes from the one above and the one beside; the right map is moved down a row."""
    images, _, height, width = x.shape
    total = torch.zeros(images, WIDTH, height, width, dtype=x.dtype)
    for way, side in enumerate((-1, 1)):
        conv = layer.input_to_state[way]
        own = conv.weight[:, :, 0, 0] * centre(WIDTH, 2 * WIDTH, groups, GATES)
        outside = layer.states.initial[0, way].tanh().expand(images, WIDTH)
        cell_outside = layer.states.initial[1, way].expand(images, WIDTH)
        states: dict[Any, Any] = {}
        cells: dict[Any, Any] = {}
        for y in range(height):
            for c in range(width) if side < 0 else reversed(range(width)):
                pre = conv.bias + x[:, :, y, c] @ own.T
                terms = [states.get((y - 1, c), outside), states.get((y, c + side), outside)]
                cell = cells.get((y, c + side), cell_outside)
                states[y, c], cells[y, c] = step(pre, terms, layer.states.weight[way], cell)
        for (y, c), state in states.items():
            down = 0 if side < 0 else 1
            if y + down < height:
                total[:, :, y + down, c] += state
    return widened(layer, total, groups)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3)])
@pytest.mark.parametrize(
    ("kind", "by_pixels"),
    [(RowLSTMLayer, row_lstm_by_pixels), (DiagonalBiLSTMLayer, diagonal_bilstm_by_pixels)],
    ids=["row lstm", "diagonal bilstm"],
)
def test_a_layer_is_what_the_paper_says_pixel_by_pixel(
    kind: Any, by_pixels: Any, size: tuple[int, int], groups: int
) -> None:
    layer = layer_of(kind, groups)
    x = torch.randn(2, 2 * WIDTH, *size, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), by_pixels(layer, x, groups)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    slopes = torch.randn_like(found)
    wanted = torch.autograd.grad((expected * slopes).sum(), (x, *layer.parameters()), allow_unused=True)
    given = torch.autograd.grad((found * slopes).sum(), (x, *layer.parameters()))
    for a, b in zip(given, wanted, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-8, atol=1e-10)


def test_the_map_from_the_right_is_moved_down_and_zero_in_the_first_row() -> None:
    layer = layer_of(DiagonalBiLSTMLayer, 1)
    x = torch.randn(1, 2 * WIDTH, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        before = layer(x)
        for parameter in (layer.input_to_state[1].bias, layer.states.weight[1], layer.states.initial[:, 1]):
            parameter.add_(1)
        changed = (layer(x) - before).abs().amax((0, 1)) > 1e-9
    assert not changed[0].any()
    assert changed[1:].all()
