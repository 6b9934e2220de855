"""Experts: compiled and by definition the same words, on pictures of every kind; and lists of values byte by byte."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pixcodec.errors import DamagedTileError
from pixcodec.exact import expert_memory, experts, range_coder, value_lists
from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import class_table, row_size
from pixcodec.exact.logistics import MIXTURE, make_mixtures
from pixcodec.exact.reference import experts as reference
from pixcodec.exact.reference import logistics
from pixcodec.exact.reference import range_coder as words
from pixcodec.exact.reference.decisions import Reader, Writer
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.vectors import load_uint64x8, store
from pixcodec.expert_names import ALL, EXPERTS, NAMES, mask_of, names_of

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        return np.ascontiguousarray(np.tile(tile, (height // 3 + 1, width // 4 + 1, 1))[:height, :width])
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


def sums_of(counts: np.ndarray) -> np.ndarray:
    """int64[n, 257]: frequencies below each value."""
    return np.pad(np.cumsum(counts.astype(np.int64) + 1, axis=-1), ((0, 0), (1, 0)))


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


def by_definition(
    planes: np.ndarray, counts: np.ndarray, centres: np.ndarray, start: tuple[np.ndarray, ...], mask: int = ALL
) -> bytes:
    """The words, and a check that the same words are read back."""
    encoder, target = words.Encoder(), planes.copy()
    learner = reference.Experts(*planes.shape, *start, mask=mask)
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            learner.code(c, step, first, sums_of(counts[y, x, c]), centres[y, x, c], target, Writer(encoder))
    np.testing.assert_array_equal(target, planes)
    return np.array(encoder.words(), "<u4").tobytes()


def read_by_definition(payload: bytes, counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    decoder = words.Decoder(np.frombuffer(payload, "<u4").tolist())

    planes = np.zeros(counts.shape[:3], np.uint8)
    learner = reference.Experts(*planes.shape)
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            learner.code(c, step, first, sums_of(counts[y, x, c]), centres[y, x, c], planes, Reader(decoder))
    decoder.finish()
    return planes


def compiled_words(
    planes: np.ndarray,
    counts: np.ndarray,
    centres: np.ndarray,
    start: tuple[np.ndarray, ...],
    mask: int = ALL,
    cuts: tuple[int, ...] = (),
) -> bytes:
    """The words, each step's lanes in several calls where these lanes are among them."""
    learner, encoder, bits = experts.Experts(*planes.shape, *start, mask=mask), range_coder.Encoder(), 0.0
    for step, first, y, x in steps(planes):
        edges = [first, *(cut for cut in cuts if first < cut <= y[-1]), int(y[-1]) + 1]
        for c in range(planes.shape[2]):
            centre = np.ascontiguousarray(centres[y, x, c])
            row = class_rows(counts[y, x, c], centre)
            for begin, end in itertools.pairwise(edges):
                part = slice(begin - first, end - first)
                bits += learner.encode(c, step, begin, row[part], centre[part], planes, encoder)
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


@pytest.mark.parametrize("kind", KINDS)
def test_mixtures_are_asked_at_the_cuts_as_the_definition_says(kind: str) -> None:
    n = KINDS.index(kind)
    for height, width in ((1, 5), (12, 17), (70, 4)):
        planes = picture(kind, height, width, 3, n)
        outputs, centres = mixtures(planes, n)
        sums = np.array([logistics.sums(o.tolist(), int(q)) for o, q in zip(flat(outputs), flat(centres), strict=True)])
        sums = sums.reshape(*planes.shape, 257)
        encoder, decoder_planes, target = words.Encoder(), np.zeros_like(planes), planes.copy()
        learner, definition = experts.Experts(*planes.shape, smooth=True), reference.Experts(*planes.shape)
        own = range_coder.Encoder()
        for step, first, y, x in steps(planes):
            for c in range(3):
                definition.code(c, step, first, sums[y, x, c], centres[y, x, c], target, Writer(encoder))
                learner.encode(c, step, first, *smooth_rows(outputs[y, x, c], centres[y, x, c]), planes, own)
        payload = own.payload()
        assert payload == np.array(encoder.words(), "<u4").tobytes()
        frequencies = np.array([width_of(row, int(v)) for row, v in zip(flat(sums), planes.ravel(), strict=True)])
        np.testing.assert_allclose(learner.by_network[0], (24 - np.log2(frequencies)).sum(), rtol=1e-9)
        learner, decoder = experts.Experts(*planes.shape, smooth=True), range_coder.Decoder(payload)
        for step, first, y, x in steps(planes):
            for c in range(3):
                rows_and_centres = smooth_rows(outputs[y, x, c], centres[y, x, c])
                learner.decode(c, step, first, *rows_and_centres, decoder_planes, decoder)
        decoder.finish()
        np.testing.assert_array_equal(decoder_planes, planes)


