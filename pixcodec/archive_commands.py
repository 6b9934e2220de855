"""What the commands do with archives: files and folders to images with names, and what is said about them."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pixcodec import archive, files, image
from pixcodec import names as archive_names
from pixcodec.errors import ContainerError, DigestError, PixcodecError, UnsupportedImageError
from pixcodec.progress import Passes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pixcodec.archive_codec import NamedImage
    from pixcodec.progress import Progress, Talk


def encode(
    sources: Sequence[str],
    target: str,
    *,
    model: str | None,
    effort: int,
    experts: int | None,
    verify: bool,
    talk: Talk,
    computing: dict[str, Any],
) -> None:
    """Write the images in files and folders as one archive."""
    from pixcodec import archive_codec

    found, hidden = files.images_in(sources)
    if hidden:
        talk.say(f"hidden, so left out: {len(hidden)} ({', '.join(hidden[:3])}{', ..' if len(hidden) > 3 else ''})")
    with files.named(sources[0]):
        if not found:
            message = "expected images, found none in the folder"
            raise UnsupportedImageError(message)
        archive_names.check([name for name, _ in found], UnsupportedImageError)
        restored([name for name, _ in found], UnsupportedImageError)
    images, dropped = _read(found, talk)
    began = time.perf_counter()
    with talk.bar(f"encoding {len(images)} images") as bar, files.named(sources[0]):
        progress = Passes(bar)
        options: dict[str, Any] = {"model": model, "effort": effort, "experts": experts, "then": int(verify)}
        encoded = archive_codec.encode(images, progress=progress, **options, **computing)
        seconds = time.perf_counter() - began
        with files.named(target):
            check = partial(_compare, images, progress.rest(), computing) if verify else None
            files.write(target, encoded.data, check)
    talk.note(encoded.effort.note)
    if dropped:
        talk.say(f"not kept in this version: {', '.join(f'{kind} (of {count})' for kind, count in dropped.items())}")
    size, samples = len(encoded.data), sum(each.planes.size for each in images)
    talk.say(
        f"{len(images)} images -> {target}: {size} bytes, {8 * size / samples:.3f} bits per sub-pixel"
        + (", verified" if verify else "")
    )
    pixels = sum(each.planes[..., 0].size for each in images)
    talk.stages(encoded.effort.seconds, encoded.effort.steps, (pixels, 1), seconds)


def _read(found: Sequence[tuple[str, str]], talk: Talk) -> tuple[list[NamedImage], Counter[str]]:
    """All images, and how many have which metadata that is not kept."""
    from pixcodec.archive_codec import NamedImage

    images, dropped = [], Counter[str]()
    with talk.bar(f"reading {len(found)} images") as bar:
        for name, path in found:
            with files.named(path):
                picture = image.read(path)
                images.append(NamedImage(name, picture.plain(), picture.mode))
            dropped.update(picture.dropped)
            bar(len(images), len(found))
    return images, dropped


def _compare(images: Sequence[NamedImage], progress: Progress, computing: dict[str, Any], data: bytes) -> None:
    """Decode what was written and compare every name and sample."""
    from pixcodec import archive_codec

    expected = {each.name: each for each in images}
    for decoded in archive_codec.decode(data, progress=progress, **computing):
        one = expected.pop(decoded.name, None)
        if one is None or one.mode != decoded.mode or not np.array_equal(one.planes, decoded.planes):
            message = "decoding gives other images than were encoded, so nothing was written; please report it"
            raise DigestError(message)
    if expected:
        message = f"decoding gives {len(expected)} images too few, so nothing was written; please report it"
        raise DigestError(message)


def restored(names: Iterable[str], error: type[PixcodecError]) -> dict[str, str]:
    """The file's name for each image's: with its suffix if that format keeps every pixel, else with .png.

    Raises:
        PixcodecError: of the class `error`, if two images would get one file.
    """
    taken: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        file = name if path.suffix.lower() in image.WRITE_FORMATS else str(path.with_suffix(".png"))
        if file in taken:
            message = f"{taken[file]!r} and {name!r} would both be decoded to {file!r}; rename one"
            raise error(message)
        taken[file] = name
    files_of = {name: file for file, name in taken.items()}
    archive_names.check(list(taken), error)
    return files_of


def decode(data: bytes, source: str, output: str | None, *, force: bool, talk: Talk, computing: dict[str, Any]) -> None:
    """Write every image of an archive below a folder, or none."""
    from pixcodec import archive_codec

    if output == files.STREAM or (output is None and source == files.STREAM):
        message = "an archive holds many images; give -o with the name of a folder"
        raise click.UsageError(message)
    target = output if output is not None else str(Path(source).with_suffix(""))
    with files.named(target):
        if files.is_same(source, target):
            message = f"{source} would be written over itself; give -o with another name"
            raise click.UsageError(message)
        files.refuse_file(target)
        if not force:
            files.refuse_filled(target)
    with files.named(source):
        names = restored(archive.read_header(data).names, ContainerError)
    with talk.bar(f"decoding {files.display(source)}") as bar, files.named(target):
        files.write_folder(target, _saved(archive_codec.decode(data, progress=bar, **computing), names, source))
    talk.say(f"{files.display(source)} -> {target}: {len(names)} images")


def _saved(images: Iterator[NamedImage], names: dict[str, str], source: str) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of image files; errors of decoding are the archive's, those of writing are not."""
    with files.named(source):
        for each in images:
            stream, file = io.BytesIO(), names[each.name]
            image.write(each.planes, each.mode, stream, image.WRITE_FORMATS[PurePosixPath(file).suffix.lower()][0])
            yield file, stream.getvalue()


