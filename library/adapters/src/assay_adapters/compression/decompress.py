"""Takes gzip (RFC 1952) and Zstandard (RFC 8878) off a stream of bytes."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import zstandard

from assay.domain.errors import Unreadable

BLOCK: Final = 1 << 20
"""Bytes of a block handed out, at most."""

# A decompressor hands out all that its input holds at once, so the input is given to it in slices.
# The densest are 4 bytes for a block of 128 KiB in Zstandard (16 MiB a slice), 1:1032 in gzip.
_SLICE: Final = 512
# The largest window that zstd accepts unasked; a file may declare gigabytes.
_WINDOW: Final = 1 << 27
# What such files begin with, and the suffix that they need.
_MAGIC: Final = {b"\x1f\x8b": (".gz", "gzip"), b"\x28\xb5\x2f\xfd": (".zst", "Zstandard")}


class _Stream(Protocol):
    """One gzip member or Zstandard frame on its way."""

    def decompress(self, data: bytes, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def decompress(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a file: by its suffix `.gz` or `.zst` (in any case), else its own bytes.

    Files of several gzip members or Zstandard frames are read to their end; zero bytes that pad a
    gzip file are no content. Memory stays bounded whatever the file expands to.

    Args:
        name: the file's name or URI.
        blocks: the file's bytes.

    Returns:
        Its content in blocks of at most `BLOCK` bytes; blocks that are not compressed are handed
        through as they are.

    Raises:
        Unreadable: the file is compressed and its name does not say so, or it is cut short or
            damaged, or something else follows in it. What can be
            read before that has been handed out, but for the last half KiB before damage. Damage
            within a Zstandard frame that was written without a checksum may go unnoticed.
    """
    lower = name.lower()
    if lower.endswith(".gz"):
        return _grouped(_pieces(name, blocks, _gzip_member, padding=b"\0"))
    if lower.endswith(".zst"):
        return _grouped(_pieces(name, blocks, _zstandard_frame, padding=b""))
    return _plain(name, blocks)


def _plain(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for number, block in enumerate(blocks):
        if number == 0:
            for magic, (suffix, kind) in _MAGIC.items():
                if block.startswith(magic):
                    raise Unreadable(
                        f"{name} is compressed ({kind}): its name must end in {suffix}"
                    )
        yield block


def _gzip_member() -> _Stream:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _zstandard_frame() -> _Stream:
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()


def _pieces(
    name: str, blocks: Iterator[bytes], start: Callable[[], _Stream], padding: bytes
) -> Iterator[bytes]:
    stream = start()
    for each in _slices(blocks):
        piece = each
        while piece:
            if stream.eof:
                piece = piece.lstrip(padding)
                if not piece:
                    break
                stream = start()
            try:
                content = stream.decompress(piece)
            except (zlib.error, zstandard.ZstdError) as error:
                raise Unreadable(f"{name} is damaged: {error}") from error
            yield content
            piece = stream.unused_data if stream.eof else b""
    if not stream.eof:
        raise Unreadable(f"{name} is cut short: its compressed data does not end")


def _slices(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        for start in range(0, len(block), _SLICE):
            yield block[start : start + _SLICE]


def _grouped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    try:
        for piece in pieces:
            held += piece
            while len(held) >= BLOCK:
                yield bytes(held[:BLOCK])
                del held[:BLOCK]
    except Unreadable:
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)
