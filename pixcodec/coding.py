"""Counts to bytes and back: constriction's range coder with one row of frequencies a symbol.

A row holds n integers (256, or 2 of bilevel images), as binary32, that sum to exactly 2^24 - n; constriction then uses
count + 1 of 2^24 for each symbol, without rounding (`docs/format.md`).  This is the only importer of constriction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import constriction
import numpy as np

from pixcodec.errors import DamagedTileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODEL = constriction.stream.model.Categorical(perfect=False)
WORD_BYTES = 4


class Encoder:
    """Turns symbols into words."""

    def __init__(self) -> None:
        """Start with no words."""
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: NDArray[np.int32], counts: NDArray[np.float32]) -> None:
        """Append `symbols` [n], each by its row of `counts` [n, levels]."""
        self._coder.encode(symbols, _MODEL, counts)

    def payload(self) -> bytes:
        """All words, little endian."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Reads symbols from the words of an `Encoder`."""

    def __init__(self, payload: bytes) -> None:
        """Start at the first word; `DamagedTileError` unless `payload` is whole words."""
        if len(payload) % WORD_BYTES:
            raise DamagedTileError(
                f"a tile's payload must be whole words of {WORD_BYTES} bytes, found {len(payload)} bytes; "
                "fetch the file anew"
            )
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))

    def decode(self, counts: NDArray[np.float32]) -> NDArray[np.int32]:
        """The next n symbols by `counts` [n, levels]; `DamagedTileError` where the words fit no symbol."""
        try:
            symbols: NDArray[np.int32] = self._coder.decode(_MODEL, counts)
        except AssertionError as problem:  # what constriction raises on words that no encoder writes
            raise DamagedTileError("the tile's words fit no symbols; fetch the file anew") from problem
        return symbols

    def finish(self) -> None:
        """`DamagedTileError` if words are left over."""
        if not self._coder.maybe_exhausted():
            raise DamagedTileError("the tile holds more words than its pixels need; fetch the file anew")
