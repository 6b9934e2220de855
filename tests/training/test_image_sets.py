"""Image sets are read from the files in which they are published; damaged, missing and hostile ones are refused."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pixcodec.errors import TrainingError
from pixcodec.training import image_sets
from pixcodec.training.image_sets import Batches, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MNIST = {"train-images-idx3-ubyte": 12, "t10k-images-idx3-ubyte": 5}


def pixels(*shape: int, seed: int = 0, levels: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, levels, shape, np.uint8)


def flat(images: np.ndarray) -> np.ndarray:
    """[N, S, S, 3] as CIFAR-10 and ImageNet have it: rows of the red plane, then the green one, then the blue one."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_binarized_npz(folder: Path) -> Sequence[np.ndarray]:
    parts = [pixels(n, 28, 28, 1, seed=n, levels=2) for n in (6, 3, 4)]
    packed = {name: np.packbits(x.reshape(len(x), -1), axis=1) for name, x in zip(PARTS, parts, strict=True)}
    np.savez_compressed(folder / "binarized_mnist.npz", **packed)
    return parts


def write_binarized_amat(folder: Path) -> Sequence[np.ndarray]:
    parts = [pixels(n, 28, 28, 1, seed=n, levels=2) for n in (6, 3, 4)]
    for name, part in zip(PARTS, parts, strict=True):
        lines = [" ".join(map(str, image.ravel())) for image in part]
        (folder / f"binarized_mnist_{name}.amat").write_text("\n".join(lines) + "\n")
    return parts


PARTS = ("train", "valid", "test")


def idx(images: np.ndarray) -> bytes:
    return struct.pack(">IIII", 2051, *images.shape[:3]) + images.tobytes()


def write_mnist(folder: Path, suffix: str = "") -> Sequence[np.ndarray]:
    parts = [pixels(n, 28, 28, 1, seed=n) for n in MNIST.values()]
    for name, images in zip(MNIST, parts, strict=True):
        data = idx(images)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    return parts[0][:6], parts[0][6:], parts[1]


def write_mnist_gz(folder: Path) -> Sequence[np.ndarray]:
    return write_mnist(folder, ".gz")


def cifar_parts() -> tuple[list[np.ndarray], np.ndarray]:
    return [pixels(2, 32, 32, 3, seed=n) for n in range(5)], pixels(3, 32, 32, 3, seed=9)


def write_cifar_python(folder: Path) -> Sequence[np.ndarray]:
    batches, test = cifar_parts()
    for name, images in [*((f"data_batch_{n}", batch) for n, batch in enumerate(batches, 1)), ("test_batch", test)]:
        entry = {"data": flat(images), "labels": [3] * len(images), "batch_label": name, "filenames": ["a.png"]}
        (folder / name).write_bytes(pickle.dumps(entry, protocol=2))
    train = np.concatenate(batches)
    return train[:5], train[5:], test


def write_cifar_binary(folder: Path) -> Sequence[np.ndarray]:
    batches, test = cifar_parts()
    named = [*((f"data_batch_{n}.bin", batch) for n, batch in enumerate(batches, 1)), ("test_batch.bin", test)]
    for name, images in named:
        labels = np.full((len(images), 1), 7, np.uint8)
        (folder / name).write_bytes(np.concatenate([labels, flat(images)], axis=1).tobytes())
    train = np.concatenate(batches)
    return train[:5], train[5:], test


def write_strips(folder: Path) -> Sequence[np.ndarray]:
    """Two strips of four images, one of them black; one strip of three for the test, one of them black."""
    train, test = pixels(8, 32, 32, 3, seed=1), pixels(3, 32, 32, 3, seed=2)
    train[5], test[0] = 0, 0
    for name, images in (("train_000", train[:4]), ("train_001", train[4:]), ("test_000", test)):
        Image.fromarray(images.reshape(-1, 32, 3)).save(folder / f"{name}.webp", lossless=True, exact=True)
    there = np.delete(train, 5, axis=0)
    return there[:4], there[4:], test[1:]


