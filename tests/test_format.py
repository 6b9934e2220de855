"""docs/format.md says what the code does: its example, tables and digests are read from the page and checked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import reference_coder

from pixcodec import archive, archive_codec, codec, container, models, names, regions
from pixcodec.exact import contexts, expert_memory, experts, joint_decisions, logistics, mixing, reference
from pixcodec.exact.emit import LANES
from pixcodec.exact.frequencies import EXP2
from pixcodec.exact.predict import COMPAND
from pixcodec.exact.reference import codec as reference_codec
from pixcodec.exact.reference import experts as reference_experts
from pixcodec.exact.reference import network as reference_network
from pixcodec.exact.reference import predict as reference_predict
from pixcodec.exact.reference import range_coder
from pixcodec.exact.tables import LOG2, SQUASH

if TYPE_CHECKING:
    from pixcodec.exact.network import Network

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")

EXP2_SHA256 = "860d6d9fa77ed4bd2a258cdd6d4190040a2e03653ee0eb51a323c80bae68cfa9"
COMPAND_SHA256 = "63bb96b7d8e13761fef566d5a153097773fa9d651c0ec81eabfbd51fdd708ed6"


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


@pytest.fixture
def network(tiny_models: None) -> Network:
    del tiny_models
    return models.load("model_tiny_rgb")


def block(kind: str) -> list[str]:
    """Lines of the page's only block of a kind."""
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return text.splitlines()


def says(page: str, *claims: str) -> None:
    """Check that a page has these words, wherever its lines end."""
    text = re.sub(r"\s+", " ", page)
    for claim in claims:
        assert claim in text


def table(kind: str) -> list[tuple[bytes, str, str]]:
    """Bytes, name and value in words of each line of a table of bytes, whose offsets are right."""
    lines, offset = [], 0
    for line in block(kind)[1:]:
        at, digits, name, value = re.fullmatch(
            r"(\d+) +((?:[0-9a-f]{2}(?: |$))+) *(\S+(?: \S+)*)?(?:  +(.*))?", line
        ).groups()
        assert int(at) == offset
        own = bytes.fromhex(digits)
        lines.append((own, name or "", value or ""))
        offset += len(own)
    return lines


def hex_table() -> tuple[bytes, dict[str, tuple[bytes, str]]]:
    """The example's bytes, and by field its bytes and its value in words."""
    lines = table("hex")
    return b"".join(own for own, _, _ in lines), {name: (own, value) for own, name, value in lines}


EXAMPLE, FIELDS = hex_table()
PIXELS = np.array([[int(n) for n in re.findall(r"\d+", line)] for line in block("pixels")], np.uint8).reshape(2, 3, 3)


def test_the_example_is_the_golden_file_and_decodes_to_the_pixels_beside_it() -> None:
    assert (GOLDEN / "example.pxc").read_bytes() == EXAMPLE
    decoded = codec.decode(EXAMPLE)
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(decoded.planes, PIXELS)
    assert codec.encode(PIXELS, "RGB", model="model_tiny_rgb", effort=1).data == EXAMPLE


def test_the_example_decodes_by_the_reference_alone(network: Network) -> None:
    np.testing.assert_array_equal(reference_coder.decode(EXAMPLE, network), PIXELS)
    assert reference_coder.encode(PIXELS, network, 1, 1, 0) == EXAMPLE


