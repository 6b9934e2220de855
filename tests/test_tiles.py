"""Tiles by two threads: the same words and pixels, whenever the second one makes its calls."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pixcodec import models, tiles
from pixcodec.behind import Behind
from pixcodec.exact.compiled import Kernel
from pixcodec.exact.ring import Repeated

if TYPE_CHECKING:
    from collections.abc import Callable

# Lanes enough for two parts, in some steps and not in others; and one that never has them.
SHAPES = (90, 170), (40, 23)


class Scheduled(Behind):
    """A thread behind that makes its calls when it is told to: `eager`, at once; `lazy`, when somebody waits for them.

    Otherwise it makes as many of those that wait as a die says.
    """

    def __init__(self, *, thread: bool, when: str) -> None:
        super().__init__(thread=False)
        self._asked, self._when, self._dice = thread, when, np.random.default_rng(7)
        self._calls: deque[Callable[[], object]] = deque()

    @property
    def threaded(self) -> bool:
        return self._asked

    @property
    def compiled(self) -> bool:
        return False

    @property
    def pending(self) -> int:
        return len(self._calls)

    def do(self, stage: str, function: Callable[..., object], *arguments: Any) -> int:
        del stage
        compiled = isinstance(function, Kernel) or (isinstance(function, Repeated) and function.bound)
        if not compiled:
            self.catch_up()
        self._calls.append(partial(function, *arguments))
        self.posted += 1
        kept = {"eager": 0, "lazy": len(self._calls)}.get(self._when, int(self._dice.integers(len(self._calls) + 1)))
        return self._make(kept if compiled else 0)

    def catch_up(self, number: int | None = None) -> None:
        self._make(0 if number is None else self.posted - number)

    def _make(self, left: int) -> int:
        while len(self._calls) > left:
            self._calls.popleft()()
        return self.posted

    def __exit__(self, *_: object) -> None:
        self.catch_up()


@pytest.mark.parametrize("when", ["eager", "lazy", "random"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["photo_fast", "photo_gray", "photo_chroma"])
def test_when_the_second_thread_makes_its_calls_changes_nothing(
    name: str, shape: tuple[int, int], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, ramp = models.load(name), np.add.outer(np.arange(shape[0]), np.arange(shape[1])) // 2
    noise = np.random.default_rng(3).integers(0, 30, (1, *shape, network.known + network.channels))
    images = (ramp[..., None] + noise).astype(np.uint8)
    options: dict[str, Any] = {"learning": network.learns}
    streams, bits, _ = tiles.encode(images, network, (256, 256), threads=1, **options)
    monkeypatch.setattr(tiles, "Behind", partial(Scheduled, when=when))
    again, same, _ = tiles.encode(images, network, (256, 256), threads=2, **options)
    assert again == streams
    assert same == bits
    known = images[..., : network.known]
    size = (*images.shape[:3], network.channels)
    planes, _ = tiles.decode(streams, size, network, (256, 256), known=known, threads=2, **options)
    np.testing.assert_array_equal(planes, images[..., network.known :])
