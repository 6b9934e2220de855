"""Commands for the paper's networks: what they cost on a set of images, what they draw, how they complete."""

from __future__ import annotations

import io
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixcodec import files
from pixcodec.errors import MissingDependencyError, ModelError, UnsupportedImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pixcodec.exact.program import Program

BLOCK = 250  # images evaluated together
GAP = 2  # pixels between images of a grid
MODES = {(1, 2): "1", (1, 256): "L", (3, 256): "RGB"}  # by channels and levels

_quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
_force = click.option("-f", "--force", is_flag=True, help="Overwrite the output.")
_seed = click.option("--seed", type=int, default=0, show_default=True, help="The same seed draws the same everywhere.")


def number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Refuse nan, which passes a range."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("expected a number, found nan")
    return value


_temperature = click.option(
    "--temperature",
    type=click.FloatRange(0.05, 20),
    callback=number,
    default=1.0,
    show_default=True,
    help="Below 1: likelier images.",
)


def _program(name: str) -> Program:
    """One of the paper's networks by name; `ModelError` where the model is of another kind."""
    from pixcodec import models
    from pixcodec.exact.program import Program

    network = models.load(name)
    if not isinstance(network, Program):
        raise ModelError(f"{name} is a photo model, which codes but does not draw; give one of the paper's networks")
    return network


