"""Numbers that are small most of the time: LEB128, seven bits a byte, the lowest first, bit 7 says that more follow.

>>> varint(300).hex()
'ac02'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixcodec.errors import PixcodecError

MAX_BITS = 63  # a number fits an int64 everywhere


def varint(number: int) -> bytes:
    """Return a number from 0 on as LEB128, in as few bytes as can be."""
    if not 0 <= number < 1 << MAX_BITS:
        message = f"expected a number of 0 to {MAX_BITS} bits, found {number}"
        raise ValueError(message)
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


class Reader:
    """Takes numbers and bytes from the front of `data`, and raises `error` where there is nothing to be taken.

    Args:
        data: what is read; it may end too early or hold nonsense.
        error: the class of `PixcodecError` for that.
        what: how messages call the data.
    """

    def __init__(self, data: bytes, error: type[PixcodecError], what: str) -> None:
        self.data, self.error, self.what = data, error, what
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            message = f"{self.what} is cut or damaged: {count} bytes should follow, {self.left} do; fetch the file anew"
            raise self.error(message)
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self) -> int:
        """The next number; one of more than 63 bits, or in more bytes than it needs, is damage."""
        number = 0
        for shift in range(0, MAX_BITS, 7):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    break
                return number
        message = f"{self.what} is damaged: it has a number that no writer writes; fetch the file anew"
        raise self.error(message)

    def finish(self) -> None:
        """Raise unless everything was taken."""
        if self.left:
            message = f"{self.what} is damaged: {self.left} bytes too many; fetch the file anew"
            raise self.error(message)
