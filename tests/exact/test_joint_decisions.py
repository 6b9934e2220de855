"""Decisions that are coded together: compiled and by definition the same words, which come back."""

from __future__ import annotations

import numpy as np
import pytest

from pixcodec.errors import DamagedTileError
from pixcodec.exact import expert_memory, joint_decisions, range_coder
from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import class_table
from pixcodec.exact.reference import joint_decisions as definition
from pixcodec.exact.reference import range_coder as reference
from pixcodec.exact.reference.decisions import Reader, Writer

ALL, NEARLY = 1 << 24, 1 << 18
KINDS = ("any", "sure", "edge", "most sure", "unlikely")
Groups = list[tuple[np.ndarray, np.ndarray]]


@compiled()
def _decide(number, place, decoding, state, words, work):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    joint_decisions.decide(number, place, decoding, state, words, work)


def drawn(random: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A group's probabilities of 1, and its decisions."""
    number = int(random.choice([1, 2, 15, 16, 17, 33, 63, 64]))
    other = {
        "any": random.integers(1, ALL, number),
        "sure": np.exp2(random.uniform(0, 19, number)).astype(int),
        "edge": random.choice([NEARLY - 1, NEARLY, NEARLY + 1, ALL // 2 - 1, ALL // 2], number),
        "most sure": random.choice([1, 2], number),
        "unlikely": random.choice([1, NEARLY - 1, ALL // 3], number),
    }[kind]
    shares = np.where(random.random(number) < 0.5, other, ALL - other)
    bits = random.integers(0, ALL, number) < shares
    if kind != "any" and random.random() < 0.5:  # few of those that are sure come otherwise by themselves
        bits ^= random.random(number) < random.choice([0.5 / number, 0.3, 1])
    return shares, bits.astype(int)


def scratch() -> expert_memory.Work:
    return expert_memory.work(1, 1, class_table(np.arange(511)))


def written(groups: Groups) -> bytes:
    encoder, work, ideal = range_coder.Encoder(), scratch(), 0.0
    for n, (shares, bits) in enumerate(groups):
        place, number = n % 8, shares.size
        encoder.room(2 * number + 1)
        work.lanes[expert_memory.SHARE], work.lanes[expert_memory.BIT] = ALL - 1 - n, 7  # of earlier groups
        work.lanes[expert_memory.SHARE, :number] = shares
        work.lanes[expert_memory.VALUE, :number] = (bits << place) | (n & ~(1 << place) & 255)
        work.spent[:] = 1
        _decide(number, place, False, encoder.state, encoder.words, work)
        assert work.lanes[expert_memory.BIT, :number].tolist() == bits.tolist()
        assert not work.lanes[expert_memory.BIT, number : -(-number // 16) * 16].any()
        own = np.where(bits, shares, ALL - shares) / ALL
        np.testing.assert_array_equal(work.spent[:number], own)
        ideal -= float(np.log2(own).sum())
    payload = encoder.payload()
    assert ideal - 2 * len(groups) <= 8 * len(payload) <= ideal * 1.01 + 80  # a miss may be said to be less unlikely
    return payload


def read(payload: bytes, groups: Groups) -> list[list[int]] | None:
    """The decisions, or None where the words are refused."""
    decoder, work, found = range_coder.Decoder(payload), scratch(), []
    for shares, _ in groups:
        work.lanes[expert_memory.SHARE, : shares.size] = shares
        _decide(shares.size, 0, True, decoder.state, decoder.words, work)
        found.append(work.lanes[expert_memory.BIT, : shares.size].tolist())
    try:
        decoder.finish()
    except DamagedTileError:
        return None
    return found


def written_by_definition(groups: Groups) -> bytes:
    encoder = reference.Encoder()
    for shares, bits in groups:
        assert definition.decide(bits.tolist(), shares.tolist(), Writer(encoder)) == bits.tolist()
    return np.array(encoder.words(), "<u4").tobytes()


def read_by_definition(payload: bytes, groups: Groups) -> list[list[int]] | None:
    decoder = reference.Decoder(np.frombuffer(payload, "<u4").tolist())
    try:
        found = [definition.decide([0] * shares.size, shares.tolist(), Reader(decoder)) for shares, _ in groups]
        decoder.finish()
    except ValueError:
        return None
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_the_definition_s_and_come_back(kind: str) -> None:
    random = np.random.default_rng(KINDS.index(kind))
    for trial in range(60):
        groups = [drawn(random, kind) for _ in range(trial % 20 + 1)]
        payload, bits = written(groups), [bits.tolist() for _, bits in groups]
        assert payload == written_by_definition(groups)
        assert read(payload, groups) == bits
        assert read_by_definition(payload, groups) == bits


@pytest.mark.parametrize("number", [1, 5, 64])
def test_any_one_of_those_that_are_sure_may_come_otherwise(number: int) -> None:
    """Alone, or with others after it; those that are not sure lie between."""
    random = np.random.default_rng(number)
    shares = np.where(np.arange(number) % 3 == 1, ALL // 3, np.where(random.random(number) < 0.5, ALL - 99, 99))
    for k in range(number):
        for others in (0, 0.2):
            bits = (shares >> 23) ^ ((np.arange(number) == k) | (random.random(number) < others))
            groups = [(shares, bits)] * 3
            payload = written(groups)
            assert payload == written_by_definition(groups)
            assert read(payload, groups) == [bits.tolist()] * 3


def test_what_is_nearly_certain_takes_one_call() -> None:
    class Calls:
        count = 0

        def decide(self, bit: int, p: int) -> int:
            assert 0 < p < ALL
            self.count += 1
            return bit

    calls, shares = Calls(), [ALL - 1, 1] * 32
    assert definition.decide([1, 0] * 32, shares, calls) == [1, 0] * 32
    assert calls.count == 1
    bits = [0, 0] + [1, 0] * 31
    assert definition.decide(bits, shares, calls) == bits
    assert calls.count == 1 + 2 + 63  # whether all are likely, and which is not; then the others as they are
    certain = [1, 0] * 31 + [1, 1]
    assert definition.decide(certain, shares, calls) == certain
    assert calls.count == 66 + 1 + 63  # the last one is not coded


def test_words_that_nobody_writes_are_refused_as_by_the_definition() -> None:
    random, refused = np.random.default_rng(5), 0
    for trial in range(200):
        groups = [drawn(random, KINDS[trial % 5]) for _ in range(4)]
        payload = written(groups)
        words = np.frombuffer(payload, "<u4").copy()
        words[random.integers(words.size)] ^= np.uint32(1 << random.integers(32))
        for damaged in (words, words[:-1], np.append(words, words[:1]), np.full(words.size, 0xFFFFFFFF, np.uint32)):
            found = read(damaged.tobytes(), groups)
            assert found == read_by_definition(damaged.tobytes(), groups)
            refused += found is None
    assert 100 < refused < 800
