"""The command line: names, options and words; the work is done by the modules it calls.

Each command imports those that it needs, and only when it is run.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pixcodec import __version__, files, network_commands
from pixcodec.errors import (
    ContainerError,
    MissingDependencyError,
    PixcodecError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec import container

    F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE
INTERNAL_ERROR = 70  # EX_SOFTWARE
YOUNG_OBJECTS = 100_000  # looked through for cycles at a time: imports make as many that stay, 0.15 s of looking


class _Commands(click.Group):
    """Ends every failure with one line on standard error and the exit code of docs/errors.md."""

    def main(self, *args: Any, **extra: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        extra["standalone_mode"] = False
        gc.set_threshold(YOUNG_OBJECTS)
        atexit.register(gc.freeze)  # at the end all objects would be looked through, in 0.04 s, for cycles to free
        try:
            code = super().main(*args, **extra)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except PixcodecError as error:
            click.echo(files.complaint(error), err=True)
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("pixcodec: interrupted", err=True)
            code = INTERRUPTED
        except MemoryError:
            click.echo("pixcodec: not enough memory for this image", err=True)
            code = INTERNAL_ERROR
        except Exception as error:  # noqa: BLE001  the last resort: a mistake of ours must not look like a crash
            if "-v" in sys.argv or "--verbose" in sys.argv:
                import traceback

                traceback.print_exc()
            reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            click.echo(f"pixcodec: internal error ({reason}); please report it, with the output of -v", err=True)
            code = INTERNAL_ERROR
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's own signature
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read our output has had enough. Python would complain once more when it closes the stream, and
            # click would end with 1.
            sys.stdout = io.TextIOWrapper(io.BytesIO())
            sys.exit(BROKEN_PIPE)
        return result


def _options(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


_talking = _options(
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say where the time goes."),
)
_computing = _options(
    click.option(
        "--device", metavar="NAME", help="Run the network by torch there: cpu, cuda, ... (default: no torch)."
    ),
    click.option("--backend", metavar="NAME", help="Matrix products by this back end (see `models verify`)."),
    click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: one a core."),
)
_writing = _options(
    click.option(
        "-o", "--output", metavar="FILE|DIR/", help="Default: the input's name with the other suffix; - is stdout."
    ),
    click.option("-f", "--force", is_flag=True, help="Overwrite the output."),
)


_memory = click.option(
    "--memory",
    type=click.IntRange(min=1),
    metavar="MB",
    help="Of many files, work at a time on no more than fit (default: on one a thread).",
)


def _known_origin(context: click.Context, parameter: click.Parameter, name: str) -> str:
    del context, parameter
    if name not in {"auto", "none"}:  # without a look at the others, which bring NumPy
        from pixcodec.origins import search

        if name not in search.NAMES:
            message = f"expected one of {', '.join(search.NAMES)}, found {name}"
            raise click.BadParameter(message)
    return name


def _mask(_context: click.Context, _parameter: click.Parameter, names: str | None) -> int | None:
    """Experts by name, as their mask."""
    from pixcodec import expert_names

    try:
        return None if names is None else expert_names.mask_of(names)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pixcodec")
def main() -> None:
    """Lossless image compression with a PixelCNN in exact integers."""


@main.command()
@click.argument("sources", metavar="IMAGE|DIR...", nargs=-1, required=True)
@_writing
@click.option("--archive", is_flag=True, help="Put all images (of a folder, with those below) into one file.")
@click.option(
    "--model", metavar="NAME", help="Default: by the image and the effort; of an archive, what is best for each size."
)
@click.option(
    "--effort",
    type=click.IntRange(1, 9),
    default=7,
    show_default=True,
    help="1, 2: a small network alone, the fastest; 3: and experts that learn the image; from 4: a large network with "
    "them; from 7: all learns; 9: the smallest of several files, in some ten times the time.",
)
@click.option(
    "--experts",
    metavar="NAMES",
    callback=_mask,
    help="all, none, or names with commas: which learn the image (docs/names.md; default: by the effort).",
)
@click.option(
    "--origin",
    default="auto",
    show_default=True,
    metavar="NAME",
    callback=_known_origin,
    help="What an image may have been made from and is stored as: auto, none, or the only one to look for.",
)
@click.option(
    "--explain", metavar="FILE", help="Write a page (HTML) that says where the bits are, in some ten times the time."
)
@_memory
@_computing
@click.option(
    "--verify/--no-verify", default=True, help="Decode what was written before success is reported (default)."
)
@_talking
def encode(
    sources: tuple[str, ...],
    output: str | None,
    model: str | None,
    effort: int,
    experts: int | None,
    origin: str,
    explain: str | None,
    memory: int | None,
    *,
    archive: bool,
    force: bool,
    verify: bool,
    quiet: bool,
    verbose: bool,
    **computing: Any,  # noqa: ANN401
) -> None:
    """Compress IMAGE (PNG, WebP, BMP, TIFF, PPM, JPEG; - is stdin) to a .pxc file, exactly.

    Many images, or those of a folder, become a file each, beside them or in the folder -o; or one archive.
    """
    from pixcodec import image_commands
    from pixcodec.progress import Passes, Talk

    talk, given = Talk(quiet=quiet, verbose=verbose), _given(computing)
    many = archive or image_commands.is_many(sources, output)
    if many and explain:
        message = "expected one image to explain, found an archive or several; leave out --explain"
        raise click.UsageError(message)
    if explain and not force:
        with files.named(explain):
            files.refuse_existing(explain)
    options: dict[str, Any] = _given({"model": model, "experts": experts}) | {"effort": effort}
    if archive:
        from pixcodec import archive_commands

        target = archive_commands.target_of(sources, output, force=force)
        options = {"model": model, "effort": effort, "experts": experts, "verify": verify, "talk": talk}
        archive_commands.encode(sources, target, computing=given, **options)
        return
    asked: dict[str, Any] = {"force": force, "verify": verify, "options": options | {"origin": origin}}
    if many:
        from pixcodec import image

        todo = image_commands.jobs(sources, output, ".pxc", image.pixels_of)
        work = partial(image_commands.encode, **asked)
        sys.exit(image_commands.each(todo, work, "encoding", talk, memory=memory, computing=given))
    (source,) = sources
    target = _target(source, output, ".pxc", force=force)
    with talk.bar(f"encoding {files.display(source)}") as bar:
        how = {"computing": given, "explain": explain, **asked}
        image_commands.encode(image_commands.Job(source, target), talk, Passes(bar), **how)


@main.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@_writing
@_memory
@_computing
@_talking
def decode(
    sources: tuple[str, ...],
    output: str | None,
    memory: int | None,
    *,
    force: bool,
    quiet: bool,
    verbose: bool,
    **computing: Any,  # noqa: ANN401
) -> None:
    """Decode a .pxc FILE (- is stdin) to PNG, or to lossless WebP, BMP, TIFF or PPM by the output's suffix.

    Many files are decoded to PNG beside them or in the folder -o, an archive to a folder: the output, or the input's
    name without .pxc.
    """
    from pixcodec import container, image_commands
    from pixcodec.progress import Talk

    talk, given = Talk(quiet=quiet, verbose=verbose), _given(computing)
    if image_commands.is_many(sources, output):
        todo = image_commands.jobs(sources, output, ".png", image_commands.pixels_of)
        work = partial(image_commands.decode, force=force)
        sys.exit(image_commands.each(todo, work, "decoding", talk, memory=memory, computing=given))
    (source,) = sources
    with files.named(source):
        data = files.read_container(source)
    if container.is_archive(data):
        from pixcodec import archive_commands

        archive_commands.decode(data, source, output, force=force, talk=talk, computing=given)
        return
    job = image_commands.Job(source, _target(source, output, ".png", force=force))
    with talk.bar(f"decoding {files.display(source)}") as bar:
        image_commands.decode_one(data, job, talk, bar, force=force, computing=given)


@main.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@_computing
@_talking
def verify(sources: tuple[str, ...], *, quiet: bool, verbose: bool, **computing: Any) -> None:  # noqa: ANN401
    """Decode each .pxc FILE and compare it with the digest of the pixels that were encoded; write nothing."""
    from pixcodec import codec, container
    from pixcodec.progress import Talk

    talk = Talk(quiet=quiet, verbose=verbose)
    code = 0
    for source in sources:
        try:
            with files.named(source):
                data = files.read_container(source)
                if container.is_archive(data):
                    from pixcodec import archive_commands

                    what = archive_commands.verify(data, source, talk=talk, computing=_given(computing))
                    if not quiet:
                        click.echo(f"{files.display(source)}: sound, {what}")
                    continue
                with talk.bar(f"verifying {files.display(source)}") as bar:
                    decoded = codec.decode(data, progress=bar, **_given(computing))
        except PixcodecError as error:
            click.echo(files.complaint(error), err=True)
            code = code or error.exit_code
            continue
        height, width, _ = decoded.planes.shape
        talk.note(decoded.note)
        if not quiet:
            click.echo(f"{files.display(source)}: sound, {width}x{height} {decoded.mode}")
        talk.stages(decoded.seconds, decoded.steps, decoded.planes.shape)
    sys.exit(code)


@main.command()
@click.argument("source", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--names", is_flag=True, help="The names of an archive's images, one a line.")
def info(source: str, *, as_json: bool, names: bool) -> None:
    """Say what a .pxc FILE (- is stdin) holds without decoding it, also when its tiles are damaged."""
    from pixcodec import container, expert_names

    with files.named(source):
        data = files.read_container(source)
        if container.is_archive(data):
            from pixcodec import archive_commands

            archive_commands.info(data, source, as_json=as_json, names=names)
            return
        if names:
            message = "expected an archive, whose images have names; found one image"
            raise ContainerError(message)
        header, tiles = container.inspect(data)
    payload = sum(min(tile.stop, len(data)) - min(tile.start, len(data)) for tile in tiles)
    facts = {
        "file": files.display(source),
        "bytes": len(data),
        "version": container.VERSION,
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "model_id": header.model_id.hex(),
        "settings": header.settings,
        "experts": expert_names.names_of(header.experts),
        **_origin(header),
        "tile_width": header.tile_width,
        "tile_height": header.tile_height,
        "tiles": header.tile_count,
        "damaged_tiles": [index for index, tile in enumerate(tiles) if not tile.sound],
        "payload_bytes": payload,
        "bits_per_dim": 8 * len(data) / (header.width * header.height * header.channels),
        "digest": header.digest.hex(),
    }
    if as_json:
        import json

        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        click.echo(f"{name.replace('_', ' '):14} {shown if shown != [] else 'none'}")


def _origin(header: container.Header) -> dict[str, Any]:
    """What the picture was made from, in words, and the planes that are stored."""
    if not header.has_origin:
        return {"origin": "none"}
    from pixcodec import codec, origins

    _, tree = codec.read_record(header)
    groups = ["{1}x{0}x{2}".format(*leaf.shape) for leaf in origins.leaves(tree)]
    return {"origin": origins.words(tree) or "none", "groups": groups}


@main.group()
def models() -> None:
    """List and check the models that are installed."""


@models.command("list")
def list_models() -> None:
    """Name every model that files can be encoded with: id, kind of network, images it is for, folder."""
    from pixcodec import models as shipped

    for model in shipped.available():
        channels = "1 channel" if model.channels == 1 else f"{model.channels} channels"
        values = channels + (", bilevel" if model.levels == 2 else f", {model.levels} levels")
        click.echo(f"{model.name:16} {model.id[:16]}  {model.kind:15}  {values:22}  {model.folder}")


@models.command("verify")
@click.argument("name", metavar="[NAME]", required=False)
def verify_models(name: str | None) -> None:
    """Prove every model's bounds anew (or one's), compare its id, and run every back end's known-answer test."""
    from pixcodec import models as shipped

    for line in shipped.verify(name):
        click.echo(line)


