"""Write the tables of README.md and docs from the committed results: python benchmarks/readme_tables.py.

A table stands between `<!-- NAME -->` and `<!-- end -->`; everything else is left as it is.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jpeg
import pictures

from pixcodec.expert_names import EXPERTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
FILLED = (
    README,
    *(DOCS / f"{name}.md" for name in ("paper_tables", "origins", "photo_models", "experts")),
    *sorted((ROOT / "models").glob("*/README.md")),
)
CODECS = ("pixcodec", "JXL 9", "JXL 7", "WebP", "PNG")
STAGES = ("trunk", "heads", "code", "learn", "predict")
ABLATED = {
    "kodak": "Kodak",
    "scikit-image": "scikit-image",
    "photos": "validation photographs",
    "made": "with a past, drawings",
}
SETS = {
    "kodak": "Kodak, 24 photographs, `--origin none`",
    "kodak_origins": "the same, nothing named: Kodak is Photo CD",
    "photos": "validation photographs, 33",
    "scikit-image": "scikit-image, 14 pictures (4 were JPEG)",
}


def _load(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((pictures.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (heading, *rows)]
    return "\n".join([lines[0], "|---" + "|---:" * (len(heading) - 1) + "|", *lines[1:]])


def sizes() -> str:
    """Bits per sub-pixel of each set by codec, mean over pictures, and the ratio of all bytes to JPEG XL's."""
    rows = []
    for name, title in SETS.items():
        total = _load(f"vs_png_{name}")["total"]
        bits = [f"{total[codec]['mean_bits_per_dim']:.3f}" for codec in CODECS]
        rows.append([title, *bits, f"{total['pixcodec']['of_jxl_9']:.3f}"])
    return _table(["mean bits per sub-pixel", *CODECS, "bytes of JXL 9"], rows)


def speed() -> str:
    """Seconds of whole processes and of this one, and memory."""
    rows = []
    for each in (each for name in ("speed_kodak", "speed") for each in _load(name)["pictures"]):
        encode, decode = each["encode"], each["decode"]
        samples = each["width"] * each["height"] * (3 if each["mode"] == "RGB" else 1)
        rows.append(
            [
                f"{each['name']}, {each['width']}x{each['height']}, `--origin {each['origin']}`",
                str(each["effort"]),
                str(each["threads"]),
                f"{8 * each['bytes'] / samples:.3f}",
                *(f"{way['seconds']:.2f} s" for way in (encode, decode)),
                *(f"{way['warm_seconds']:.2f} s" for way in (encode, decode)),
                f"{max(encode['peak_megabytes'], decode['peak_megabytes']):.0f} MB",
            ]
        )
    heads = ["effort", "threads", "bits per sub-pixel", "encode", "decode", "warm: encode", "decode", "peak memory"]
    return _table(["picture", *heads], rows)


def speed_beside() -> str:
    """Other codecs on the same pictures in the same run."""
    rows = []
    for picture, others in (each for name in ("speed_kodak", "speed") for each in _load(name)["others"].items()):
        for name, each in others.items():
            spent = each["seconds_per_kilobyte_saved"]
            seconds = (f"{each[f'{way}_seconds']:.2f} s" for way in ("encode", "decode"))
            saving = f"{1e3 * spent:.0f} ms" if spent else "nothing is saved"
            rows.append([f"{picture}, {name}", f"{each['bytes']:,}", *seconds, saving])
    return _table(["in process", "bytes", "encode", "decode", "pixcodec's time a kilobyte saved"], rows)


def growth() -> str:
    """How time and memory grow with the picture."""
    rows = []
    for each in _load("speed")["growth"]:
        megapixels = each["width"] * each["height"] / 1e6
        ways = each["encode"], each["decode"]
        seconds = (f"{way['seconds'] / megapixels:.2f} s" for way in ways)
        peaks = (f"{way['peak_megabytes']:.0f} MB" for way in ways)
        rows.append([f"{each['width']}x{each['height']}", f"{megapixels:.1f}", *seconds, *peaks])
    heads = ["megapixels", "encode, a megapixel", "decode, a megapixel", "encode, peak memory", "decode, peak memory"]
    return _table(["mosaic", *heads], rows)


