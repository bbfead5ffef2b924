"""Compressed files are read as the stream of what was compressed, within bounded memory."""

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.domain.errors import Unavailable, Unreadable
from assay_adapters.compression.decompress import BLOCK, decompress

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, mtime=0),
    # With the checksum, as the zstd command writes it.
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
LINES = b"".join(b"%d;a description;%d.50\n" % (number, number % 997) for number in range(60_000))


def blocks(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def readable(name: str, data: bytes) -> bytes:
    """What is handed out before the file turns out to be unreadable."""
    content = bytearray()
    with pytest.raises(Unreadable, match=name):  # noqa: PT012 - what came before it counts
        for block in decompress(name, blocks(data)):
            content += block
    return bytes(content)


@pytest.mark.parametrize("suffix", COMPRESS)
@given(
    parts=st.lists(st.binary(max_size=3_000), min_size=1, max_size=5),
    size=st.integers(1, 5_000),
)
@settings(max_examples=60)
def test_members_in_a_row_are_one_content(suffix: str, parts: list[bytes], size: int) -> None:
    """However the file is cut into blocks, empty members included."""
    data = b"".join(map(COMPRESS[suffix], parts))
    assert b"".join(decompress(f"a.csv{suffix}", blocks(data, size))) == b"".join(parts)


@pytest.mark.parametrize(
    "name", ["a.csv.gz", "A.CSV.GZ", "s3://bucket/in/a.gz", "file:///a.csv.gz"]
)
def test_the_suffix_decides(name: str) -> None:
    """In any case, of names and URIs."""
    assert b"".join(decompress(name, blocks(gzip.compress(LINES)))) == LINES


@pytest.mark.parametrize("name", ["a.csv", "a.gz.csv", "agz", "gz", "a.zst.part"])
def test_other_files_are_handed_through(name: str) -> None:
    """Block by block, whatever they hold."""
    data = b"x" + gzip.compress(LINES)
    assert list(decompress(name, blocks(data))) == list(blocks(data))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_blocks_are_bounded(suffix: str) -> None:
    """None is empty, and but for the last they are full."""
    sizes = [len(block) for block in decompress(f"a{suffix}", blocks(COMPRESS[suffix](LINES * 3)))]
    assert sum(sizes) == len(LINES) * 3
    assert set(sizes[:-1]) == {BLOCK}
    assert 0 < sizes[-1] <= BLOCK


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("cut", [1, 5, 20, 1_000, 50_000, -1, -4, -9])
def test_a_file_cut_short_gives_what_it_has(suffix: str, cut: int) -> None:
    """And then is unreadable; its last bytes are a checksum, its first a header."""
    data = COMPRESS[suffix](LINES)
    content = readable(f"a{suffix}", data[:cut])
    assert LINES.startswith(content)
    if suffix == ".gz":
        # gzip gives all that its bytes can tell; Zstandard gives whole blocks.
        assert content == zlib.decompressobj(31).decompress(data[:cut])
    if cut < 0:
        assert len(content) >= len(LINES) - 2 * (128 << 10)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_empty_file_is_cut_short(suffix: str) -> None:
    """Nothing is not a compressed nothing."""
    assert readable(f"a{suffix}", b"") == b""


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(
    "garbage", [b"\n", b"id;description\n", b"\x1f\x8b", b"\0\0x", b"x" * 5_000]
)
def test_something_else_at_the_end_is_an_error(suffix: str, garbage: bytes) -> None:
    """After all of the content has been handed out, or all but what came with the garbage."""
    content = readable(f"a{suffix}", COMPRESS[suffix](LINES) + garbage)
    assert content == LINES


def test_a_gzip_file_may_be_padded() -> None:
    """With zero bytes, as block devices do and gunzip accepts; also between members."""
    data = gzip.compress(LINES) + bytes(3_000) + gzip.compress(b"more") + bytes(700)
    assert b"".join(decompress("a.gz", blocks(data))) == LINES + b"more"


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_file_gives_what_comes_before(suffix: str) -> None:
    """A bit that is flipped in its middle."""
    frames = COMPRESS[suffix](LINES) + COMPRESS[suffix](LINES)
    middle = len(frames) * 3 // 4
    damaged = frames[:middle] + bytes([frames[middle] ^ 0x10]) + frames[middle + 1 :]
    content = readable(f"a{suffix}", damaged)
    assert len(content) >= len(LINES)
    assert content[: len(LINES)] == LINES


@pytest.mark.parametrize("suffix", COMPRESS)
def test_another_format_is_unreadable(suffix: str) -> None:
    """A file that only bears the name."""
    assert readable(f"a{suffix}", LINES) == b""


def test_frames_without_content_are_passed_over() -> None:
    """Zstandard's skippable frames, as parallel compressors write them."""
    skippable = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"index"
    data = skippable + zstandard.compress(LINES) + skippable
    assert b"".join(decompress("a.zst", blocks(data))) == LINES


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_bomb_takes_no_memory(suffix: str) -> None:
    """Half a GiB of zeros, which is some KiB on disk."""
    buffer = io.BytesIO()
    writer = (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9)
        if suffix == ".gz"
        else zstandard.ZstdCompressor(level=1).stream_writer(buffer, closefd=False)
    )
    with writer:
        for _ in range(512):
            writer.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        total = sum(map(len, decompress(f"a{suffix}", blocks(buffer.getvalue()))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 512 << 20
    assert peak < 64 << 20


def test_a_window_of_gigabytes_is_unreadable() -> None:
    """A frame may ask for more memory than a file deserves."""
    magic, descriptor, window = b"\x28\xb5\x2f\xfd", b"\0", bytes([(31 - 10) << 3])
    assert readable("a.zst", magic + descriptor + window + b"\x01\0\0") == b""


def test_an_outage_is_none_of_its_business() -> None:
    """It goes through as it is."""

    def breaking() -> Iterator[bytes]:
        yield gzip.compress(LINES)[:1_000]
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        list(decompress("a.gz", breaking()))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_must_be_named_so(suffix: str) -> None:
    """It is no text in an odd encoding; the message says which suffix it needs."""
    with pytest.raises(Unreadable, match=f"a.csv is compressed.*must end in {suffix}"):
        list(decompress("a.csv", blocks(COMPRESS[suffix](LINES))))