@main.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--data", metavar="DIR", multiple=True, required=True, help="Folder of photographs; may be repeated.")
@click.option("--out", metavar="DIR", required=True, help="Folder for checkpoints, log and weights.")
@click.option("--cache", metavar="DIR", help="Folder for predictor planes (default: cache in --out).")
@click.option("--init", metavar="FILE", help="Weights to start from.")
@click.option("--resume", is_flag=True, help="Go on exactly from the checkpoint in --out.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    callback=network_commands.number,
    help="Length (default: the recipe's pixels).",
)
@click.option("--device", metavar="NAME", default="cpu", show_default=True, help="Where torch computes.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: one a core.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def train(recipe: str, data: tuple[str, ...], out: str, *, quiet: bool, **options: Any) -> None:  # noqa: ANN401
    """Train a model by RECIPE: a JSON file, or the name of one that comes with pixcodec (photo, photo_gray)."""
    if find_spec("torch") is None:
        message = "training needs torch, which is not installed: pip install 'pixcodec[train]'"
        raise MissingDependencyError(message)
    from pixcodec.progress import Talk
    from pixcodec.training import loop

    shipped = Path(loop.__file__).parent / "recipes" / f"{recipe}.json"
    path = shipped if shipped.is_file() and not Path(recipe).is_file() else Path(recipe)
    loop.run(path, data, out, say=Talk(quiet=quiet, verbose=False).say, **options)


for _command in (network_commands.evaluate, network_commands.sample, network_commands.complete):
    main.add_command(_command)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the user gave; the others keep the codec's defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _target(source: str, output: str | None, suffix: str, *, force: bool) -> str:
    target = files.output_name(source, output, suffix)
    if files.is_same(source, target):
        message = f"{source} would be written over itself; give -o with another name"
        raise click.UsageError(message)
    files.refuse_terminal_or_folder(target, force=force)
    return target