def test_every_field_of_the_example_is_what_the_page_says() -> None:
    header, (payload,) = container.unpack(EXAMPLE)
    names = [*FIELDS]
    fixed = "signature, version, mode, settings, width, height, tile width, tile height, model id, digest"
    assert names[:10] == fixed.split(", ")
    assert names[10:12] == ["tile checksum", "header checksum"]
    assert all(name == f"word {number}" for number, name in enumerate(names[12:]))
    assert b"".join(own for own, _ in [*FIELDS.values()][12:]) == payload
    numbers = {"version": 0, "mode": 1, "settings": 0, "width": header.width, "height": header.height}
    numbers |= {"tile width": header.tile_width // 16, "tile height": header.tile_height // 16}
    for name, number in numbers.items():
        own, value = FIELDS[name]
        assert int.from_bytes(own, "little") == number == int(re.match(r"\d+", value).group()), name
    for name, (own, value) in FIELDS.items():
        if value.startswith("0x"):
            assert int(value[:10], 16) == int.from_bytes(own, "little"), name
    assert FIELDS["model id"] == (header.model_id, f"of {header.model_id.hex()}..")
    assert FIELDS["digest"][0] == header.digest == container.digest(PIXELS, header.mode)


def test_the_symbols_of_the_example_are_coded_by_the_frequencies_on_the_page(network: Network) -> None:
    lines = [tuple(map(int, line.split())) for line in block("symbols")[1:]]
    places = list(reference_codec.order(*PIXELS.shape))
    assert [(y, x, c) for _, y, x, c, *_ in lines] == places
    predictions = reference_predict.predictions(PIXELS, network.parameters)
    _, centres = reference_network.logits(network, PIXELS, predictions)
    counts = reference_codec.counts(network, PIXELS)
    for (t, y, x, c, sample, q, below, frequency), place in zip(lines, places, strict=True):
        assert t == x + 2 * y
        assert (sample, q) == (PIXELS[place], centres[place])
        assert range_coder.interval(counts[y, x, c].tolist(), sample) == (below, frequency)


def test_the_predictions_and_logits_on_the_page_are_those_of_the_pixel(network: Network) -> None:
    parts = re.split(r"^(\w+ of \w+):", "\n".join(block("numbers")), flags=re.MULTILINE)[1:]
    said = {
        name: [int(n) for n in re.findall(r"-?\d+", text)] for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    predictions = reference_predict.predictions(PIXELS, network.parameters)
    logits, _ = reference_network.logits(network, PIXELS, predictions)
    expected = {
        f"predictions of {name}": predictions[1, 1, c].tolist() for c, name in enumerate(("red", "green", "blue"))
    }
    assert said == {**expected, "logits of green": logits[1, 1, 1].tolist()}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in GOLDEN.glob("*/card.json")))
def test_the_identity_is_made_as_the_page_says(name: str) -> None:
    identity = models.load(name).identity.hex()
    assert reference_coder.identity(GOLDEN / name) == identity
    assert (identity in PAGE) == (name == "model_tiny_rgb")


def test_the_layout_in_the_code_is_the_table_on_the_page() -> None:
    code = re.findall(r"^    (\d+\S*) +([\d(]\S*(?: \(n - 1\)| n)?|\.\.\.)  +\S", container.__doc__, flags=re.MULTILINE)
    page = re.findall(r"^\| (\d+(?: \+ 8n| \+ 4n)?) \|", PAGE[: PAGE.index("## 2.")], flags=re.MULTILINE)
    offsets = [offset.replace(" ", "") for offset in page]
    assert offsets == ["0", "8", "9", "10", "11", "15", "19", "21", "23", "31", "47", "43+4n", "43+8n", "47+8n"]
    assert [offset for offset, _ in code] == offsets


PICTURES = {
    line.split()[0]: np.array([[[int(n)] for n in re.findall(r"\((\d+)\)", line)]], np.uint8)
    for line in block("pictures")
}


def test_the_archive_on_the_page_is_the_golden_one_and_decodes_to_the_pictures_beside_it() -> None:
    data = b"".join(own for own, _, _ in table("archive"))
    assert (GOLDEN / "archives" / "example.pxc").read_bytes() == data
    decoded = list(archive_codec.decode(data))
    assert [each.name for each in decoded] == list(PICTURES)
    for each in decoded:
        assert each.mode == "L"
        np.testing.assert_array_equal(each.planes, PICTURES[each.name])
    images = [archive_codec.NamedImage(name, planes, "L") for name, planes in PICTURES.items()]
    assert archive_codec.encode(images, model="model_tiny_gray", effort=1).data == data


def test_every_field_of_the_archive_is_what_the_page_says() -> None:
    lines = table("archive")
    data = b"".join(own for own, _, _ in lines)
    header = archive.read_header(data)
    for own, name, value in lines:
        if value.startswith("0x"):
            assert int(value[:10], 16) == int.from_bytes(own, "little"), name
        elif value.startswith("`"):
            assert own.decode() == value.strip("`")
        elif re.match(r"\d", value):
            assert int(re.match(r"\d+", value).group()) == int.from_bytes(own, "little"), name
    assert (lines[-1][1], lines[3][1]) == ("words", "directory")
    assert [own for own, name, _ in lines if name == "digest"] == [each.digest for each in header.blocks]
    assert [int(value.split()[0]) for _, name, value in lines if name == "bytes"] == [
        each.stop - each.start for each in header.stored
    ]


def test_the_streams_of_the_archive_decode_by_the_reference_alone() -> None:
    network = models.load("model_tiny_gray")
    words = [own for own, name, _ in table("archive") if name == "words"]
    for stream, planes in zip(words, PICTURES.values(), strict=True):
        np.testing.assert_array_equal(reference_coder.tile(stream, network, planes.shape, 0), planes)


