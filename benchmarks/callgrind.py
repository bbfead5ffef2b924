"""Asks Callgrind to count: https://valgrind.org/docs/manual/cl-manual.html.

A program talks to the tool that it runs under by a sequence of instructions that does nothing
elsewhere; C has macros for it (`valgrind.h`, `callgrind.h`). Known here is the one of x86-64.
"""

import ctypes
import mmap
from typing import Final

MACHINE: Final = "x86_64"

_SEQUENCE: Final = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the request, as a function is given its argument
    "31d2"  # xor edx, edx: the answer where nobody listens
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 3, 13, 61, 51: by 128 in all
    "4887db"  # xchg rbx, rbx: here the tool takes over
    "c3"  # ret
)
_TOOL: Final = ord("C") << 24 | ord("T") << 16
_DUMP_AT: Final = _TOOL + 3
_START: Final = _TOOL + 4


class Counter:
    """Counts the instructions of all threads, under Callgrind; elsewhere it does nothing."""

    def __init__(self) -> None:
        """Makes the sequence callable; of machines other than `MACHINE` it would be the end."""
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(_SEQUENCE)
        place = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(place)

    def start(self) -> None:
        """Counts from here on, at a fiftieth of the speed."""
        self._ask(_START, 0)

    def dump(self, name: str) -> None:
        """Writes down what was counted since the last time, under this name; begins at 0 again."""
        text = ctypes.create_string_buffer(name.encode())
        self._ask(_DUMP_AT, ctypes.addressof(text))

    def _ask(self, request: int, argument: int) -> None:
        asked = (ctypes.c_uint64 * 6)(request, argument)
        self._call(ctypes.addressof(asked))
