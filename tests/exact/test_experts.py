"""Experts: compiled and by definition the same words, on pictures of every kind; and lists of values byte by byte."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from pixcodec.exact import experts, range_coder, value_lists
from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import row_size
from pixcodec.exact.reference import experts as reference
from pixcodec.exact.reference import range_coder as words
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.vectors import load_uint64x8, store
from pixcodec.expert_names import ALL, EXPERTS, NAMES, mask_of, names_of

KINDS = ("noise", "flat", "text", "palette", "smooth", "tiles")


def picture(kind: str, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """uint8[H, W, C]."""
    random = np.random.default_rng([seed, height, width, channels])
    y, x, c = np.mgrid[:height, :width, :channels]
    if kind == "noise":
        return random.integers(0, 256, (height, width, channels)).astype(np.uint8)
    if kind == "flat":
        return np.full((height, width, channels), 200, np.uint8)
    if kind == "text":
        return np.where(random.random((height, width, 1)) < 0.2, 20, 240).astype(np.uint8).repeat(channels, 2)
    if kind == "palette":
        colours = random.integers(0, 256, (5, channels))
        return colours[random.integers(0, 5, (height, width))].astype(np.uint8)
    if kind == "tiles":
        tile = random.integers(0, 256, (3, 4, channels)).astype(np.uint8)
        return np.tile(tile, (height // 3 + 1, width // 4 + 1, 1))[:height, :width]
    return (60 + 5 * x + 3 * y + 9 * c + random.integers(0, 4, (height, width, 1))).astype(np.uint8)


def rows(kind: str, planes: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts float32[H, W, C, 256] and centres int32[H, W, C] of a network that guesses well, or not."""
    random = np.random.default_rng([seed, 7])
    missed = random.integers(-3, 4, planes.shape) if kind != "noise" else random.integers(-90, 90, planes.shape)
    centres = np.clip(planes.astype(int) + missed, 0, 255)
    far = np.abs(np.arange(256) - centres[..., None])
    sharpness = random.choice([0.05, 0.5, 3.0], planes.shape[:2])[..., None, None]
    p = np.exp2(-np.minimum(far * sharpness, 60))
    counts = np.floor(p / p.sum(axis=-1, keepdims=True) * ((1 << 24) - 256)).astype(np.int64)
    rest = (1 << 24) - 256 - counts.sum(axis=-1)
    np.put_along_axis(
        counts, centres[..., None], np.take_along_axis(counts, centres[..., None], -1) + rest[..., None], -1
    )
    return counts.astype(np.float32), centres.astype(np.int32)