def test_the_limits_and_constants_of_archives_are_those_on_the_page() -> None:
    section = PAGE[PAGE.index("## 8. Archives") :]
    for number in (archive.MAX_DIRECTORY_BYTES, archive.MAX_IMAGES, archive.MAX_BLOCKS, archive.MAX_BLOCK_SAMPLES):
        assert f"2^{number.bit_length() - 1}" in section
        assert number.bit_count() == 1
    assert f"2^{names.MAX_TOTAL_BYTES.bit_length() - 1}" in section
    assert f"{names.MAX_NAME_BYTES} bytes" in section
    assert f"1..{names.MAX_PART_BYTES} bytes" in section
    assert f"{archive_codec.BLOCK_IMAGES} pictures and {archive_codec.BLOCK_SAMPLES:,} samples" in section
    says(PAGE, f"each {regions.STACK} of them")


def test_exp2_is_pinned_and_rounded_to_the_nearest_integer() -> None:
    assert hashlib.sha256(EXP2.astype("<u4").tobytes()).hexdigest() == EXP2_SHA256
    assert EXP2_SHA256 in PAGE
    for f, entry in enumerate(EXP2.tolist()):  # entry - 1/2 < 2^(24 - f/256) < entry + 1/2, to the power of 256
        assert (2 * entry - 1) ** 256 < 1 << 25 * 256 - f < (2 * entry + 1) ** 256


def test_powers_of_two_are_made_as_on_the_page() -> None:
    found = {int(k): float.fromhex(number) for k, number in re.findall(r"c_(\d) = (0x\S+)", PAGE)}
    assert (*(found[k] for k in (4, 3, 2, 1)), 1.0) == logistics.POWER
    says(
        PAGE,
        f"max(o_0, o_1, o_2), -{logistics.FAR * 256})",
        f"clamp(-o_(6+k), -{logistics.OCTAVES * 256}, {logistics.OCTAVES * 256})",
        f"* h_k, -{logistics.FAR}, {logistics.FAR})",
        f"a_k * ({logistics.ERROR} / (X + 1))",
        f"to -{logistics.LARGEST_ERROR}..{logistics.LARGEST_ERROR}, then",
    )
    assert np.float32(0.69314718) == logistics.LN2
    assert np.float32(1 / (2**24 - 256)) == logistics.ONE_COUNT


def test_compand_is_pinned_and_is_the_formula_on_the_page() -> None:
    assert hashlib.sha256(COMPAND.tobytes()).hexdigest() == COMPAND_SHA256
    assert COMPAND_SHA256 in PAGE
    assert COMPAND.dtype == np.int8
    for index, code in enumerate(COMPAND.tolist()):
        difference = index - 4080
        m = abs(difference) + 16
        s = int(np.floor(np.log2(m))) - 4
        size = min(16 * s + (m >> s) - 16, 127)
        assert code == (size if difference > 0 else -size)


@pytest.mark.parametrize("values", [LOG2, SQUASH])
def test_the_tables_of_logarithms_are_those_on_the_page(values: np.ndarray) -> None:
    assert hashlib.sha256(values.astype("<i4").tobytes()).hexdigest() in EXPERTS


EXPERTS = PAGE[PAGE.index("## 10. Experts") :]


