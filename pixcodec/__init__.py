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
    from collections.abc import Iterable, Mapping

    from PIL import Image

__all__ = ["__version__", "decode", "decode_archive", "encode", "encode_archive"]
__version__ = "0.1.0"


def encode(
    image: Image.Image,
    *,
    model: str | None = None,
    threads: int | None = None,
    effort: int = 7,
    experts: str | None = None,
    origin: str = "auto",
) -> bytes:
    """Return the ``.pxc`` file of a PIL image of mode RGB, L, 1, P, LA or RGBA.

    Args:
        image: the picture; its metadata is not kept yet.
        model: a model's name; the default is "photo", its gray sibling for one channel, and "mnist" for 1.
        threads: how many to use; the default is one a core.
        effort: 1 to 9; up to 3 a small network, the fastest, from 3 on with experts that learn the image, from 7 on
            the network's heads learn it too; 9 keeps the smallest of several files.
        experts: "all", "none", or names of `pixcodec.expert_names` with commas; by default the effort says.
        origin: what the picture may have been made from and is stored as: "auto" for whatever is found, "none", or one
            of `pixcodec.origins.search.NAMES`.

    Raises:
        PixcodecError: see `pixcodec.errors`; `UnsupportedImageError` for other modes.
        ValueError: no such effort, expert or origin.
    """
    # Imported here so that `import pixcodec` stays light (the codec brings numba).
    from pixcodec import codec
    from pixcodec import image as images
    from pixcodec.expert_names import mask_of

    picture, mask = images.from_pil(image), None if experts is None else mask_of(experts)
    encoded = codec.encode(
        picture.planes,
        picture.mode,
        colours=picture.colours,
        model=model,
        threads=threads,
        effort=effort,
        experts=mask,
        origin=origin,
    )
    return encoded.data


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
    return images.to_pil(decoded.planes, decoded.mode, decoded.colours)


def encode_archive(
    images: Mapping[str, Image.Image] | Iterable[tuple[str, Image.Image]],
    *,
    model: str | None = None,
    threads: int | None = None,
    effort: int = 7,
) -> bytes:
    """Return the ``.pxc`` archive of many PIL images of modes RGB, L and 1, of any sizes.

    Args:
        images: by name, a relative path with "/"; their metadata is not kept yet.
        model: a model's name for all images; the default is, for each mode and size, the best of those that are here.
        threads: how many to use; the default is one a core.
        effort: see `encode`.

    Raises:
        PixcodecError: see `pixcodec.errors`; `UnsupportedImageError` for other modes and for unsafe names.
        ValueError: no such effort.
    """
    from collections.abc import Mapping

    from pixcodec import archive_codec
    from pixcodec import image as images_of

    named = []
    for name, image in images.items() if isinstance(images, Mapping) else images:
        picture = images_of.from_pil(image)
        named.append(archive_codec.NamedImage(name, picture.plain(), picture.mode))
    return archive_codec.encode(named, model=model, threads=threads, effort=effort).data


def decode_archive(data: bytes, *, threads: int | None = None) -> list[tuple[str, Image.Image]]:
    """Return names and PIL images of a ``.pxc`` archive, all pixels checked against its digests.

    Args:
        data: the whole file.
        threads: how many to use; the default is one a core.

    Returns:
        In the archive's order: images of one mode and size follow each other.

    Raises:
        PixcodecError: see `pixcodec.errors`; `ContainerError` or `DamagedTileError` for damaged data.
    """
    from pixcodec import archive_codec, image

    return [(each.name, image.to_pil(each.planes, each.mode)) for each in archive_codec.decode(data, threads=threads)]