def class_rows(counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The same as rows int32[n, row_size] of a class for each residual."""
    result = np.zeros((len(counts), row_size(511)), np.int32)
    np.put_along_axis(result, np.arange(255, 511) - centres[:, None], counts.astype(np.int32), 1)
    return result


def steps(planes: np.ndarray) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """Step, first lane, rows and columns of every step with pixels."""
    height, width = planes.shape[:2]
    result = []
    for step in range(number_of_steps(height, width)):
        first, last = active_lanes(step, height, width)
        lanes = np.arange(first, last + 1)
        if lanes.size:
            result.append((step, first, lanes, step - 2 * lanes))
    return result


class Writing(NamedTuple):
    """Intervals to words."""

    encoder: words.Encoder

    def point(self) -> None:
        return None

    def done(self, below: int, size: int) -> None:
        self.encoder.put_interval(below, size)


class Reading(NamedTuple):
    """Words to intervals."""

    decoder: words.Decoder

    def point(self) -> int:
        return self.decoder.point()

    def done(self, below: int, size: int) -> None:
        self.decoder.take(below, size)


def by_definition(
    planes: np.ndarray, counts: np.ndarray, centres: np.ndarray, start: tuple[np.ndarray, ...], mask: int = ALL
) -> bytes:
    """The words, and a check that the same words are read back."""
    encoder, target = words.Encoder(), planes.copy()
    learner = reference.Experts(*planes.shape, *start, mask=mask)
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            learner.code(c, step, first, counts[y, x, c], centres[y, x, c], target, Writing(encoder))
    np.testing.assert_array_equal(target, planes)
    return np.array(encoder.words(), "<u4").tobytes()


def read_by_definition(payload: bytes, counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    decoder = words.Decoder(np.frombuffer(payload, "<u4").tolist())

    planes = np.zeros(counts.shape[:3], np.uint8)
    learner = reference.Experts(*planes.shape)
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            learner.code(c, step, first, counts[y, x, c], centres[y, x, c], planes, Reading(decoder))
    decoder.finish()
    return planes


def compiled_words(
    planes: np.ndarray, counts: np.ndarray, centres: np.ndarray, start: tuple[np.ndarray, ...], mask: int = ALL
) -> bytes:
    learner, encoder, bits = experts.Experts(*planes.shape, *start, mask=mask), range_coder.Encoder(), 0.0
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            centre = np.ascontiguousarray(centres[y, x, c])
            row = class_rows(counts[y, x, c], centre)
            bits += learner.encode(c, step, first, row, centre, planes, encoder)
    payload = encoder.payload()
    assert bits - 1 <= 8 * len(payload) <= bits + 70
    return payload


def read_compiled(
    payload: bytes, counts: np.ndarray, centres: np.ndarray, start: tuple[np.ndarray, ...], mask: int = ALL
) -> np.ndarray:
    planes = np.zeros(counts.shape[:3], np.uint8)
    learner, decoder = experts.Experts(*planes.shape, *start, mask=mask), range_coder.Decoder(payload)
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            centre = np.ascontiguousarray(centres[y, x, c])
            row = class_rows(counts[y, x, c], centre)
            learner.decode(c, step, first, row, centre, planes, decoder)
    decoder.finish()
    return planes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_words_are_the_definition_s_and_come_back(kind: str, channels: int) -> None:
    for n, size in enumerate(((1, 1), (1, 9), (8, 1), (13, 17))):
        planes = picture(kind, *size, channels, n)
        counts, centres = rows(kind, planes, n)
        payload = compiled_words(planes, counts, centres, ())
        assert payload == by_definition(planes, counts, centres, ())
        np.testing.assert_array_equal(read_compiled(payload, counts, centres, ()), planes)
        if n % 2:
            np.testing.assert_array_equal(read_by_definition(payload, counts, centres), planes)


def masks() -> list[int]:
    """Each expert alone, all but each, and some at random."""
    alone = [1 << e for e in range(len(EXPERTS))]
    return [*alone, *(ALL & ~each for each in alone), *np.random.default_rng(9).integers(1, ALL, 8).tolist()]


@pytest.mark.parametrize("mask", masks(), ids=hex)
def test_any_experts_alone_give_the_definition_s_words(mask: int) -> None:
    for channels in (1, 3):
        planes = np.concatenate([picture(kind, 9, 6, channels, mask) for kind in ("text", "tiles")], axis=1)
        counts, centres = rows("text", planes, mask)
        payload = compiled_words(planes, counts, centres, (), mask)
        assert payload == by_definition(planes, counts, centres, (), mask)
        np.testing.assert_array_equal(read_compiled(payload, counts, centres, (), mask), planes)


@pytest.mark.parametrize("mask", masks()[:13], ids=NAMES)
def test_an_expert_that_is_switched_off_keeps_and_learns_nothing(mask: int) -> None:
    """Of one alone, everything that the others would have learned is as it began."""
    planes = picture("tiles", 12, 20, 3)
    counts, centres = rows("text", planes)
    learner, encoder = experts.Experts(*planes.shape, mask=mask), range_coder.Encoder()
    fresh = experts.Experts(*planes.shape)._memory
    for step, first, y, x in steps(planes):
        for c in range(3):
            centre = np.ascontiguousarray(centres[y, x, c])
            own = class_rows(counts[y, x, c], centre), centre
            learner.encode(c, step, first, *own, planes, encoder)
    memory, expert = learner._memory, mask.bit_length() - 1
    for e in range(experts.EXPERTS):
        at = slice(experts.FIRST_BUCKET[e], experts.FIRST_BUCKET[e] + experts.STATES[e] * experts.BUCKETS)
        own, before = (m.maps.reshape(3, -1)[:, at] for m in (memory, fresh))
        assert (own != before).any() == (e == expert)
    assert [bool(table.any()) for table in memory.lists] == [e == expert for e in range(experts.LISTS)]
    assert (memory.matches >= 0).any() == (expert == experts.MATCH)
    assert (memory.counters != fresh.counters).any() == (experts.COUNTERS <= expert < experts.PLAIN)
    absent = np.delete(memory.weights[:, :, : experts.EXPERTS], expert, axis=2)
    assert (absent == experts.EXPERT_WEIGHT).all()


def test_names_and_masks_are_each_other_s_inverse() -> None:
    assert len(NAMES) == len(set(NAMES)) == experts.EXPERTS
    for mask in (0, ALL, *masks()):
        assert mask_of(names_of(mask)) == mask
    assert (names_of(0), names_of(ALL), names_of(0b10000001)) == ("none", "all", "known,match")
    with pytest.raises(ValueError, match="found 'trees'"):
        mask_of("match,trees")


def test_every_weight_map_and_list_is_reached_on_a_longer_picture() -> None:
    """One picture with all kinds in it, long enough for counts to reach limits and lists to be driven out."""
    parts = [picture(kind, 24, 12, 3, 5) for kind in ("text", "palette", "tiles", "flat")]
    planes = np.concatenate(parts, axis=1)
    counts, centres = rows("text", planes, 5)
    assert compiled_words(planes, counts, centres, ()) == by_definition(planes, counts, centres, ())


@pytest.mark.parametrize("channels", [1, 3])
def test_trained_starting_values_are_used(channels: int) -> None:
    random = np.random.default_rng(3)
    sizes = (experts.MAP_SIZE, experts.NODES * experts.BUCKETS)
    start = tuple(
        (random.integers(0, 1 << 22, (channels, size)) << 10 | random.integers(0, 30, (channels, size))).astype(
            np.uint32
        )
        for size in sizes
    )
    planes = picture("palette", 7, 9, channels, 1)
    counts, centres = rows("palette", planes, 1)
    payload = compiled_words(planes, counts, centres, start)
    assert payload == by_definition(planes, counts, centres, start)
    assert payload != compiled_words(planes, counts, centres, ())
    np.testing.assert_array_equal(read_compiled(payload, counts, centres, start), planes)


@compiled()
def learn_eight(lists: np.ndarray, values: np.ndarray) -> None:
    """uint64[2, 8], the words of eight lists, after uint64[8] came to them."""
    at = lists.ctypes.data
    first, second = value_lists.learn(load_uint64x8(at), load_uint64x8(at + 64), load_uint64x8(values.ctypes.data))
    store(at, first)
    store(at + 64, second)


@compiled()
def evidence_of_eight(lists: np.ndarray, offsets: np.ndarray, prefix: int, shift: int, found: np.ndarray) -> None:
    """The evidence of eight lists, into int32[2, 8]."""
    at = lists.ctypes.data
    values = value_lists.shifted(load_uint64x8(at), load_uint64x8(offsets.ctypes.data))
    below, above = value_lists.halves(values, load_uint64x8(at + 64) & value_lists.COUNTS, prefix, shift)
    store(found.ctypes.data, below)
    store(found.ctypes.data + 32, above)


def test_lists_in_words_are_lists() -> None:
    random = np.random.default_rng(1)
    for _ in range(8):
        plain, packed = [reference.List() for _ in range(8)], np.zeros((2, 8), np.uint64)
        packed[0] = np.arange(8, dtype=np.uint64) << np.uint64(56)  # check bytes, which stay
        offsets, pools = random.integers(0, 256, 8).astype(np.uint64), random.integers(0, 256, (8, 12))
        found = np.zeros((2, 8), np.int32)
        for _ in range(300):
            values = pools[np.arange(8), np.minimum(random.exponential(3, 8).astype(int), 11)]
            for one, value in zip(plain, values, strict=True):
                one.learn(int(value))
            learn_eight(packed, values.astype(np.uint64))
            shift = int(random.integers(8))
            prefix = (int(values[0]) + int(offsets[0])) % 256 >> (shift + 1)
            evidence_of_eight(packed, offsets, prefix, shift, found)
            expected = [one.evidence(int(offset), prefix, shift) for one, offset in zip(plain, offsets, strict=True)]
            np.testing.assert_array_equal(found.T, expected)
        for i, one in enumerate(plain):
            assert packed[0, i].tobytes() == bytes([*one.values, i])
            assert packed[1, i].tobytes() == bytes([*one.counts, one.uses])


def test_tables_of_lists_drive_out_the_less_used() -> None:
    random = np.random.default_rng(2)
    table, packed, mask = reference.Table(), np.zeros((1 << 16, 2), np.uint64), (1 << 16) - 1
    for _ in range(4000):
        context = int(random.integers(0, 40)) << 24 | int(random.integers(0, 6))
        value = int(random.integers(0, 5))
        plain = table.find(context)
        slot = packed[value_lists.find(packed, context, mask)]
        assert slot.tobytes()[8:] == bytes([*plain.counts, plain.uses])
        plain.check = context >> 24
        plain.learn(value)
        lists = slot[:, None].repeat(8, 1)
        learn_eight(lists, np.full(8, value, np.uint64))
        slot[:] = lists[:, 3]
        assert slot.tobytes()[:8] == bytes([*plain.values, plain.check])


def test_maps_start_where_they_leave_the_odds_as_they_are() -> None:
    start = experts.starting_map(experts.BUCKETS)
    assert start.size == experts.BUCKETS
    for number, cell in enumerate(start.tolist()):
        assert divmod(cell, 1024) == reference.start_of_map(number)
    for x in range(-12 * 1024, 12 * 1024, 777):
        place = reference.bucket(x)
        p = start[place >> 10] >> 10
        assert abs(reference.logarithm(int(p)) - reference.logarithm((1 << 22) - int(p)) - (x >> 10 << 10)) < 40
