"""What a program may be: bounded, causal, whole; anything else is refused with one sentence."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_programs as programs

from pixcodec.errors import ModelError
from pixcodec.exact.network import BOUND
from pixcodec.exact.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[programs.Maker], object]


def step(m: programs.Maker, name: str) -> dict[str, Any]:
    """The operation that makes a map."""
    return next(each for each in m.card["program"] if each["target"] == name)


def refused(m: programs.Maker, words: str) -> None:
    """`Program.build` refuses with one sentence that has these words."""
    with pytest.raises(ModelError, match=words) as caught:
        Program.build(m.card, m.tensors)
    assert str(caught.value).endswith("the model anew")
    assert "\n" not in str(caught.value)


def put(name: str, values: object) -> Change:
    """Replace a tensor."""
    return lambda m: m.tensors.update({name: np.asarray(values)})


def change(name: str, **fields: object) -> Change:
    """Change an operation's fields."""
    return lambda m: step(m, name).update(fields)


def fill(name: str, index: object, value: float) -> Change:
    """Change a tensor's entries."""
    return lambda m: m.tensors[name].__setitem__(index, value)


def card(**fields: object) -> Change:
    """Change the card."""
    return lambda m: m.card.update(fields)


def rename(name: str, other: str) -> Change:
    """Make a map under another's name."""

    def apply(m: programs.Maker) -> None:
        for tensor in [each for each in m.tensors if each.startswith(f"{name}.")]:
            m.tensors[f"{other}.{tensor.split('.')[1]}"] = m.tensors[tensor]
        step(m, name)["target"] = other

    return apply


PIXELCNN = {
    "a bias above the bound": (fill("first.bias", 0, BOUND), "sums of first may reach"),
    "a bias below the bound": (fill("first.bias", 0, -BOUND), "sums of first may reach"),
    "the weight -128": (fill("first.weight", (0, 0, 0), -128), "sums of first"),
    "a tap to the right": (change("inside", taps=[[0, 1], *map(list, programs.MASK_3[1:])]), "not known in time"),
    "a tap below": (change("inside", taps=[[-1, 0], *map(list, programs.MASK_3[1:])]), "not known in time"),
    "a tap too far above": (change("inside", taps=[[5, 0], *map(list, programs.MASK_3[1:])]), "not known in time"),
    "a tap too far left": (change("inside", taps=[[0, -5], *map(list, programs.MASK_3[1:])]), "not known in time"),
    "a tap that is no pair": (change("inside", taps=[[0], *map(list, programs.MASK_3[1:])]), "do not fit"),
    "the pixel itself": (fill("first.weight", (programs.MASK_7.index((0, 0)), 0, 0), 1), "sees colours of image"),
    "the pixel itself by a rescaling": (change("both_codes", source="image"), "do not fit|not known in time"),
    "a product of a stream": (change("inside", source="first"), "no map of 8 bits"),
    "codes of 9 bits": (change("first_codes", high=256), "no map of 8 bits"),
    "a stream of 17 bits": (change("first", high=32768), "within 16 bits"),
    "a range without 0": (change("first_codes", low=1), "within 16 bits"),
    "a missing bias": (lambda m: m.tensors.pop("first.bias"), "do not fit"),
    "a missing field": (lambda m: step(m, "first").pop("taps"), "do not fit"),
    "a missing tile": (lambda m: m.card.pop("tile"), "do not fit"),
    "a short scale": (put("first.scale", np.ones(3, np.float32)), "do not fit"),
    "weights of 16 bits": (put("outputs.weight", np.zeros((1, 4, 256), np.int16)), "do not fit"),
    "another number of outputs": (change("first", outputs=5), "do not fit"),
    "a negative number of outputs": (change("first", outputs=-4), "do not fit"),
    "a scale that is infinite": (fill("first.scale", 1, np.inf), "finite and positive"),
    "a scale that is no number": (fill("outputs.scale", 1, np.nan), "finite and positive"),
    "a rescaling by 0": (fill("first_codes.scale", 1, 0), "finite and positive"),
    "a negative rescaling": (fill("both_codes.scale", 1, -1), "finite and positive"),
    "an unknown operation": (change("both", op="multiply"), "do not fit"),
    "an operation that is a list": (change("both", op=["add"]), "do not fit"),
    "a sum of three": (change("both", sources=["first", "inside", "first"]), "do not fit"),
    "a sum of what is not there": (change("both", sources=["first", "nothing"]), "do not fit"),
    "a sum of different forms": (change("both", sources=["first", "image"]), "do not fit"),
    "a map made twice": (rename("inside", "first"), "do not fit"),
    "the image made again": (rename("outputs", "image"), "do not fit"),
    "an infinite field": (change("first", high=float("inf")), "do not fit"),
    "no operations": (card(program=[]), "do not fit"),
    "operations that are none": (card(program="convolve"), "do not fit"),
    "an unknown output": (card(output={"kind": "binary"}), "no output 'binary'"),
    "outputs of another mixture": (card(output={"kind": "mixture", "components": 2}), "needs 6 features"),
    "a mixture of nothing": (card(output={"kind": "mixture", "components": 0}), "at least one component"),
    "levels that cannot be coded": (card(levels=16), "cannot be coded"),
    "groups that cannot be coded": (card(groups=2), "cannot be coded"),
    "a tile of nothing": (card(tile=0), "must be positive"),
    "parts that do not divide": (change("outputs", parts=3), "in 3 parts"),
    "a join of what does not recur": (change("both", op="join"), "must join a recurrence"),
    "no taps": (
        lambda m: (change("inside", taps=[])(m), put("inside.weight", np.zeros((0, 4, 4), np.int8))(m)),
        "sees nothing",
    ),
}