def test_the_constants_of_experts_are_those_on_the_page() -> None:
    states: list[int] = []
    for line in block("states")[1:]:
        row = re.match(r"(\d+)(?:\.\.(\d+))? +(\d+) ", line)
        if row:
            first, last, number = int(row[1]), int(row[2] or row[1]), int(row[3])
            assert first == len(states)
            states += [number] * (last - first + 1)
    assert tuple(states) == reference_experts.STATES == tuple(expert_memory.STATES.tolist())
    assert [line.split()[0] for line in block("contexts")[1:]] == [str(n) for n in range(expert_memory.LISTS)]
    says(
        EXPERTS,
        f"decisions of up to {expert_memory.TOGETHER} samples",
        f"same y div {expert_memory.TOGETHER} are",
        f"learns from {LANES} samples of the group",
        f"k = 0 .. {expert_memory.TOGETHER - 1}, is",
        f"l > 2^24 - 2^{joint_decisions.NEARLY.bit_length() - 1}.",
        f"x_0 .. x_{LANES - 1} = 2^24",
        f"uint32[C, {expert_memory.MAP_SIZE}]",
        f"uint32[C, {expert_memory.NODES * expert_memory.BUCKETS}]",
        f"clamp(x, -{expert_memory.LIMIT}, {expert_memory.LIMIT})",
        f"is {expert_memory.SURE << 5} at first",
        f"trust = max(trust - {mixing.TRUST_BACK} R, {expert_memory.SURE << 5})",
        f"trust + {mixing.FALSE_TRUST}, {mixing.MOST_TRUST})",
        f"(Z - 13312), -{mixing.INPUT_LIMIT}, {mixing.INPUT_LIMIT})",
        f"of {experts.EXPERTS + 1} weights, ({expert_memory.EXPERT_WEIGHT}, .., {expert_memory.EXPERT_WEIGHT}, "
        f"{expert_memory.WEIGHT_UNIT})",
        f"all {expert_memory.WEIGHT_UNIT // expert_memory.SETS} at first",
        f"clamp(I >> {mixing.MIX_BITS}, -{expert_memory.LIMIT}, {expert_memory.LIMIT})",
        f"((y_k e) >> {mixing.SECOND_RATE}), -2^30, 2^30), e = (2^24 bit - squash(m)) >> {24 - mixing.ERROR_BITS}",
        f"((i_i e_k) >> {mixing.RATE}), -2^30, 2^30) of row k, e_k = (2^24 bit - squash(y_k)) >> "
        f"{24 - mixing.ERROR_BITS}",
        f"squash(m) if |m| >= {mixing.SURE_OF_LAST}",
        f"bit, {mixing.COUNTER_LIMIT})",
        f"bit, {mixing.MAP_LIMIT})",
        f"k = min(k + 1, {contexts.LONGEST})",
        f"2^{expert_memory.LIST_BITS} slots",
        f"of 2^{expert_memory.MATCH_BITS} entries",
    )
    assert mixing.WEIGHT_LIMIT == 1 << 30
    assert joint_decisions.NEARLY.bit_count() == 1


def test_the_decisions_of_the_example_with_experts_are_those_on_the_page(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = GOLDEN / "rgb_5x3_experts.pxc"
    planes, place = codec.decode(path.read_bytes()).planes, (1, 2)
    hashes: list[list[int]] = []
    ours: list[reference_experts.Lane] = []
    said: list[list[int]] = []
    look, prepared = reference_experts.Experts._look, reference_experts.Experts._prepared
    contexts_of = reference_experts.Experts._contexts

    def hashed(self: reference_experts.Experts, *arguments: object) -> list[int]:
        own = contexts_of(self, *arguments)
        if arguments[1:3] == place:
            hashes.append(own)
        return own

    def looked(self: reference_experts.Experts, *arguments: object) -> reference_experts.Lane:
        lane = look(self, *arguments)
        if arguments[1:3] == place:
            ours.append(lane)
        return lane

    def decided(
        self: reference_experts.Experts, lane: reference_experts.Lane, channel: int, depth: int
    ) -> reference_experts.Decision:
        decision = prepared(self, lane, channel, depth)
        if ours and lane is ours[-1]:
            said.append([channel, lane.node, decision.odds, decision.p, lane.value >> (7 - depth) & 1])
        return decision

    monkeypatch.setattr(reference_experts.Experts, "_contexts", hashed)
    monkeypatch.setattr(reference_experts.Experts, "_look", looked)
    monkeypatch.setattr(reference_experts.Experts, "_prepared", decided)
    assert reference_coder.encode(planes, network, 1, 1, container.EXPERTS) == path.read_bytes()
    assert [line.split()[1:] for line in block("hashes")] == [[f"{n:08x}" for n in own] for own in hashes]
    assert [[int(n) for n in line.split()] for line in block("decisions")[1:]] == said
    counts = reference_codec.counts(network, planes)[place]
    for number, (channel, node, odds, _, bit) in enumerate(said):
        depth, value = number % 8, int(planes[place][channel])
        size = 128 >> depth
        n0, n1 = (int(counts[channel].reshape(-1, size)[2 * node - (2 << depth) + k].sum()) + size for k in (0, 1))
        assert odds == reference_experts.logarithm(n1) - reference_experts.logarithm(n0)
        assert (channel, node, bit) == (number // 8, (256 | value) >> (8 - depth), value >> (7 - depth) & 1)


def test_the_reference_says_where_it_is_specified() -> None:
    folder = Path(reference.__file__).parent
    assert f"`{folder.relative_to(ROOT).as_posix()}/`" in PAGE