def grid(rows: list[NDArray[np.uint8]], levels: int) -> Image.Image:
    """Rows of images, each uint8[N, H, W, C], side by side with a gap between; levels 2 are black and white."""
    import numpy as np
    from PIL import Image

    height, width, channels = rows[0].shape[1:]
    columns = max(len(row) for row in rows)
    step_y, step_x = height + GAP, width + GAP
    canvas = np.full((len(rows) * step_y + GAP, columns * step_x + GAP, channels), 128, np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = GAP + r * step_y, GAP + c * step_x
            canvas[top : top + height, left : left + width] = picture * (255 if levels == 2 else 1)
    return Image.fromarray(canvas if channels == 3 else canvas[:, :, 0])


def _check(target: str, *, force: bool) -> None:
    """Refuse what cannot be written, or would be overwritten, before anything is computed."""
    files.refuse_terminal_or_folder(target, force=force)
    if not force:
        with files.named(target):
            files.refuse_existing(target)


def _save(picture: Image.Image, target: str, *, force: bool) -> None:
    """Write a picture whole or not at all."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    _check(target, force=force)
    with files.named(target):
        files.write(target, stream.getvalue())


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("-n", "count", type=click.IntRange(1, 4096), default=16, show_default=True, help="How many images.")
@click.option(
    "-o", "--output", metavar="FILE", help="PNG with all of them (default: MODEL-samples.png here); - is stdout."
)
@click.option("--size", type=click.IntRange(1, 1024), help="Side in pixels (default: the training images').")
@_seed
@_temperature
@_force
@_quiet
def sample(
    model: str,
    count: int,
    output: str | None,
    size: int | None,
    seed: int,
    temperature: float,
    *,
    force: bool,
    quiet: bool,
) -> None:
    """Draw images from MODEL, one of the paper's networks."""
    from pixcodec import stacks
    from pixcodec.progress import Talk

    target = f"{Path(model).resolve().name}-samples.png" if output is None else output
    _check(target, force=force)
    program = _program(model)
    height, width = (size, size) if size else program.card["size"]
    if max(height, width) > program.tile:
        message = f"{model} draws images up to {program.tile} pixels a side, found {width}x{height}"
        raise UnsupportedImageError(f"{message}; give a smaller --size")
    talk, drawn = Talk(quiet=quiet, verbose=False), _counted(count, "image")
    with talk.bar(f"drawing {drawn}") as bar:
        images = stacks.sample(program, (count, height, width), seed=seed, temperature=temperature, progress=bar)
    columns = math.ceil(math.sqrt(count))
    rows = [images[first : first + columns] for first in range(0, count, columns)]
    _save(grid(rows, program.levels), target, force=force)
    talk.say(f"{model} -> {target}: {drawn} of {width}x{height}")


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("sources", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--rows", type=click.IntRange(min=0), metavar="K", help="Rows that are given (default: the upper half).")
@click.option("-n", "count", type=click.IntRange(1, 256), default=8, show_default=True, help="Completions of each.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="PNG: original, what is given, completions (default: IMAGE-completed.png here); - is stdout.",
)
@_seed
@_temperature
@_force
@_quiet
def complete(
    model: str,
    sources: tuple[str, ...],
    rows: int | None,
    count: int,
    output: str | None,
    seed: int,
    temperature: float,
    *,
    force: bool,
    quiet: bool,
) -> None:
    """Complete IMAGEs of one size, of which only the upper rows are given, by MODEL."""
    import numpy as np

    from pixcodec import stacks
    from pixcodec.progress import Talk

    target = _completed(sources[0]) if output is None else output
    for source in sources:
        if files.is_same(source, target):
            raise click.UsageError(f"{source} would be written over itself; give -o with another name")
    _check(target, force=force)
    program = _program(model)
    stack = _originals(model, program, sources)
    height, width = stack.shape[1:3]
    given = height // 2 if rows is None else min(rows, height)
    occluded = stack.copy()
    occluded[:, given:] = 0
    repeated = np.repeat(stack, count, axis=0)
    talk = Talk(quiet=quiet, verbose=False)
    with talk.bar(f"completing {_counted(len(stack), 'image')}") as bar:
        made = stacks.sample(
            program,
            (len(repeated), height, width),
            seed=seed,
            temperature=temperature,
            known=repeated,
            rows=given,
            progress=bar,
        )
    made = made.reshape(len(stack), count, height, width, -1)
    table = [np.concatenate([[stack[k]], [occluded[k]], made[k]]) for k in range(len(stack))]
    _save(grid(table, program.levels), target, force=force)
    what, each = (files.display(sources[0]), "") if len(sources) == 1 else (f"{len(sources)} images", " of each")
    talk.say(f"{what} -> {target}: {_counted(count, 'completion')}{each}")


def _completed(source: str) -> str:
    """The output's name by default."""
    return files.STREAM if source == files.STREAM else f"{Path(source).stem}-completed.png"


def _originals(model: str, program: Program, sources: tuple[str, ...]) -> NDArray[np.uint8]:
    """uint8[N, H, W, C] of images that a model can complete, all of one size; `UnsupportedImageError` for others."""
    import numpy as np

    from pixcodec import image

    originals: list[NDArray[np.uint8]] = []
    for source in sources:
        with files.named(source):
            picture = image.read(sys.stdin.buffer if source == files.STREAM else source)
            wanted = MODES[program.channels, program.levels]
            if picture.mode != wanted or (originals and picture.planes.shape != originals[0].shape):
                size = "x".join(map(str, picture.planes.shape[1::-1]))
                message = f"{model} completes images of mode {wanted} and of one size, found {picture.mode} {size}"
                raise UnsupportedImageError(f"{message}; convert it")
            if max(picture.planes.shape[:2]) > program.tile:
                message = f"{model} completes images up to {program.tile} pixels a side, found a larger one"
                raise UnsupportedImageError(f"{message}; give a smaller one")
            originals.append(picture.plain())
    return np.stack(originals)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="DATA")
@click.option("--set", "name", metavar="NAME", help="Of what DATA holds (default: what the model was trained on).")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--images", "count", type=click.IntRange(min=1), metavar="N", help="N of them, evenly spread.")
@click.option("-o", "--output", metavar="FILE", help="PNG with the bits at each position.")
@click.option("--float/--no-float", "with_float", default=True, help="Also the float network, which needs torch.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@_force
@_quiet
def evaluate(
    model: str,
    data: str,
    name: str | None,
    split: str,
    count: int | None,
    output: str | None,
    *,
    with_float: bool,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Say what MODEL costs on DATA, a folder with an image set: by channel and position, float and frozen.

    The frozen figures are of real streams; nothing of their cost is left out.
    """
    from pixcodec.progress import Talk

    talk = Talk(quiet=quiet, verbose=False)
    if output is not None:
        _check(output, force=force)
    if find_spec("torch") is None:
        raise MissingDependencyError("image sets are read by what training needs: pip install 'pixcodec[train]'")
    from pixcodec import models
    from pixcodec.training import evaluate_set, image_sets

    program = _program(model)
    found = image_sets.load(name or str(program.card.get("set")), data)
    images = image_sets.spread(found.test if split == "test" else found.validation, count)
    with talk.bar(f"evaluating {len(images)} images") as bar:
        frozen = evaluate_set.frozen(program, images, BLOCK, bar)
    facts: dict[str, Any] = {"model": model, "set": name or program.card.get("set"), "split": split}
    facts |= {"images": len(images), "about": found.about, **frozen.facts()}
    folder = next((each.folder for each in models.available() if each.id == program.identity.hex()), None)
    folder = Path(model) if (Path(model) / models.CARD).is_file() else folder
    if with_float and folder is not None and (folder / "float.safetensors").is_file():
        facts |= {"float": evaluate_set.floating(folder, images)}
    if output is not None:
        _save(evaluate_set.picture(frozen.bits), output, force=force)
    if as_json:
        import json

        click.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        if value not in ("", None):
            click.echo(f"{key.replace('_', ' '):22} {_shown(value)}")


def _shown(value: object) -> object:
    """A figure, or several by name, as people read them."""
    return ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else value