def verify(data: bytes, source: str, *, talk: Talk, computing: dict[str, Any]) -> str:
    """Decode everything, compare it with the digests, and return what it is."""
    from pixcodec import archive_codec

    with talk.bar(f"verifying {files.display(source)}") as bar:
        count = sum(1 for _ in archive_codec.decode(data, progress=bar, **computing))
    return f"{count} images"


def facts(data: bytes) -> dict[str, Any]:
    """What an archive's header says, and which payloads are damaged."""
    header = archive.read_header(data)
    blocks = [
        {
            "images": block.count,
            "width": block.width,
            "height": block.height,
            "mode": block.mode,
            "model_id": block.model_id.hex(),
            "payload_bytes": stored.stop - stored.start,
            "bits_per_dim": 8 * (stored.stop - stored.start) / block.samples,
            "digest": block.digest.hex(),
        }
        for block, stored in zip(header.blocks, header.stored, strict=True)
    ]
    return {
        "bytes": len(data),
        "images": len(header.names),
        "header_bytes": header.stored[0].start,
        "payload_bytes": len(data) - header.stored[0].start,
        "bits_per_dim": 8 * len(data) / header.samples,
        "damaged_blocks": [index for index, stored in enumerate(header.stored) if not stored.is_in(data)],
        "blocks": blocks,
    }


def info(data: bytes, source: str, *, as_json: bool, names: bool) -> None:
    """Say what an archive holds; decode nothing. With `names`, its images' names, one a line."""
    listed = archive.read_header(data).names
    said = {"file": files.display(source), **facts(data)} | ({"names": listed} if names else {})
    if as_json:
        click.echo(json.dumps(said))
        return
    if names:
        click.echo("\n".join(listed))
        return
    blocks = said.pop("blocks")
    for name, value in (said | {"blocks": len(blocks)}).items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        click.echo(f"{name.replace('_', ' '):14} {shown if shown != [] else 'none'}")
    click.echo(f"\n{'block':>5} {'images':>7} {'size':>11} mode model            {'bytes':>10} bits per sub-pixel")
    for index, block in enumerate(blocks):
        size = f"{block['width']}x{block['height']}"
        click.echo(
            f"{index:5} {block['images']:7} {size:>11} {block['mode']:4} {block['model_id']} "
            f"{block['payload_bytes']:10} {block['bits_per_dim']:.4f}"
        )


def target_of(sources: Sequence[str], output: str | None, *, force: bool) -> str:
    """The archive's name: that given, or the only folder's with .pxc; refused if it is there, without `force`."""
    if output is None:
        name = Path(sources[0]).name
        if len(sources) > 1 or not Path(sources[0]).is_dir() or name in {"", ".."}:
            message = "an archive of anything but one named folder needs -o FILE"
            raise click.UsageError(message)
        output = str(Path(sources[0]).with_name(name + ".pxc"))
    if files.STREAM in sources:
        message = "an archive is made of files and folders, not of standard input"
        raise click.UsageError(message)
    files.refuse_terminal_or_folder(output, force=force)
    if not force:
        with files.named(output):
            files.refuse_existing(output)
    return output
