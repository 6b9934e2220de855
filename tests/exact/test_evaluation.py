"""Step by step, all pixels at once, and pixel by pixel in int64: the same outputs of every kind of program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_programs as programs

from pixcodec.exact import arrays, matmul
from pixcodec.exact.evaluation import Evaluation, steps
from pixcodec.exact.reference import program as reference

if TYPE_CHECKING:
    from pixcodec.exact.program import Program

SHAPES = ((1, 1), (1, 6), (5, 1), (2, 3), (7, 9))
LIBRARIES = ("plain", "numpy", "vector", "torch-float32:cpu", "torch-int8:cpu")


def library(name: str, program: Program) -> arrays.NumpyArrays:
    """Arrays by name; skips what is not exact on this processor."""
    if name == "plain":
        return arrays.NumpyArrays()
    if name.startswith("torch"):
        pytest.importorskip("torch")
    backend, _, device = name.partition(":")
    try:
        return arrays.choose(program, backend, device or None)[0]
    except matmul.BackendError as problem:
        pytest.skip(str(problem))


def flat(images: np.ndarray) -> np.ndarray:
    """float32[H W, N, C]."""
    count, height, width, channels = images.shape
    return images.transpose(1, 2, 0, 3).reshape(height * width, count, channels).astype(np.float32)


def by_definition(program: Program, images: np.ndarray) -> np.ndarray:
    """int64[H W, N, outputs]."""
    count, height, width, _ = images.shape
    each = [reference.outputs(program, image) for image in images]
    return np.stack(each, axis=2).reshape(height * width, count, -1)


def at_once(program: Program, images: np.ndarray, library: arrays.NumpyArrays) -> np.ndarray:
    """All pixels at once."""
    outputs = Evaluation(program, *images.shape[:3], library).outputs(library.array(flat(images)))
    return library.numbers(outputs)


def step_by_step(program: Program, images: np.ndarray, library: arrays.NumpyArrays) -> np.ndarray:
    """As a decoder goes: a channel is known after the outputs that code it."""
    count, height, width, channels = images.shape
    evaluation, values = Evaluation(program, count, height, width, library), flat(images)
    result = np.full((height * width, count, program.widths[program.last]), 1 << 30)
    if program.small is not None:
        evaluation.know_small(library.array(flat(images[:, ::2, ::2])))
    for rows, columns in steps(program, height, width):
        at, index = evaluation.begin(rows, columns), rows * width + columns
        for channel in range(channels):
            if channel < program.groups:
                own = program.columns(program.last, channel)
                result[index[:, None], :, own] = library.numbers(evaluation.step(at, channel)).swapaxes(1, 2)
            evaluation.know(at, channel, library.array(values[index, :, channel]))
        evaluation.end(rows, columns)
    return result


@pytest.mark.parametrize("form", programs.FORMS)
@pytest.mark.parametrize("kind", programs.KINDS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_way_gives_the_definition_s_outputs(name: str, kind: str, form: str) -> None:
    program = programs.program(kind, form, width=5 if "colour" in form else 4)  # 5: groups of unequal size
    for n, (height, width) in enumerate(SHAPES):
        images = programs.images(program, 1 + n % 3, height, width)
        expected = by_definition(program, images)
        assert height * width == 1 or len(np.unique(expected)) > 2
        np.testing.assert_array_equal(at_once(program, images, library(name, program)), expected)
        np.testing.assert_array_equal(step_by_step(program, images, library(name, program)), expected)


@pytest.mark.parametrize("kind", programs.KINDS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_streams_at_their_clamps_are_the_definition_s(name: str, kind: str) -> None:
    m = programs.maker(kind, "colour", width=3, seed=1, spread=120)
    for tensor in m.tensors:
        if tensor.endswith(".scale"):
            m.tensors[tensor] *= 40
    program = m.build()
    images = programs.images(program, 3, 4, 5)
    expected = by_definition(program, images)
    assert np.abs(expected).max() == programs.STREAM
    np.testing.assert_array_equal(at_once(program, images, library(name, program)), expected)
    np.testing.assert_array_equal(step_by_step(program, images, library(name, program)), expected)


@pytest.mark.parametrize(("low", "high"), [(-10, 245), (-127, 127), (0, 255), (-255, 255), (-200, 0)])
def test_products_of_codes_of_any_range_are_exact(low: int, high: int) -> None:
    m = programs.Maker("gray")
    first = m.convolve("first", "image", programs.MASK_3[:-1], 4)
    codes = m.rescale("codes", first, low, high, size=3)
    m.convolve("outputs", codes, programs.MASK_3, m.outputs)
    program = m.build()
    images = programs.images(program, 2, 5, 6)
    expected = by_definition(program, images)
    for name in LIBRARIES:
        np.testing.assert_array_equal(at_once(program, images, library(name, program)), expected)


@pytest.mark.parametrize("form", ["gray", "colour", "mixture"])
@pytest.mark.parametrize("kind", programs.KINDS)
def test_a_value_moves_only_outputs_that_are_coded_after_it(kind: str, form: str) -> None:
    program = programs.program(kind, form, width=6)
    images = programs.images(program, 1, 5, 6)
    before = by_definition(program, images).reshape(5, 6, -1)
    order = {}
    for n, (rows, columns) in enumerate(steps(program, 5, 6)):
        order |= {(int(y), int(x)): n for y, x in zip(rows, columns, strict=True)}
    for channel in range(program.channels):
        images[0, 2, 3, channel] ^= 128
        moved = by_definition(program, images).reshape(5, 6, -1) != before
        images[0, 2, 3, channel] ^= 128
        for (y, x), n in order.items():
            if (y, x) == (2, 3):
                known = [program.columns(program.last, g) for g in range(program.groups) if g <= channel]
                assert not moved[y, x, np.concatenate(known)].any()
            elif n <= order[2, 3] or y < 2 or (y == 2 and x < 3):
                assert not moved[y, x].any()
        assert moved.any()


def test_steps_reach_every_pixel_once_and_only_what_is_known() -> None:
    program = programs.program("pixelcnn", "bilevel")
    for height, width in ((1, 1), (1, 7), (7, 1), (5, 6), (3, 11)):
        seen = [(int(y), int(x)) for rows, xs in steps(program, height, width) for y, x in zip(rows, xs, strict=True)]
        assert sorted(seen) == [(y, x) for y in range(height) for x in range(width)]
