"""What can go wrong, one class a failure and one exit code a class (docs/errors.md).

A message is one sentence: what was expected, what was found, what to do. It does not name the file: whoever knows the
file's name (the command line) puts it in front.
"""

from __future__ import annotations


class PixcodecError(Exception):
    """Any failure that pixcodec explains; ``exit_code`` is what the command line ends with.

    ``file`` is the name of the file it is about, set by whoever knows it.
    """

    exit_code = 1
    file: str | None = None


class UnsupportedImageError(PixcodecError):
    """The image is sound, but of a mode, depth or size that this version would not keep exactly."""

    exit_code = 3


class ImageReadError(PixcodecError):
    """The file is no image that pixcodec reads, is damaged, or is not there."""

    exit_code = 4


class ContainerError(PixcodecError):
    """The bytes are no ``.pxc`` file, of an unknown version, with a damaged header, or cut."""

    exit_code = 5


class DamagedTileError(PixcodecError):
    """One tile's checksum or its symbols are wrong, or in an archive one block's; the header is sound.

    Args:
        message: the sentence.
        tile: the tile's index in raster order, or the block's, from 0; None where the caller does not know it.
    """

    exit_code = 6

    def __init__(self, message: str, tile: int | None = None) -> None:
        super().__init__(message)
        self.tile = tile


class DigestError(PixcodecError):
    """The decoded pixels are not those that were encoded."""

    exit_code = 7


class ModelError(PixcodecError):
    """A model was not found, is damaged, has another id than asked for, or its bounds are not proved."""

    exit_code = 8


class BackendError(PixcodecError):
    """No exact back end is at hand, or the one asked for fails its known-answer test."""

    exit_code = 9


class MissingDependencyError(PixcodecError):
    """An optional package is missing; the message says how to install it."""

    exit_code = 10


class OutputExistsError(PixcodecError):
    """The output is there already and holds something else."""

    exit_code = 11


class OutputError(PixcodecError):
    """The output cannot be written."""

    exit_code = 12


class TrainingError(PixcodecError):
    """Training data, a recipe or a checkpoint cannot be used."""

    exit_code = 13