def write_imagenet(folder: Path, side: int) -> Sequence[np.ndarray]:
    batches = {n: pixels(2, side, side, 3, seed=n) for n in (1, 2, 10)}  # 10 comes last, not after 1
    for n, images in batches.items():
        np.savez(folder / f"train_data_batch_{n}.npz", data=flat(images), labels=np.ones(len(images)))
    test = pixels(3, side, side, 3, seed=99)
    np.savez(folder / "val_data.npz", data=flat(test), labels=np.ones(len(test)))
    train = np.concatenate(list(batches.values()))
    return train[:3], train[3:], test


def write_pictures(folder: Path, mode: str) -> Sequence[np.ndarray]:
    images = pixels(22, 5, 7, 3 if mode == "RGB" else 1, levels=2 if mode == "1" else 256)
    (folder / "more").mkdir()
    for n, image in enumerate(images):
        picture = Image.fromarray(image if mode == "RGB" else image[:, :, 0] * np.uint8(255 if mode == "1" else 1))
        picture.convert(mode).save(folder / ("more" if n % 2 else "") / f"{n:02}.png")
    order = [*range(0, 22, 2), *range(1, 22, 2)]  # by path: those in the folder `more` last
    return images[order][:-1], images[order][-1:], images[order][-1:]


WRITERS: dict[str, tuple[str, Callable[[Path], Sequence[np.ndarray]]]] = {
    "binarized MNIST, packed": ("binarized_mnist", write_binarized_npz),
    "binarized MNIST, amat": ("binarized_mnist", write_binarized_amat),
    "MNIST": ("mnist", write_mnist),
    "MNIST, gz": ("mnist", write_mnist_gz),
    "CIFAR-10, python": ("cifar10", write_cifar_python),
    "CIFAR-10, binary": ("cifar10", write_cifar_binary),
    "CIFAR-10, strips": ("cifar10", write_strips),
    "ImageNet 32": ("imagenet32", lambda folder: write_imagenet(folder, 32)),
    "ImageNet 64": ("imagenet64", lambda folder: write_imagenet(folder, 64)),
    "a folder in colour": ("images", lambda folder: write_pictures(folder, "RGB")),
    "a folder in gray": ("images", lambda folder: write_pictures(folder, "L")),
    "a folder in black and white": ("images", lambda folder: write_pictures(folder, "1")),
}
BILEVEL = {"binarized MNIST, packed", "binarized MNIST, amat", "a folder in black and white"}


@pytest.mark.parametrize("form", WRITERS)
def test_a_set_is_read_in_its_published_form(form: str, tmp_path: Path) -> None:
    name, write = WRITERS[form]
    expected = write(tmp_path)
    found = load(name, str(tmp_path))
    for part, images in zip((found.train, found.validation, found.test), expected, strict=True):
        assert part.dtype == np.uint8
        np.testing.assert_array_equal(part, images)
    assert found.levels == (2 if form in BILEVEL else 256)


def test_black_images_of_strips_are_missing_ones_and_that_is_said(tmp_path: Path) -> None:
    write_strips(tmp_path)
    assert load("cifar10", tmp_path).about == "2 of 3 test images, 1 of the training images missing"


def test_the_validation_part_is_what_is_published_where_there_is_enough(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels(20_100, 1, 1, 1)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(pixels(3, 1, 1, 1)))
    found = load("mnist", tmp_path)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [10_100, 10_000, 3]


def refused(name: str, folder: Path) -> str:
    """The one line that says why the set cannot be used."""
    with pytest.raises(TrainingError) as caught:
        load(name, folder)
    (line,) = str(caught.value).splitlines()
    assert str(folder) in line
    return line


@pytest.mark.parametrize("form", WRITERS)
def test_a_set_with_a_missing_file_is_refused(form: str, tmp_path: Path) -> None:
    name, write = WRITERS[form]
    refused(name, tmp_path / "nowhere")
    refused(name, tmp_path)
    if name == "images":
        return
    write(tmp_path)
    lost = max(tmp_path.iterdir()) if "strips" not in form else tmp_path / "test_000.webp"
    lost.unlink()
    refused(name, tmp_path)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("damage", ["empty", "half", "other", "changed"])
