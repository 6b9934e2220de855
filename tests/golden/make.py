"""Makes this folder's models, pictures and .pxc files, and the damaged files of ../golden_errors.

    python tests/golden/make.py

What is committed decides: a file that this script makes otherwise than before is a change of the format, unless the
script itself changed.  Nothing here depends on a generator of random numbers that may change: "random" bytes are
SHAKE-256 of a name.  PNG files may differ in their compression from one Pillow to another, not in their pixels.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import programs
from noise import noise, product
from PIL import Image
from safetensors.numpy import save_file

from pixcodec import archive, archive_codec, codec, container, models
from pixcodec.exact.expert_memory import BUCKETS, MAP_SIZE, NODES, starting_map
from pixcodec.exact.logistics import OUTPUTS
from pixcodec.exact.network import Network, head_inputs, residual_classes
from pixcodec.exact.predict import Parameters
from pixcodec.exact.program import Program
from pixcodec.expert_names import mask_of
from pixcodec.image import write as write_image
from pixcodec.origins import numbers
from pixcodec.origins.jpeg import LAYOUTS
from pixcodec.origins.jpeg_decoder import Source, shapes, standard
from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ycbcr import YCbCr

GOLDEN = Path(__file__).parent
ERRORS = GOLDEN.parent / "golden_errors"

# Two memories and orders, MED as the base, another kind of centre for each channel; gray has as little as there can be.
PREDICTORS: dict[str, dict[str, Any]] = {
    "model_tiny_rgb": {
        "channels": 3,
        "neighbours": [[0, -1], [1, 1]],
        "orders": [1, 2],
        "memories": [[0.4, 0.5, 3], [0.2, 0.1, 0.5]],
        "stack": [0.5, 0.45, 4],
        "base": 5,
        "centre": [4, 5, 0],
    },
    "model_tiny_gray": {
        "channels": 1,
        "neighbours": [[0, -1]],
        "orders": [1],
        "memories": [[0.49, 0.5, 1]],
        "stack": [0.4, 0.5, 9],
        "base": 0,
        "centre": [1],
    },
}
PREDICTORS["model_tiny_chroma"] = {**PREDICTORS["model_tiny_gray"], "known": 1}
PREDICTORS["model_tiny_luma"] = {**PREDICTORS["model_tiny_gray"], "known": 2}
PREDICTORS["model_tiny_taught"] = PREDICTORS["model_tiny_gray"]  # with starting values for experts
PREDICTORS["model_tiny_learning"] = PREDICTORS["model_tiny_rgb"]  # with places among its inputs and heads that learn
PREDICTORS["model_tiny_logistics"] = PREDICTORS["model_tiny_rgb"]  # likewise
FORM: dict[str, Any] = {
    "features": 8,
    "blocks": 1,
    "head": 8,
    "output": "residual",
    "edges": [4, 6, 10, 18, 34, 66],
    "first_taps": [[0, -1], [1, -1], [1, 0], [1, 1]],
    "taps": [[0, 0], [0, -1], [1, -1], [1, 0], [1, 1]],
}


LEARNS: dict[str, Any] = {
    "phases": 2,
    "learning": {"rates": [2.0, 1.0, 0.5], "betas": [0.8, 0.98], "epsilon": 1.0},
}
# More of a network's form, by model; those that know planes have heads that learn, a luma taught experts as well.
MORE: dict[str, dict[str, Any]] = {
    "model_tiny_learning": LEARNS,
    "model_tiny_logistics": {**LEARNS, "output": "logistics"},
    "model_tiny_chroma": LEARNS,
    "model_tiny_luma": {**LEARNS, "known_taps": [[0, -1], [1, 0], [0, 1], [-1, 1]]},
}


def model(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Card and tensors.  Logits fall by about half a bit from class to class, around the residual 0."""
    parameters = Parameters.load(PREDICTORS[name])
    channels, count, h, d = parameters.channels, parameters.count, FORM["features"], FORM["head"]
    more = MORE.get(name, {})
    places = 2 * more.get("phases", 0) + parameters.known * (1 + len(more.get("known_taps", ())))
    classes = int(residual_classes(FORM).max()) + 1
    tensors = {"alpha": np.array([0.09], np.float32), "blocks.0.alpha": np.array([0.1], np.float32)}
    tensors |= product("first", (len(FORM["first_taps"]), channels * (1 + count) + places, h), 900)
    tensors |= product("blocks.0.conv", (len(FORM["taps"]), h, h), 120)
    tensors |= product("blocks.0.pointwise", (h, h), 600)
    for c in range(channels):
        head = f"heads.{c}"
        own = product(f"{head}.input", (h + head_inputs(count, c, places), d), 120)
        weight = own.pop(f"{head}.input.weight")
        tensors |= own | {f"{head}.input.features": weight[:h], f"{head}.input.codes": weight[h:]}
        tensors |= product(f"{head}.hidden", (d, d), 120)
        if more.get("output") == "logistics":  # a narrow one, and two wider ones above it
            start = (8 * 512) * (np.arange(OUTPUTS) % 3)
        else:
            start = -(8 * 512) * np.abs(np.arange(classes) - classes // 2)
        tensors |= product(f"{head}.output", (d, start.size), 300)
        scale = np.full(start.size, 1 / 32, np.float32)
        tensors |= {f"{head}.output.scale": scale, f"{head}.output.bias": start.astype(np.int32)}
    if name in {"model_tiny_taught", "model_tiny_luma"}:
        tensors |= {"experts.maps": taught(channels, MAP_SIZE), "experts.last": taught(channels, NODES * BUCKETS)}
    card = {"channels": channels, "network": {**FORM, "classes": classes, **more}, "predictors": PREDICTORS[name]}
    return card, tensors


def taught(channels: int, size: int) -> np.ndarray:
    """uint32[channels, size]: maps that move the odds by a bit up or down or not at all, with counts 0..12."""
    rows, buckets = np.arange(channels * size // BUCKETS)[:, None], np.arange(BUCKETS)
    p = starting_map(BUCKETS)[np.clip(buckets + rows % 3 - 1, 0, BUCKETS - 1)] >> 10
    return (p << 10 | rows % 13).astype(np.uint32).reshape(channels, size)


def write_model(name: str) -> None:
    """Its folder, with `card.json` and `model.safetensors`."""
    if name in programs.CARDS:
        card = programs.CARDS[name]
        tensors = programs.tensors(card)
        identity = Program.build(card, tensors).identity.hex()
    else:
        card, tensors = model(name)
        identity = Network.build(card, tensors).identity.hex()
    folder = GOLDEN / name
    folder.mkdir(exist_ok=True)
    about = "A model for tests, made by tests/golden/make.py; not trained."
    text = json.dumps({"name": name, "id": identity, "about": about, **card}, indent=2)
    (folder / models.CARD).write_text(text + "\n", encoding="utf-8")
    save_file({key: np.ascontiguousarray(value) for key, value in sorted(tensors.items())}, folder / models.WEIGHTS)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    """A slope and a step with some noise: uint8[H, W, C]."""
    y, x, c = np.ogrid[:height, :width, :channels]
    grain = noise(f"smooth {height} {width} {channels}", height * width * channels) % 7
    return (60 + 3 * x + 2 * y + 20 * c + 60 * (x > 2 * y) + grain.reshape(height, width, channels)).astype(np.uint8)


def clipped(height: int, width: int, channels: int) -> np.ndarray:
    """Black, a steep slope, white, with noise before the clipping."""
    y, x, c = np.ogrid[:height, :width, :channels]
    grain = noise(f"clipped {height} {width} {channels}", height * width * channels) % 31
    return np.clip(25 * x + 9 * y - 260 + 8 * c + grain.reshape(height, width, channels), 0, 255).astype(np.uint8)


def text(height: int, width: int, channels: int) -> np.ndarray:
    """Lines of six letters of 5x4 pixels, dark on light, in two colours: uint8[H, W, C]."""
    letters = noise("letters", 6 * 20).reshape(6, 5, 4) % 2
    letters[:, 4], letters[:, :, 3] = 0, 0  # between lines and between letters
    rows, columns = -(-height // 5), -(-width // 4)
    said = letters[noise(f"text {height} {width}", rows * columns).reshape(rows, columns) % 6]
    ink = said.swapaxes(1, 2).reshape(5 * rows, 4 * columns)[:height, :width, None]
    colours = np.array([[20, 22, 28], [180, 30, 40]])[np.arange(height) // 10 % 2, None, :channels]
    return np.where(ink == 1, colours, 250).astype(np.uint8)


def bilevel(height: int, width: int) -> np.ndarray:
    """Stripes that bend, and a few pixels that are wrong: uint8[H, W, 1] of 0 and 1."""
    y, x = np.ogrid[:height, :width]
    wrong = noise(f"bilevel {height} {width}", height * width).reshape(height, width) < 12
    return ((((x * x + 40 * y) // 60 % 2 == 0) ^ wrong).astype(np.uint8))[..., None]


KNOWING = ""  # for groups that know others: models for these, as `write_origins` says
PLAIN, LEARNING = 1, 7  # efforts: the network alone, and with experts
# The worked example of docs/format.md.
EXAMPLE = np.array(
    [
        [[200, 120, 60], [202, 121, 63], [255, 255, 254]],
        [[198, 119, 58], [90, 80, 81], [0, 3, 1]],
    ],
    np.uint8,
)
# Name: the picture and the longest side of a tile.
PICTURES: dict[str, tuple[np.ndarray, int]] = {
    "example": (EXAMPLE, 16),
    "gray_1x1": (np.full((1, 1, 1), 77, np.uint8), 16),
    "rgb_5x3": (smooth(3, 5, 3), 16),
    "rgb_37x21_tiles": (smooth(21, 37, 3), 16),
    "gray_40x9_tiles": (smooth(9, 40, 1), 32),
    "rgb_clipped_24x13": (clipped(13, 24, 3), 32),
    "gray_clipped_24x13": (clipped(13, 24, 1), 32),
}
# The same with experts, and text, which they are for.
EXPERT_PICTURES: dict[str, tuple[np.ndarray, int]] = {
    "gray_1x1_experts": PICTURES["gray_1x1"],
    "rgb_5x3_experts": PICTURES["rgb_5x3"],
    "rgb_37x21_tiles_experts": PICTURES["rgb_37x21_tiles"],
    "gray_40x9_tiles_experts": PICTURES["gray_40x9_tiles"],
    "rgb_clipped_24x13_experts": PICTURES["rgb_clipped_24x13"],
    "rgb_text_38x25_experts": (text(25, 38, 3), 48),
    "gray_text_48x30_experts": (text(30, 48, 1), 48),
}
# Text again, by some of the experts: the file has their mask.
MASK = mask_of("known,change-left,match,before,upper")
MASKED_PICTURES = {"rgb_text_38x25_some_experts": EXPERT_PICTURES["rgb_text_38x25_experts"]}
# The same by networks of the paper, whose tiles have at most 16 pixels a side.
PAPER_PICTURES: dict[str, tuple[np.ndarray, str, str]] = {
    "bilevel_7x5": (bilevel(5, 7), "1", "model_tiny_bilevel"),
    "bilevel_37x21_tiles": (bilevel(21, 37), "1", "model_tiny_bilevel"),
    "scales_1x1": (smooth(1, 1, 3), "RGB", "model_tiny_scales"),
    "scales_5x3": (smooth(3, 5, 3), "RGB", "model_tiny_scales"),
    "scales_37x21_tiles": (smooth(21, 37, 3), "RGB", "model_tiny_scales"),
    "scales_clipped_24x13": (clipped(13, 24, 3), "RGB", "model_tiny_scales"),
}
# By a model that says what experts start from, by one whose heads learn, and by one of logistics whose heads learn.
TAUGHT_PICTURES: dict[str, tuple[np.ndarray, str, str]] = {
    "gray_taught_24x13_experts": (clipped(13, 24, 1), "L", "model_tiny_taught"),
    "rgb_learning_1x1_experts": (smooth(1, 1, 3), "RGB", "model_tiny_learning"),
    "rgb_learning_5x3_experts": (smooth(3, 5, 3), "RGB", "model_tiny_learning"),
    "rgb_learning_24x13_experts": (clipped(13, 24, 3), "RGB", "model_tiny_learning"),
    "rgb_learning_text_38x25_experts": (text(25, 38, 3), "RGB", "model_tiny_learning"),
    "rgb_logistics_24x13_experts": (clipped(13, 24, 3), "RGB", "model_tiny_logistics"),
    "rgb_logistics_text_38x25_experts": (text(25, 38, 3), "RGB", "model_tiny_logistics"),
}
# By a network of logistics alone.
LOGISTIC_PICTURES: dict[str, tuple[np.ndarray, str, str]] = {
    "rgb_logistics_5x3": (smooth(3, 5, 3), "RGB", "model_tiny_logistics"),
    "rgb_logistics_24x13": (clipped(13, 24, 3), "RGB", "model_tiny_logistics"),
}
# The archive `mixed`: pictures by mode and model, each [N, H, W, C], and the effort; a block each.
MIXED: list[tuple[str, str, np.ndarray, int]] = [
    ("RGB", "model_tiny_scales", np.stack([smooth(5, 7, 3), clipped(13, 24, 3)[4:9, 6:13]]), PLAIN),
    ("1", "model_tiny_bilevel", np.stack([bilevel(18, 9)[:9], bilevel(18, 9)[9:], 1 - bilevel(9, 9)]), PLAIN),
    ("L", "model_tiny_gray", np.stack([smooth(5, 7, 1), clipped(13, 24, 1)[4:9, 6:13]]), PLAIN),
    ("1", "model_tiny_bilevel", np.stack([bilevel(5, 7), 1 - bilevel(5, 7)]), PLAIN),
    ("L", "model_tiny_gray", np.stack([text(10, 12, 1), 255 - text(10, 12, 1)]), LEARNING),
]
# The archive of docs/format.md: names and the only row of each gray image.
ARCHIVE = {
    "7.png": [200, 202, 90],
    "8.png": [198, 190, 80],
    "9.png": [10, 255, 0],
    "dot.png": [128],
}


def encode(planes: np.ndarray, tile: int, effort: int = PLAIN, experts: int | None = None) -> bytes:
    """A file by the tiny model for its channels."""
    mode, name = ("RGB", "model_tiny_rgb") if planes.shape[2] == 3 else ("L", "model_tiny_gray")
    return codec.encode(planes, mode, model=name, tile=tile, threads=1, effort=effort, experts=experts).data


def save(planes: np.ndarray, mode: str, path: Path) -> None:
    """A PNG file of planes [H, W, C]; of mode "1" it has one bit a pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = planes if planes.shape[2] == 3 else planes[:, :, 0]
    Image.fromarray(samples == 1 if mode == "1" else samples).save(path)


def write_golden() -> None:
    """`NAME.pxc` and `NAME.png` of every picture."""
    for name, (planes, tile) in (PICTURES | EXPERT_PICTURES | MASKED_PICTURES).items():
        effort = PLAIN if name in PICTURES else LEARNING
        (GOLDEN / f"{name}.pxc").write_bytes(encode(planes, tile, effort, MASK if name in MASKED_PICTURES else None))
        save(planes, "RGB" if planes.shape[2] == 3 else "L", GOLDEN / f"{name}.png")
    for name, (planes, mode, network) in (PAPER_PICTURES | TAUGHT_PICTURES | LOGISTIC_PICTURES).items():
        effort = PLAIN if name in LOGISTIC_PICTURES else LEARNING
        (GOLDEN / f"{name}.pxc").write_bytes(codec.encode(planes, mode, model=network, threads=1, effort=effort).data)
        save(planes, mode, GOLDEN / f"{name}.png")


def luma_chroma(kind: type[PhotoCD | YCbCr], number: int, phases: tuple[int, int]) -> np.ndarray:
    """A picture of smooth luma and chroma, some of it clipped: uint8[24, 30, 3]."""
    origin = kind(number, (2, 2), phases, replicated=kind is YCbCr)
    *chroma, luma = (smooth(height, width, 1) for height, width, _ in origin.shapes((24, 30, 3)))
    return origin.render([*(plane // 4 + 100 for plane in chroma), luma], (24, 30, 3))


def decoded_jpeg(layout: int, quality: int, height: int, width: int) -> np.ndarray:
    """A picture as it is decoded from a JPEG with a few levels in each block, one pixel black: uint8[H, W, 3]."""
    random = np.random.default_rng(layout)
    components = []
    for rows, columns in shapes(LAYOUTS[layout], height, width):
        levels = np.zeros((rows, columns, 64), np.int16)
        levels[:, :, [1, 8, 9, 2, 16]] = random.integers(-3, 4, (rows, columns, 5))
        levels[:, :, 0] = random.integers(-20, 21, (rows, columns))
        components.append(levels)
    tables = [standard(quality, n) for n in range(3)]
    planes = Source(LAYOUTS[layout], (0, 0, 0, 0), tables, components).render((height, width, 3))
    planes[-1, 3] = 0
    return planes


def streaks(height: int, width: int) -> np.ndarray:
    """uint8[H, W, 1]: noise that goes on one row down and two columns to the left, where no neighbour says so."""
    along = np.add.outer(2 * np.arange(height), np.arange(width))
    return (noise("streaks", int(along.max()) + 1) // 16)[along][:, :, None].astype(np.uint8)


def origin_pictures() -> dict[str, tuple[np.ndarray, str, str, str, container.Colours]]:
    """Name: the picture, its mode, the origin to look for, the model for its groups, palette and transparency."""
    none, gray = container.NO_COLOURS, "model_tiny_gray"
    shades = container.Colours(bytes(3 * value for value in range(80) for _ in range(3)), b"\xff\x80\0")
    missed = luma_chroma(PhotoCD, 0, (0, 1))
    missed[-1, 3:20] = 0
    return {
        "la": (np.dstack([smooth(9, 14, 1), clipped(9, 14, 1)]), "LA", "none", gray, none),
        "rgba": (
            np.dstack([smooth(9, 14, 1).repeat(3, 2), np.full((9, 14, 1), 255)]).astype(np.uint8),
            "RGBA",
            "auto",
            gray,
            none,
        ),
        "p": (smooth(9, 14, 1) % 80, "P", "none", gray, shades),
        "rgb_transparent": (smooth(9, 14, 3), "RGB", "none", "model_tiny_rgb", container.Colours(b"", bytes(range(6)))),
        "constant": (np.full((9, 14, 3), 9, np.uint8), "RGB", "constant", gray, none),
        "bilevel_enlarged": (bilevel(9, 14).repeat(3, axis=1)[:, 2:], "1", "enlarged", "model_tiny_bilevel", none),
        "gray": (smooth(21, 37, 1).repeat(3, axis=2), "RGB", "gray", gray, none),
        "palette": (text(25, 38, 3), "RGB", "palette", gray, none),
        "jpeg_missed": (decoded_jpeg(2, 75, 48, 64), "RGB", "jpeg", gray, none),
        "jpeg_part": (
            np.concatenate([decoded_jpeg(1, 75, 56, 48)[:48], text(6, 48, 3)]),
            "RGB",
            "jpeg",
            "model_tiny_rgb",
            none,
        ),
        "ranks": (smooth(9, 14, 1) // 7 * 7, "L", "ranks", gray, none),
        "photo_cd_missed": (missed, "RGB", "photo_cd", gray, none),
        "ycbcr": (luma_chroma(YCbCr, 1, (0, 0)), "RGB", "ycbcr", gray, none),
        "ycbcr_known": (luma_chroma(YCbCr, 1, (0, 1)), "RGB", "ycbcr", KNOWING, none),
        "photo_cd_known": (luma_chroma(PhotoCD, 0, (1, 0)), "RGB", "photo_cd", KNOWING, none),
        "turned": (streaks(48, 90), "L", "turned", gray, none),
    }


def write_origins() -> None:
    """`origins/NAME.pxc` and `NAME.png` of pictures whose file has a record."""
    models.KNOWING.update({1: "model_tiny_chroma", 2: "model_tiny_luma"})
    folder = GOLDEN / "origins"
    folder.mkdir(exist_ok=True)
    for name, (planes, mode, origin, network, colours) in origin_pictures().items():
        options = {"origin": origin, "model": network or None, "colours": colours, "tile": 32, "threads": 1}
        (folder / f"{name}.pxc").write_bytes(codec.encode(planes, mode, **options).data)
        with (folder / f"{name}.png").open("wb") as target:
            write_image(planes, mode, target, "PNG", colours)


def write_mixed() -> None:
    """`archives/mixed.pxc` of blocks by several models, and its pictures in a folder beside it."""
    blocks: list[archive.Block] = []
    payloads: list[bytes] = []
    names: list[str] = []
    for number, (mode, network, planes, effort) in enumerate(MIXED):
        images = [archive_codec.NamedImage(f"{number}/{k}.png", each, mode) for k, each in enumerate(planes)]
        encoded = archive_codec.encode(images, model=network, threads=1, effort=effort)
        header, own = archive.unpack(encoded.data)
        blocks, payloads, names = [*blocks, *header.blocks], [*payloads, *own], [*names, *header.names]
        for image in images:
            save(image.planes, mode, GOLDEN / "archives" / "mixed" / image.name)
    (GOLDEN / "archives" / "mixed.pxc").write_bytes(archive.pack(blocks, payloads, names))


def write_archive() -> None:
    """The archive of docs/format.md: `archives/example.pxc`."""
    images = [
        archive_codec.NamedImage(name, np.array([row], np.uint8)[..., None], "L") for name, row in ARCHIVE.items()
    ]
    (GOLDEN / "archives").mkdir(exist_ok=True)
    encoded = archive_codec.encode(images, model="model_tiny_gray", threads=1, effort=PLAIN)
    (GOLDEN / "archives" / "example.pxc").write_bytes(encoded.data)


def sealed(data: bytes, payload: bytes) -> bytes:
    """A file of one tile with both checksums made right: `data` up to the payload is kept but for them."""
    head = data[:47] + zlib.crc32(payload).to_bytes(4, "little")
    return head + zlib.crc32(head).to_bytes(4, "little") + payload


def damages() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Name: the bad file, and what a reader must say: class, its exit code, the tile, words of the message."""
    one, tiles = encode(*PICTURES["example"]), encode(*PICTURES["rgb_37x21_tiles"])
    payload, learned = one[55:], encode(*PICTURES["example"], LEARNING)
    stacked = (GOLDEN / "bilevel_7x5.pxc").read_bytes()
    other = EXAMPLE.copy()
    other[1, 2, 2] += 1  # the last sample that is coded

    def put(at: int, new: bytes) -> bytes:
        return sealed(one[:at] + new + one[at + len(new) :], payload)

    def flip(data: bytes, at: int, bit: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]

    def fails(error: str, code: int, message: str, tile: int | None = None) -> dict[str, Any]:
        return {"error": error, "exit_code": code, "message": message, **({} if tile is None else {"tile": tile})}

    def header(message: str) -> dict[str, Any]:
        return fails("ContainerError", 5, message)

    def in_tile(message: str, tile: int = 0) -> dict[str, Any]:
        return fails("DamagedTileError", 6, message, tile)

    return {
        "empty": (b"", header("no bytes at all")),
        "png_signature": (b"\x89PNG\r\n\x1a\n" + one[8:], header("expected a .pxc file")),
        "text_mode": (one.replace(b"\r\n", b"\n"), header("text mode")),
        "cut_in_signature": (one[:6], header("cut")),
        "cut_in_header": (one[:30], header("cut")),
        "cut_in_only_tile": (one[:-5], in_tile("checksum")),
        "cut_in_earlier_tile": (tiles[:200], header("cut: tile")),
        "flipped_header_bit": (flip(one, 35, 3), header("header is damaged")),
        "flipped_directory_bit": (flip(tiles, 49, 0), header("header is damaged")),
        "flipped_payload_bit": (flip(one, 60, 7), in_tile("checksum")),
        "flipped_bit_of_last_tile": (flip(tiles, len(tiles) - 1, 0), in_tile("tile 5 of 6", 5)),
        "trailing_bytes": (one + b"\0\0\0\0", in_tile("checksum")),
        "unknown_version": (put(8, b"\1"), header("version 1")),
        "archive_without_directory": (put(9, b"\xff"), header("expected a file of one image")),
        "unknown_mode": (put(9, b"\x63"), header("mode 99")),
        "mode_without_record": (put(9, b"\3"), header("must have a record")),
        "unknown_settings": (put(10, b"\4"), header("settings 4")),
        "one_stream_with_experts": (put(10, b"\3"), header("settings 3")),
        "one_stream_of_tiles": (put(10, b"\1"), header("settings 1 do not fit")),
        "experts_of_a_stream": (
            sealed(stacked[:10] + b"\2" + stacked[11:], stacked[55:]),
            header("settings 2 do not fit"),
        ),
        "bilevel_by_another_model": (put(9, b"\2"), header("of 2 and 256 levels")),
        "mode_of_another_model": (put(9, b"\0"), header("1 channels, its model 3")),
        "no_pixels": (put(11, bytes(4)), header("0x2")),
        "too_many_pixels": (put(11, b"\xff" * 8), header("4294967295x4294967295")),
        "tiles_without_width": (put(19, bytes(2)), header("0x16")),
        "more_tiles_than_bytes": (
            put(11, b"\x00\x00\x01\x00\x00\x80\x00\x00\x01\x00\x01\x00"),
            header("8388608 tiles"),
        ),
        "unknown_model": (put(23, b"\1\2\3\4\5\6\7\x08"), fails("ModelError", 8, "0102030405060708")),
        "part_of_a_word": (sealed(one, payload[:-1]), fails("DamagedTileError", 6, "whole words")),
        "words_left_over": (sealed(one, payload + bytes(8)), in_tile("more words")),
        "words_that_fit_no_symbol": (sealed(one, b"\xff" * len(payload)), in_tile("fit no symbols")),
        "words_of_other_pixels": (sealed(one, encode(other, 16)[55:]), fails("DigestError", 7, "decoded pixels")),
        "words_without_experts": (put(10, b"\2"), in_tile("more words")),
        "experts_words_left_over": (sealed(learned, learned[55:] + bytes(8)), in_tile("more words")),
        "experts_words_that_fit_no_symbol": (sealed(learned, b"\xff" * 40), in_tile("fit no symbols")),
        "experts_words_of_other_pixels": (
            sealed(learned, encode(other, 16, LEARNING)[55:]),
            fails("DigestError", 7, "decoded pixels"),
        ),
        "digest_of_other_pixels": (put(31, bytes(16)), fails("DigestError", 7, "decoded pixels")),
    }


def record_damages() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """As `damages`, of files with a record."""
    files = {path.stem: path.read_bytes() for path in (GOLDEN / "origins").glob("*.pxc")}

    def other(name: str, record: bytes | None = None, payload: bytes | None = None, **fields: int) -> bytes:
        """A golden file with another record or payload, or other fields of the header, and sound checksums."""
        header, payloads = container.unpack(files[name])
        header = replace(header, record=header.record if record is None else record, **fields)
        return container.pack(header, payloads if payload is None else [payload])

    def says(message: str, error: str = "ContainerError", code: int = 5) -> dict[str, Any]:
        return {"error": error, "exit_code": code, "message": message}

    records = {name: container.unpack(data)[0].record for name, data in files.items()}
    (payload,) = container.unpack(files["gray"])[1]
    row = numbers.pack(np.array([[24 * 30, 1, 1, 1]]))
    flipped = files["gray"][:48] + bytes([files["gray"][48] ^ 4]) + files["gray"][49:]
    side = 1 << 15
    return {
        "record_flipped_bit": (flipped, says("header is damaged")),
        "record_cut": (other("palette", records["palette"][:-3]), says("cut or damaged")),
        "record_trailing_bytes": (other("gray", records["gray"] + b"\0"), says("1 bytes too many")),
        "record_of_unknown_origin": (other("gray", b"\0\x63\0"), says("origin 99 is unknown")),
        "record_of_another_mode": (other("ranks", b"\0\3\0"), says("gray of 1 channels")),
        "record_too_deep": (other("gray", b"\0" + 17 * b"\5\x10\0" + b"\0"), says("more than 16 origins")),
        "record_of_a_huge_picture": (
            other("constant", b"\0\4\1\2\3", width=side, height=side), says("32768x32768 pixels of one value"),
        ),
        "record_of_other_numbers": (other("ranks", b"\0\6\2\2\x80\0\0"), says("not those that were written")),
        "record_of_too_many_exceptions": (other("photo_cd_missed", b"\0\1\xff\x7f\0"), says("16383 exceptions")),
        "record_of_exceptions_outside": (
            other("photo_cd_missed", b"\0\1\1" + row + records["photo_cd_missed"][-5:]), says("outside of the picture"),
        ),
        "record_of_another_conversion": (other("ycbcr", b"\0\x09\xfe\0\0\0\0"), says("conversion 254")),
        "record_of_a_jpeg_outside": (
            other("jpeg_part", b"\0\x0b\7" + records["jpeg_part"][3:]), says("48 rows and 48 columns at (7, 0)"),
        ),
        "record_of_other_pixels": (other("constant", b"\0\4\1\2\3"), says("decoded pixels", "DigestError", 7)),
        "record_of_more_groups": (other("gray", b"\0\0"), says("its model 1")),
        "symbols_without_groups": (other("constant", payload=b"\1\0"), says("symbols but no planes")),
        "streams_left_over": (
            other("gray", payload=payload + b"\0"), says("1 streams too many", "DamagedTileError", 6),
        ),
    }  # fmt: skip


def write_errors() -> None:
    """`NAME.pxc` of every bad file, and `expected.json`."""
    ERRORS.mkdir(exist_ok=True)
    expected = {}
    for name, (data, outcome) in (damages() | record_damages()).items():
        (ERRORS / f"{name}.pxc").write_bytes(data)
        expected[name] = outcome
    (ERRORS / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Make everything anew."""
    os.environ[models.ENVIRONMENT] = str(GOLDEN)
    for name in (*PREDICTORS, *programs.CARDS):
        write_model(name)
    write_golden()
    write_archive()
    write_mixed()
    write_origins()
    write_errors()


if __name__ == "__main__":
    main()