def profile() -> str:
    """Seconds by stage of a picture with each photo model, one thread."""
    record, rows = _load("profile"), []
    peak = record["multiply_adds_per_second"]["int8"]
    for each in record["models"]:
        rate = each["trunk_multiply_adds_per_second"]
        share = f"{rate / 1e9:.0f} G/s, {rate / peak:.0%}"
        for way in ("encode", "decode"):
            seconds = [each[way][stage] for stage in STAGES]
            figures = (f"{spent:.2f}" for spent in [*seconds, sum(seconds)])
            rows.append([f"{each['model']}, {way}", *figures, share if way == "encode" else ""])
    size = f"{record['width']}x{record['height']}"
    return _table([f"s, {size}, one thread", *STAGES, "sum", "trunk's multiply-adds, of the peak"], rows)


def budgets(name: str, title: str) -> str:
    """What each photo network is worth on a set of pictures."""
    rows = []
    for each in _load(f"budgets_{name}")["table"]:
        adds = f"{each['multiply_adds'] / 1e3:.0f} K" if each["multiply_adds"] else ""
        seconds = (f"{each[f'{way}_seconds_per_megapixel']:.2f} s" for way in ("encode", "decode"))
        rows.append([each["name"], adds, f"{each['mean_bits_per_dim']:.3f}", f"{each['of_jxl_9']:.3f}", *seconds])
    heads = ["mult-adds a pixel", "mean bits per sub-pixel", "bytes of JXL 9", "encode, a megapixel", "decode"]
    return _table([title, *heads], rows)


def _stages(name: str) -> dict[str, int]:
    """Bytes of all pictures of a run of photo.py by stage and by codec."""
    sums: dict[str, int] = {}
    for picture in _load(f"photo_{name}")["pictures"]:
        for stage, each in (picture["stages"] | picture["codecs"]).items():
            sums[stage] = sums.get(stage, 0) + each["bytes"]
    return sums


def experts() -> str:
    """What all other experts cost without each one."""
    sums = [_stages(name) for name in ABLATED]
    rows = []
    for expert in EXPERTS:
        cost = (each[f"without {expert.name}"] / each["all experts"] - 1 for each in sums)
        rows.append([f"`{expert.name}`", expert.context, expert.serves, *(f"{share:+.2%}" for share in cost)])
    return _table(["expert", "context", "for", *ABLATED.values()], rows)


def experts_stages() -> str:
    """Bytes of all pictures as one expert after the other is added, and heads that learn; seconds of a crop."""
    sums = [_stages(name) for name in ABLATED]
    timed = _load("photo_kodak")["pictures"]
    rows = []
    for stage in (each for each in timed[0]["stages"] if not each.startswith("without")):
        shares = (f"{each[stage] / each['JXL 9']:.3f}" for each in sums)
        spent = (statistics.median(p["stages"][stage][f"{way}_seconds"] for p in timed) for way in ("encode", "decode"))
        rows.append([stage, *shares, *(f"{seconds:.2f} s" for seconds in spent)])
    rows += [[codec, *(f"{each[codec] / each['JXL 9']:.3f}" for each in sums), "", ""] for codec in CODECS[1:]]
    return _table(["bytes of JXL 9", *ABLATED.values(), "encode", "decode"], rows)