def test_a_damaged_file_is_refused_or_still_gives_images(form: str, damage: str, tmp_path: Path) -> None:
    name, write = WRITERS[form]
    write(tmp_path)
    path = min(p for p in tmp_path.rglob("*") if p.is_file())
    data = path.read_bytes()
    if damage == "changed":  # a byte anywhere: some of them are pixels, so it may do no harm
        for place in np.random.default_rng(1).integers(0, len(data), 40):
            path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
            with contextlib.suppress(TrainingError):
                found = load(name, tmp_path)
                assert found.train.dtype == np.uint8
                assert max(found.train.max(), found.test.max()) < found.levels
        return
    half = data[: len(data) // 2 + 3]
    path.write_bytes({"empty": b"", "half": half, "other": b"PK\x03\x04 this is no image set" * 9}[damage])
    if form == "binarized MNIST, amat" and damage == "empty":
        with pytest.warns(UserWarning, match="no data"):
            refused(name, tmp_path)
        return
    refused(name, tmp_path)


class Hostile:
    """What would run a command if it were unpickled as usual."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    write_cifar_python(tmp_path)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps({"data": Hostile(tmp_path / "ran")}, protocol=2))
    assert "system does not belong into an image set" in refused("cifar10", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_array_of_objects_is_not_unpickled_from_an_archive(tmp_path: Path) -> None:
    write_imagenet(tmp_path, 32)
    np.savez(tmp_path / "val_data.npz", data=np.array([Hostile(tmp_path / "ran")], object))
    refused("imagenet32", tmp_path)
    assert not (tmp_path / "ran").exists()


def bad_mnist(folder: Path, data: bytes) -> str:
    write_mnist(folder)
    (folder / "t10k-images-idx3-ubyte").write_bytes(data)
    return "mnist"


def other_values(folder: Path) -> str:
    write_binarized_amat(folder)
    (folder / "binarized_mnist_test.amat").write_text(" ".join(["2"] * 784) + "\n")
    return "binarized_mnist"


def other_type(folder: Path) -> str:
    write_imagenet(folder, 32)
    np.savez(folder / "val_data.npz", data=np.zeros((3, 3 * 32 * 32)))
    return "imagenet32"


def other_side(folder: Path) -> str:
    write_imagenet(folder, 64)
    return "imagenet32"


def no_archive(folder: Path) -> str:
    write_imagenet(folder, 32)
    with (folder / "val_data.npz").open("wb") as stream:
        np.save(stream, np.zeros((3, 3072), np.uint8))
    return "imagenet32"


def no_data(folder: Path) -> str:
    write_imagenet(folder, 32)
    with zipfile.ZipFile(folder / "val_data.npz", "w") as archive:
        archive.writestr("readme", "nothing")
    return "imagenet32"


def wide_strips(folder: Path) -> str:
    write_strips(folder)
    Image.fromarray(pixels(32, 64, 3)).save(folder / "test_000.webp", lossless=True)
    return "cifar10"


def other_sizes(folder: Path) -> str:
    write_pictures(folder, "L")
    Image.fromarray(pixels(6, 7)).save(folder / "larger.png")
    return "images"


def other_modes(folder: Path) -> str:
    write_pictures(folder, "L")
    Image.fromarray(pixels(5, 7, 3)).save(folder / "colour.png")
    return "images"


def one_picture(folder: Path) -> str:
    Image.fromarray(pixels(6, 7)).save(folder / "only.png")
    return "images"


WRONG: dict[str, tuple[Callable[[Path], str], str]] = {
    "labels for images": (lambda folder: bad_mnist(folder, struct.pack(">IIII", 2049, 1, 1, 1) + b"x"), "no IDX file"),
    "fewer images than said": (lambda folder: bad_mnist(folder, idx(pixels(2, 3, 3, 1))[:-1]), "33 bytes"),
    "more bytes than images": (lambda folder: bad_mnist(folder, idx(pixels(2, 3, 3, 1)) + b"x"), "35 bytes"),
    "values above 1": (other_values, "784 bits"),
    "numbers of another type": (other_type, "found float64"),
    "images of another side": (other_side, "expected rows of 3072 bytes"),
    "no archive": (no_archive, "imagenet32"),
    "an archive of something else": (no_data, "data"),
    "strips two images wide": (wide_strips, "32 pixels wide, found 64"),
    "pictures of two sizes": (other_sizes, "one size and mode"),
    "pictures of two modes": (other_modes, "one size and mode"),
    "one picture": (one_picture, "an empty part"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_are_not_what_they_should_be_are_refused(case: str, tmp_path: Path) -> None:
    write, reason = WRONG[case]
    name = write(tmp_path)
    with pytest.raises(TrainingError, match=reason):
        load(name, tmp_path)
    refused(name, tmp_path)


def test_a_set_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no image set 'pebbles'; choose one of binarized_mnist, "):
        load("pebbles", tmp_path)


def numbered(count: int) -> np.ndarray:
    """Images [N, 1, 2, 1] that say which they are, in the left pixel, and that are mirrored if it is the right one."""
    images = np.zeros((count, 1, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(count) + 1
    return images


def which(batch: np.ndarray) -> list[int]:
    return (batch.max(axis=(1, 2, 3)) - 1).tolist()


def test_an_epoch_is_a_permutation_and_each_is_another() -> None:
    made = Batches(numbered(20), {"batch": 4, "seed": 3})
    epochs = [[n for number in range(5 * e, 5 * e + 5) for n in which(made.make(number))] for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
    assert len({tuple(epoch) for epoch in [*epochs, range(20)]}) == 4
    other = Batches(numbered(20), {"batch": 4, "seed": 4})
    assert which(other.make(0)) != which(made.make(0))


def test_what_does_not_fill_a_batch_waits_for_another_epoch() -> None:
    made = Batches(numbered(11), {"batch": 4})
    seen: set[int] = set()
    for epoch in range(12):
        chosen = [n for number in range(2 * epoch, 2 * epoch + 2) for n in which(made.make(number))]
        assert len(set(chosen)) == 8
        seen |= set(chosen)
    assert seen == set(range(11))


def test_a_batch_is_the_same_whenever_it_is_made_so_that_training_resumes() -> None:
    data = {"batch": 3, "seed": 1, "flip": True}
    made = Batches(numbered(10), data)
    every = [batch for _, batch in zip(range(9), made.run(0), strict=False)]
    resumed = [batch for _, batch in zip(range(4), Batches(numbered(10), data).run(5), strict=False)]
    np.testing.assert_array_equal(np.stack(every[5:]), np.stack(resumed))
    np.testing.assert_array_equal(made.make(2), every[2])
    assert every[0].shape == (3, 1, 1, 2)
    assert every[0].dtype == np.uint8
    assert every[0].flags.c_contiguous
    assert made.pixels == 3 * 2


def test_flip_mirrors_about_half_of_the_images_each_epoch_others() -> None:
    plain, made = (Batches(numbered(200), {"batch": 100, "flip": flip}) for flip in (False, True))
    mirrored = []
    for number in range(4):
        batch = made.make(number)
        mirrored.append((batch[:, 0, 0, 1] > 0).tolist())
        unmirrored = np.where(batch[..., 1:] > 0, batch[..., ::-1], batch)
        np.testing.assert_array_equal(unmirrored, plain.make(number))
        assert 30 < sum(mirrored[-1]) < 70
        assert not plain.make(number)[..., 1].any()
    assert mirrored[0] != mirrored[2]


@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_several_processes_are_disjoint_and_together_an_epoch(world: int) -> None:
    parts = [Batches(numbered(24), {"batch": 2, "seed": 7}, rank, world) for rank in range(world)]
    chosen = [n for number in range(12 // world) for part in parts for n in which(part.make(number))]
    assert sorted(chosen) == list(range(24))
    alone = Batches(numbered(24), {"batch": 2 * world, "seed": 7})
    assert chosen == [n for number in range(12 // world) for n in which(alone.make(number))]


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(TrainingError, match="a batch of 9 needs as many images, found 8"):
        image_sets.Batches(numbered(8), {"batch": 9})
