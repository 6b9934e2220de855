"""pixcodec: lossless image compression with a PixelCNN in exact integers.

>>> import pixcodec
>>> from PIL import Image
>>> data = pixcodec.encode(Image.new("RGB", (3, 2), (10, 20, 30)))
>>> pixcodec.decode(data).getpixel((2, 1))
(10, 20, 30)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["__version__", "decode", "encode"]
__version__ = "0.1.0"


def encode(image: Image.Image, *, model: str | None = None, threads: int | None = None) -> bytes:
    """Return the ``.pxc`` file of a PIL image of mode RGB or L.

    Args:
        image: the picture; its metadata is not kept yet.
        model: a model's name; the default is "photo", or its gray sibling for L.
        threads: how many to use; the default is one a core.

    Raises:
        PixcodecError: see `pixcodec.errors`; `UnsupportedImageError` for other modes.
    """
    # Imported here so that `import pixcodec` stays light (the codec brings numba).
    from pixcodec import codec
    from pixcodec import image as images

    picture = images.from_pil(image)
    return codec.encode(picture.planes, picture.mode, model=model, threads=threads).data


def decode(data: bytes, *, threads: int | None = None) -> Image.Image:
    """Return the PIL image that a ``.pxc`` file holds, its pixels checked against the file's digest.

    Args:
        data: the whole file.
        threads: how many to use; the default is one a core.

    Raises:
        PixcodecError: see `pixcodec.errors`; `ContainerError` or `DamagedTileError` for damaged data.
    """
    from pixcodec import codec
    from pixcodec import image as images

    decoded = codec.decode(data, threads=threads)
    return images.to_pil(decoded.planes, decoded.mode)