def machine() -> str:
    """What the figures were measured on."""
    about = _load("vs_png_kodak")
    where, versions = about["machine"], about["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"Measured on {where['cores']} cores of an {where['processor']}, {where['system']}; {listed}."


def sources() -> str:
    """The validation photographs by source."""
    rows = []
    for source, totals in _load("vs_png_photos")["sources"].items():
        ours, jxl = totals["pixcodec"], totals["JXL 9"]
        bits = f"{ours['bits_per_dim']:.3f}", f"{jxl['bits_per_dim']:.3f}"
        rows.append([source, *bits, f"{ours['of_jxl_9']:.3f}"])
    return _table(["validation photographs by source", "pixcodec", "JXL 9", "bytes of JXL 9"], rows)


def _paper_row(row: dict[str, Any]) -> list[str]:
    """A line of the paper's tables: nats an image for MNIST, bits/dim for colour."""
    digits = row["network"].get("levels", 256) == 2
    scale, places = (784 * math.log(2), 2) if digits else (1.0, 3)
    floating = row.get("float_bits_per_dim")
    return [
        row["name"].replace("_", " "),
        f"{row['parameters'] / 1e3:.0f} K",
        f"{row['multiply_adds'] / 1e3:.0f} K",
        f"{row['images_seen'] / 1e3:.0f} K",
        f"{row['minutes']:.0f}",
        "" if floating is None else f"{scale * floating:.{places}f}",
        f"{scale * row['stream_bits_per_dim']:.{places}f}",
        str(row.get("paper") or ""),
    ]


PAPER_COLUMNS = ("weights", "mult-adds a pixel", "images seen", "minutes", "float", "stream", "paper")


def paper_shipped() -> str:
    """The shipped models of the paper's networks on test images."""
    rows = [row for row in _load("paper_tables")["networks"] if row["table"] == "shipped"]
    return _table(["model", *PAPER_COLUMNS], [_paper_row(row) for row in rows])


def paper_runs() -> str:
    """Every table of networks that were trained for equal minutes, and other codecs on the same images."""
    record = _load("paper_tables")
    parts = []
    for table in dict.fromkeys(row["table"] for row in record["networks"] if row["table"] != "shipped"):
        rows = [_paper_row(row) for row in record["networks"] if row["table"] == table]
        parts.append(_table([table, *PAPER_COLUMNS], rows))
    others = [[row["name"], f"{row['file_bits_per_dim']:.3f}"] for row in record["others"]]
    parts.append(_table(["CIFAR-10, a file an image", "bits/dim"], others))
    return "\n\n".join([*parts, *record["notes"]])


def _origin_rows(name: str, group: str) -> list[list[str]]:
    """A line a past: bytes by choice and codec, what was found of the first picture, milliseconds of the look."""
    rows = []
    for each in _load(name)["groups"][group]:
        size = each["bytes"]
        found = each["found"][0] or "nothing"
        sizes = [f"{size[codec]:,}" for codec in ("none", "auto", "JXL 9", "JXL 7", "WebP", "PNG")]
        ratio = f"{size['auto'] / size['none']:.3f}", f"{size['auto'] / size['JXL 9']:.3f}"
        rows.append([f"{each['past']}: {found}", *sizes, *ratio, f"{1000 * each['look_seconds']:.0f} ms"])
    return rows


def _origins(name: str, group: str, title: str) -> str:
    heading = ["`none`", "`auto`", "JXL 9", "JXL 7", "WebP", "PNG", "of `none`", "of JXL 9", "look"]
    return _table([title, *heading], _origin_rows(name, group))


def jpeg_rows() -> str:
    """A line a quality, of whole pictures and of cropped ones: found, exact blocks, exceptions, bytes of the JPEG."""
    records = _load("jpeg")["pictures"]
    rows = []
    for quality, cropped in sorted({(each["quality"], each["cropped"]) for each in records}):
        own = [each for each in records if (each["quality"], each["cropped"]) == (quality, cropped)]
        good = [each for each in own if each["found"]]
        missed = sum(each["exceptions"] for each in good) / sum(each["pixels"] for each in good)
        exact = statistics.mean(each["exact_blocks"] for each in good)
        shares = []
        for sampling in jpeg.SAMPLINGS:
            some = [each for each in own if each["sampling"] == sampling]
            shares.append(f"{jpeg.of_the_jpeg(some):.3f}" if some else "")
        # Processor time over all of a line's pixels: those of one are seconds of a megapixel.
        pixels = sum(each["pixels"] for each in own)
        seconds = [f"{1e6 * sum(each[k] for each in own) / pixels:.1f}" for k in ("seconds", "decode_seconds")]
        name = f"{quality}, {'cropped' if cropped else 'whole'}"
        rows.append([name, f"{len(good)} of {len(own)}", f"{exact:.2%}", f"{missed:.3%}", *shares, *seconds])
    heads = [f"of the JPEG, {sampling}" for sampling in jpeg.SAMPLINGS]
    return _table(
        ["quality", "found", "exact blocks", "pixels missed", *heads, "encode, s a megapixel", "decode"], rows
    )


def jpeg_goals() -> str:
    """What is asked for, by sampling."""
    goals = list(jpeg.goals(_load("jpeg")["pictures"]))
    rows = []
    for name in dict.fromkeys(each[0] for each in goals):
        own = [each for each in goals if each[0] == name]
        _, _, _, most, aim = own[0]
        rows.append([name, *(f"{share:.3f}" for _, _, share, _, _ in own), f"{most:.2f}", f"{aim:.2f}"])
    return _table(["bytes of the JPEG", *jpeg.SAMPLINGS, "asked for", "aim"], rows)


def jpeg_beside() -> str:
    """Bytes of the pictures that other codecs were tried on."""
    lines = list(jpeg.beside(_load("jpeg")["pictures"]))
    names = list(lines[0][2])
    rows = [[f"{quality}, {count} pictures", *(f"{sizes[n]:,}" for n in names)] for quality, count, sizes in lines]
    return _table(["bytes, quality", *names], rows)


def jpeg_files() -> str:
    """JPEGs of other makers: recovered, and what the others have in common."""
    files = _load("jpeg_files")["files"]
    reasons = sorted({each["why"] for each in files} - {""})
    rows = []
    for part in ("whole", "cropped"):
        own = [each for each in files if each["part"] == part]
        if not own:
            continue
        missed = [str(sum(each["why"] == reason for each in own)) for reason in reasons]
        rows.append([part, f"{sum(each['found'] for each in own)} of {len(own)}", *missed])
    return _table(["JPEG files of others", "recovered", *(f"not: {reason}" for reason in reasons)], rows)


def jpeg_pictures() -> str:
    """Pictures that were JPEGs, or may have been."""
    rows = []
    for each in _load("jpeg_files")["pictures"]:
        name = f"{each['name']}, {each['width']}x{each['height']}: {each.get('words') or 'nothing'}"
        rows.append([name, *(f"{size:,}" for size in (each["none"], each["bytes"], *each["others"].values()))])
    names = _load("jpeg_files")["pictures"][0]["others"]
    return _table(["bytes", "`none`", "`auto`", *names], rows)


TABLES: dict[str, Callable[[], str]] = {
    "jpeg": jpeg_rows,
    "jpeg_goals": jpeg_goals,
    "jpeg_beside": jpeg_beside,
    "jpeg_files": jpeg_files,
    "jpeg_pictures": jpeg_pictures,
    "sizes": sizes,
    "speed": speed,
    "speed_beside": speed_beside,
    "growth": growth,
    "profile": profile,
    "budgets_kodak": partial(budgets, "kodak", "Kodak, 24 photographs"),
    "budgets_lossless": partial(budgets, "lossless", "lossless validation photographs, 12"),
    "experts": experts,
    "experts_stages": experts_stages,
    "machine": machine,
    "sources": sources,
    "paper_shipped": paper_shipped,
    "paper_runs": paper_runs,
    "origins_made": partial(_origins, "origins", "made", "bytes of two photographs with a past"),
    "origins_drawings": partial(_origins, "origins", "drawings", "bytes of drawings"),
    "origins_real": partial(_origins, "origins", "real", "bytes of pictures as they are"),
    "origins_converted": partial(_origins, "origins_converted", "converted", "bytes of three photographs by ffmpeg"),
}


def filled(text: str) -> str:
    """Return the text with every table made anew."""

    def table(match: re.Match[str]) -> str:
        make = TABLES.get(match[1])
        return f"<!-- {match[1]} -->\n\n{make()}\n\n<!-- end -->" if make else match[0]

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> int:
    """Rewrite the files; return the exit code."""
    for path in FILLED:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