def flat(numbers: np.ndarray) -> np.ndarray:
    """A row a sample."""
    return numbers.reshape(-1, *numbers.shape[3:])


def mixtures(planes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs int16[H, W, C, 9] of a network that guesses well or not at all, some as far as they go, and centres."""
    random = np.random.default_rng([seed, 11])
    outputs = random.normal(0, [400] * 3 + [900] * 3 + [600] * 3, (*planes.shape, 9))
    outputs[random.random(planes.shape) < 0.2] *= 40
    centres = np.clip(planes + random.integers(-4, 5, planes.shape), 0, 255)
    centres[random.random(planes.shape) < 0.1] = 0
    return np.clip(np.rint(outputs), -32767, 32767).astype(np.int16), centres.astype(np.int32)


def smooth_rows(outputs: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What experts take of mixtures."""
    result = np.zeros((len(outputs), MIXTURE), np.float32)
    make_mixtures(outputs, centres, class_table(np.arange(511)), 256, result)
    return result, np.ascontiguousarray(centres)


def width_of(sums: np.ndarray, value: int) -> int:
    """What is left for a value when the cuts around it have been made, each half of which keeps 1 for every value."""
    lower, upper, low = 0, 1 << 24, 0
    for size in (128, 64, 32, 16, 8, 4, 2, 1):
        middle = min(max(int(sums[low + size]), lower + size), upper - size)
        lower, upper, low = (middle, upper, low + size) if value & size else (lower, middle, low)
    return upper - lower


# Their steps begin and end in groups of lanes and in vectors, at all places.
TALL = ((70, 3), (66, 21), (131, 5), (200, 2))


# Those that take seconds each are for `make check`.
IN_COLOUR = [pytest.param(k, 3, marks=[] if k in {"text", "palette"} else [pytest.mark.slow]) for k in KINDS]


@pytest.mark.parametrize(("kind", "channels"), [*((kind, 1) for kind in KINDS), *IN_COLOUR])
def test_more_lanes_than_go_together_give_the_definition_s_words(kind: str, channels: int) -> None:
    n = KINDS.index(kind)
    for size in (TALL[n % 4], TALL[(n + 1) % 4])[:channels]:
        planes = picture(kind, *size, channels, n)
        counts, centres = rows(kind, planes, n)
        payload = compiled_words(planes, counts, centres, ())
        assert payload == by_definition(planes, counts, centres, ())
        assert payload == compiled_words(planes, counts, centres, (), cuts=(64, 128, 192))
        np.testing.assert_array_equal(read_compiled(payload, counts, centres, ()), planes)
        if channels == 1:
            np.testing.assert_array_equal(read_by_definition(payload, counts, centres), planes)


def test_calls_that_cut_groups_give_other_words() -> None:
    """So that the test before says something."""
    planes = picture("flat", 70, 30, 1)
    counts, centres = rows("flat", planes)
    whole = compiled_words(planes, counts, centres, ())
    assert compiled_words(planes, counts, centres, (), cuts=(64,)) == whole
    assert compiled_words(planes, counts, centres, (), cuts=(60,)) != whole


def test_lanes_with_the_same_contexts_learn_as_the_definition_says() -> None:
    """Flat, with pixels that are not, by a network that knows little: all lanes have the same lists and cells."""
    random = np.random.default_rng(4)
    planes = picture("flat", 80, 9, 3)
    planes[random.random(planes.shape) < 0.1] -= 1
    centres = np.full(planes.shape, 200, np.int32)
    counts = np.full((*planes.shape, 256), (1 << 16) - 1, np.float32)
    *_, (_, _, learner, definition) = both(planes, counts, centres)
    memory = learner._memory
    for which, cells in (("maps", memory.maps), ("last", memory.last)):
        learned = {
            at: divmod(int(cells[at]), 1024)
            for at in np.flatnonzero(cells != expert_memory.starting_map(cells.size)).tolist()
        }
        assert learned == {at: cell for (kind, at), cell in definition._maps.items() if kind == which}
    for (k, at), row in definition._weights.items():
        assert memory.weights[k, at, : experts.EXPERTS + 1].tolist() == row
    for at, row in definition._second.items():
        assert memory.second[at, :3].tolist() == row
    assert memory.trust.tolist() == definition._trust
    payload = compiled_words(planes, counts, centres, ())
    np.testing.assert_array_equal(read_compiled(payload, counts, centres, ()), planes)


def test_trust_of_many_lanes_is_the_definition_s() -> None:
    """A network that is often sure, mostly rightly, while lists know better where it is not, most of all in the end."""
    planes, missed = np.full((90, 24, 1), 100, np.uint8), np.random.default_rng(8).random((90, 24, 1)) < 0.1
    planes[missed] = 228
    planes[60:, 1::2] = 101
    centres = np.full(planes.shape, 100, np.int32)
    counts = np.zeros((*planes.shape, 256), np.float32)
    counts[..., 100] = (1 << 24) - 256
    trusts = []
    for c, step, learner, theirs in both(planes, counts, centres):
        assert int(learner._memory.trust[c]) == theirs._trust[c], step
        trusts.append(theirs._trust[c])
    assert len({*trusts}) > 20
    assert max(trusts) == 24 * 1024 << 5


def both(
    planes: np.ndarray, counts: np.ndarray, centres: np.ndarray, start: tuple[np.ndarray, ...] = ()
) -> Iterator[tuple[int, int, experts.Experts, reference.Experts]]:
    """Channel, step, and both learners, whose words are the same, before and after each step of a channel."""
    learner, definition = experts.Experts(*planes.shape, *start), reference.Experts(*planes.shape, *start)
    encoder, plain = range_coder.Encoder(), words.Encoder()
    for step, first, y, x in steps(planes):
        for c in range(planes.shape[2]):
            yield c, step, learner, definition
            centre = np.ascontiguousarray(centres[y, x, c])
            definition.code(c, step, first, sums_of(counts[y, x, c]), centre, planes.copy(), Writer(plain))
            learner.encode(c, step, first, class_rows(counts[y, x, c], centre), centre, planes, encoder)
            yield c, step, learner, definition
    assert encoder.payload() == np.array(plain.words(), "<u4").tobytes()


def test_sums_of_large_weights_have_32_bits() -> None:
    """Weights at their limits, of either sign, and maps that are sure of anything, so that the sums run over."""
    random, wrapped, number = np.random.default_rng(6), 0, experts.EXPERTS + 1
    planes, most = picture("text", 40, 6, 1), expert_memory.WEIGHT_UNIT << 2
    counts, centres = rows("text", planes)
    own = reference.mixed

    def counted(weights: list[int], inputs: list[int]) -> int:
        nonlocal wrapped
        wrapped += abs(sum((w >> 16) * x for w, x in zip(weights, inputs, strict=True))) >= 1 << 31
        return own(weights, inputs)

    sure = random.choice([3, ((1 << 22) - 1) << 10 | 3], (1, expert_memory.MAP_SIZE // expert_memory.BUCKETS))
    start = (
        sure.astype(np.uint32).repeat(expert_memory.BUCKETS, axis=1),
        np.resize(expert_memory.starting_map(32), (1, expert_memory.NODES * expert_memory.BUCKETS)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "mixed", counted)
        for n, (_, _, learner, definition) in enumerate(both(planes, counts, centres, start)):
            weights, second = learner._memory.weights, learner._memory.second
            if n == 0:
                weights[:, :, :number] = random.choice([-most, most], (*weights.shape[:2], number))
                second[:, :3] = random.choice([-most, most], (len(second), 3))
                definition._weights = {at: weights[at][:number].tolist() for at in np.ndindex(weights.shape[:2])}
                definition._second = {at: row[:3].tolist() for at, row in enumerate(second)}
        assert {at: weights[at][:number].tolist() for at in np.ndindex(weights.shape[:2])} == definition._weights
        assert {at: row[:3].tolist() for at, row in enumerate(second)} == definition._second
    assert wrapped > 20


def test_a_decoder_says_where_words_fit_no_decisions() -> None:
    planes = picture("text", 12, 20, 1)
    counts, centres = rows("text", planes)
    payload, refused, random = compiled_words(planes, counts, centres, ()), 0, np.random.default_rng(3)
    for trial in range(60):
        damaged = np.frombuffer(payload, "<u4").copy()
        damaged[random.integers(damaged.size)] ^= np.uint32(1 << random.integers(32))
        if trial % 3 == 0:
            damaged[0] = 0xFFFFFFFF
        results = []
        for read, error in ((read_by_definition, ValueError), (read_in_compiled_code, DamagedTileError)):
            try:
                results.append(read(damaged.tobytes(), counts, centres).tolist())
            except error:
                results.append(None)
        assert results[0] == results[1]
        refused += results[0] is None
    assert 20 < refused <= 60


def read_in_compiled_code(payload: bytes, counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return read_compiled(payload, counts, centres, ())


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
    edges = np.concatenate([[0], np.cumsum(expert_memory.STATES)]) * expert_memory.BUCKETS
    for e in range(experts.EXPERTS):
        at = slice(edges[e], edges[e + 1])
        own, before = (m.maps.reshape(3, -1)[:, at] for m in (memory, fresh))
        assert (own != before).any() == (e == expert)
    tables = memory.lists.reshape(expert_memory.LISTS, -1)
    assert [bool(table.any()) for table in tables] == [e == expert for e in range(expert_memory.LISTS)]
    assert (memory.matches >= 0).any() == (expert == expert_memory.MATCH)
    assert (memory.counters != fresh.counters).any() == (expert_memory.COUNTERS <= expert < expert_memory.PLAIN)
    absent = np.delete(memory.weights[:, :, : experts.EXPERTS], expert, axis=2)
    assert (absent == expert_memory.EXPERT_WEIGHT).all()


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
    sizes = (expert_memory.MAP_SIZE, expert_memory.NODES * expert_memory.BUCKETS)
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
    """The evidence of eight lists, into uint64[2, 8]."""
    at = lists.ctypes.data
    values = value_lists.shifted(load_uint64x8(at), load_uint64x8(offsets.ctypes.data))
    below, above = value_lists.halves(values, load_uint64x8(at + 64) & value_lists.COUNTS, prefix, shift)
    store(found.ctypes.data, below)
    store(found.ctypes.data + 64, above)


def test_lists_in_words_are_lists() -> None:
    random = np.random.default_rng(1)
    for _ in range(8):
        plain, packed = [reference.List() for _ in range(8)], np.zeros((2, 8), np.uint64)
        packed[0] = np.arange(8, dtype=np.uint64) << np.uint64(56)  # check bytes, which stay
        offsets, pools = random.integers(0, 256, 8).astype(np.uint64), random.integers(0, 256, (8, 12))
        found = np.zeros((2, 8), np.uint64)
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
    """Several contexts are found before their lists learn, so that a slot may be another's by then."""
    random = np.random.default_rng(2)
    table, start, mask = reference.Table(), 4, (1 << 16) - 1
    packed, taken = np.zeros(start + (2 << 16), np.uint64), 0
    for _ in range(2000):
        found = []
        for _ in range(int(random.integers(1, 5))):
            context = int(random.integers(0, 40)) << 24 | int(random.integers(0, 6))
            plain, at = table.find(context), value_lists.find(packed, start, np.uint64(context), mask)
            assert packed[at : at + 2].tobytes() == bytes([*plain.values, plain.check, *plain.counts, plain.uses])
            found.append((context >> 24, plain, at))
        for check, plain, at in found:
            taken += plain.check != check
            value = int(random.integers(0, 5))
            plain.learn(value)
            lists = packed[at : at + 2, None].repeat(8, 1)
            learn_eight(lists, np.full(8, value, np.uint64))
            packed[at : at + 2] = lists[:, 3]
            assert packed[at : at + 2].tobytes() == bytes([*plain.values, plain.check, *plain.counts, plain.uses])
    assert taken > 100
    assert not packed[:start].any()


def test_maps_start_where_they_leave_the_odds_as_they_are() -> None:
    start = expert_memory.starting_map(expert_memory.BUCKETS)
    assert start.size == expert_memory.BUCKETS
    for number, cell in enumerate(start.tolist()):
        assert divmod(cell, 1024) == reference.start_of_map(number)
    for x in range(-12 * 1024, 12 * 1024, 777):
        place = reference.bucket(x)
        p = start[place >> 10] >> 10
        assert abs(reference.logarithm(int(p)) - reference.logarithm((1 << 22) - int(p)) - (x >> 10 << 10)) < 40