@pytest.mark.parametrize("case", PIXELCNN)
def test_a_program_is_refused_with(case: str) -> None:
    m = programs.maker("pixelcnn", "gray")
    m.build()
    apply, words = PIXELCNN[case]
    apply(m)
    refused(m, words)


LEAST = -(1 << 31)
LSTM = {
    "an unknown direction": (change("left", direction="up"), "no direction"),
    "another number of places": (
        lambda m: (change("left", places=3)(m), put("left.weight", np.zeros((3, 4, 16), np.int8))(m)),
        "no direction",
    ),
    "gates of one part": (change("left_gates", parts=1), "needs 4 parts"),
    "an initial state of 9 bits": (fill("left.initial", (0, 0), 128), "initial state"),
    "an initial cell of 17 bits": (fill("left.initial", (1, 0), 32768), "initial state"),
    "an initial cell without a magnitude": (fill("left.initial", (1, 0), LEAST), "initial state"),
    "sums above the bound": (fill("right.bias", 0, BOUND), "sums of right may reach"),
    "a scale of 0": (fill("right.scale", 0, 0), "finite and positive"),
    "its directions joined the other way": (change("joined", sources=["right", "left"]), "must join a recurrence"),
    "its directions added": (change("joined", op="add"), "of its own row"),
    "the right direction seen at once": (change("outputs", source="right"), "of its own row"),
}


@pytest.mark.parametrize("case", LSTM)
def test_a_recurrence_is_refused_with(case: str) -> None:
    m = programs.maker("diagonal_bilstm", "gray")
    m.build()
    apply, words = LSTM[case]
    apply(m)
    refused(m, words)


def test_a_row_lstm_is_refused_that_sees_too_far() -> None:
    m = programs.maker("row_lstm", "gray")
    m.tensors["states.weight"] = np.zeros((11, 4, 16), np.int8)
    step(m, "states")["places"] = 11
    refused(m, "no direction")


def test_a_gated_unit_needs_two_parts() -> None:
    m = programs.maker("gated_pixelcnn", "gray")
    step(m, "vertical")["parts"] = 1
    refused(m, "needs 2 parts")


@pytest.mark.parametrize(("name", "source"), [("first", "image"), ("inside", "first_codes"), ("outputs", "both_codes")])
def test_no_product_sees_a_colour_before_it_is_known(name: str, source: str) -> None:
    m = programs.maker("pixelcnn", "colour", width=6)
    program = m.build()
    here = [tuple(tap) for tap in step(m, name)["taps"]].index((0, 0))
    image = source == "image"
    for group in range(3):
        for seen in range(3):
            changed = copy.deepcopy(m)
            row, column = program.columns(source, seen)[0], program.columns(name, group)[-1]
            changed.tensors[f"{name}.weight"][here, row, column] = 1
            if seen < group + (not image):
                changed.build()
            else:
                refused(changed, f"{name} sees colours of {source}")


def test_a_map_of_fewer_features_than_colours_is_refused() -> None:
    refused(programs.maker("pixelcnn", "colour", width=2), "fewer features than colour groups")


def test_a_mixture_has_no_colour_groups() -> None:
    m = programs.maker("pixelcnn", "colour", width=6)
    m.card["output"] = {"kind": "mixture", "components": 2}
    refused(m, "no output 'mixture'")


def test_sums_just_below_the_bound_are_accepted() -> None:
    m = programs.maker("pixelcnn", "gray")
    weight = np.abs(m.tensors["first.weight"].astype(np.int64))[:, :, 0].sum()
    m.tensors["first.bias"][0] = BOUND - 1 - 256 * weight
    m.build()
    m.tensors["first.bias"][0] += 1
    refused(m, f"sums of first may reach {BOUND}")


@pytest.mark.parametrize("kind", programs.KINDS)
def test_the_identity_is_of_every_tensor(kind: str) -> None:
    m = programs.maker(kind, "gray")
    before = m.build().identity
    for name, tensor in m.tensors.items():
        kept = tensor.flat[0]
        tensor.flat[0] = np.nextafter(kept, np.float32(9)) if tensor.dtype == np.float32 else kept ^ 1
        assert Program.build(m.card, m.tensors).identity != before, name
        tensor.flat[0] = kept
    assert m.build().identity == before


def test_the_identity_is_of_every_deciding_field_and_of_no_other() -> None:
    m = programs.maker("pixelcnn", "gray")
    before = m.build().identity
    moved = [[0, -4], *step(m, "first")["taps"][1:]]
    for apply in (card(tile=33), change("first_codes", high=254), change("first", taps=moved)):
        changed = copy.deepcopy(m)
        apply(changed)
        assert changed.build().identity != before
    m.card["about"] = "anything"
    assert m.build().identity == before


def test_slopes_are_four_for_seven_columns_two_for_three_and_none_by_rows() -> None:
    assert programs.program("pixelcnn", "gray").slope == 4
    assert programs.program("row_lstm", "gray").slope == 4
    for kind in ("diagonal_bilstm", "gated_pixelcnn"):
        program = programs.program(kind, "gray")
        assert program.by_rows
        assert program.slope == 0
    m = programs.Maker("gray")
    codes = m.rescale("codes", m.convolve("first", "image", programs.MASK_3, 4))
    m.convolve("outputs", codes, programs.MASK_3, m.outputs)
    assert m.build().slope == 2


def test_colour_groups_split_each_part() -> None:
    program = programs.program("row_lstm", "colour", width=6)
    for group in range(3):
        own = [2 * group, 2 * group + 1]
        assert program.columns("states", group).tolist() == own
        assert program.columns("gates", group).tolist() == [6 * part + k for part in range(4) for k in own]
        assert program.columns("image", group).tolist() == [group]
