"""A file that changes only when it is told to, and so that it can be read whenever the writer is killed.

HDF5 writes to its file whenever it likes.  A process that is killed between two of its writes leaves a file that may
not open; a disk that is full leaves one that surely does not ("truncated file"), and an HDF5 library that can no
longer close it.  Here HDF5 writes into memory, and :meth:`StagedFile.commit` brings the changes to the disk.

A small file is written anew and takes the old one's name, which happens at once.  A large one is changed where it
lies: first what is new, behind the end of what is there and so out of sight of every reader; then a journal beside the
file, which holds the pages that change; then these pages, the first one (which says where the file ends) before the
others, from last to first, as HDF5 puts what points behind what it points to.  Killed among these (they take about
0.1 ms), the file may show an index of which half is written; the journal, still there, has the other half.  Whoever
opens the file by this class sees it with the journal's pages: no moment is exposed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
from typing import Any

PAGE = 4096
"""Bytes that the system writes whole or not at all when a process is killed."""

SMALL = 1 << 20
"""A file of at most so many bytes is written anew at every commit."""


_HEAD = struct.Struct("<8s32sqqq")
_MAGIC = b"neuroeqJ"
"""A journal: magic, SHA-256 of the rest, base, end and page count; page numbers; the pages, each of ``PAGE`` bytes."""


class StagedFile(io.RawIOBase):
    """A file whose writes wait in memory until they are committed.

    Args:
        path: the file.
        mode: ``"x"`` makes it, and it must not exist; ``"r+"`` goes on with one that a writer has left, its journal
            included; ``"r"`` only looks, and leaves a journal to its writer.

    Raises:
        OSError: the file exists or cannot be made; from :meth:`commit`, it cannot be written.  What was committed
            before is then still there, unless the disk failed in a page that it had taken before.
    """

    def __init__(self, path: str | os.PathLike[str], mode: str = "x") -> None:
        super().__init__()
        self._path = os.fspath(path)
        flags = {"x": os.O_RDWR | os.O_CREAT | os.O_EXCL, "r+": os.O_RDWR, "r": os.O_RDONLY}[mode]
        self._file = os.open(path, flags | os.O_CLOEXEC, 0o666)
        self._base = os.fstat(self._file).st_size  # Bytes that the last commit left on the disk.
        self._end = self._base  # Bytes of the file as HDF5 sees it.
        self._position = 0
        self._tail = bytearray()  # What lies behind the base.
        self._pages: dict[int, bytearray] = {}  # What changed before it.
        journal = None if mode == "x" else self._read_journal()
        if journal is not None:
            self._end, self._pages = journal
        if mode == "r":
            return
        if mode == "r+":
            self.commit()
        for left in (journal_of(path), journal_of(path) + ".new", self._path + ".new"):
            with contextlib.suppress(OSError):
                os.unlink(left)

    def commit(self) -> None:
        """Bring everything that was written to the disk."""
        if not self._tail and not self._pages and self._end == self._base:
            return
        if self._base <= SMALL:
            self._write_anew()
        else:
            self._write_in_place()
        self._base = self._end
        self._tail = bytearray()
        self._pages.clear()

    def _write_anew(self) -> None:
        whole = bytearray(self._end)
        self.seek(0)
        self.readinto(whole)
        fresh = self._path + ".new"
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            self._put(file, 0, whole)
            os.replace(fresh, self._path)
        except BaseException:
            os.close(file)
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        os.close(self._file)
        self._file = file

    def _write_in_place(self) -> None:
        try:
            self._put(self._file, self._base, self._tail)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._base)  # Half of it is of no use, and the disk may be full.
            raise
        if len(self._pages) > 1 or self._end < self._base:
            self._write_journal()
        for number in sorted(self._pages, key=lambda number: (number > 0, -number)):
            self._put(self._file, number * PAGE, self._pages[number])
        if self._end < self._base:
            os.ftruncate(self._file, self._end)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(journal_of(self._path))

    def _write_journal(self) -> None:
        content = bytearray(struct.pack(f"<{len(self._pages)}q", *self._pages))
        for page in self._pages.values():
            content += page.ljust(PAGE, b"\0")
        numbers = (self._base, self._end, len(self._pages))
        head = _HEAD.pack(_MAGIC, _journal_digest(numbers, content), *numbers)
        fresh = journal_of(self._path) + ".new"
        try:
            with open(fresh, "wb") as file:
                file.write(head + content)
            os.replace(fresh, journal_of(self._path))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._base)
            raise

    def _read_journal(self) -> tuple[int, dict[int, bytearray]] | None:
        """The end and the pages that a writer was about to bring into this file; None when there is nothing left."""
        try:
            with open(journal_of(self._path), "rb") as file:
                whole = file.read()
        except OSError:
            return None
        if len(whole) < _HEAD.size:
            return None
        magic, digest, base, end, count = _HEAD.unpack_from(whole)
        content = whole[_HEAD.size :]
        if magic != _MAGIC or digest != _journal_digest((base, end, count), content):
            return None
        if self._base < base:
            return None
        pages: dict[int, bytearray] = {}
        for i, number in enumerate(struct.unpack_from(f"<{count}q", content)):
            first, size = 8 * count + i * PAGE, min(PAGE, base - number * PAGE)
            page = self._on_disk(number)  # Behind the old end lies already what is new there.
            page[:size] = content[first : first + size]
            pages[number] = page
        return end, pages

    def _put(self, file: int, offset: int, data: bytearray) -> None:
        # Released even when the write fails: a bytearray that somebody looks at cannot grow.
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(file, view[done:], offset + done)

    # -- what HDF5 calls ---------------------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._end = self._position if size is None else size
        behind = max(0, self._end - self._base)
        del self._tail[behind:]
        self._tail.extend(bytes(behind - len(self._tail)))
        return self._end

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        offset = self._position
        before = max(0, min(len(view), self._base - offset))
        for place, start, stop in _pages(offset, offset + before):
            self._page(place)[start:stop] = view[place * PAGE + start - offset : place * PAGE + stop - offset]
        if before < len(view):
            start = offset + before - self._base
            self._tail.extend(bytes(max(0, start - len(self._tail))))
            self._tail[start : start + len(view) - before] = view[before:]
        self._position = offset + len(view)
        self._end = max(self._end, self._position)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        offset = self._position
        size = max(0, min(len(view), self._end - offset))
        before = max(0, min(size, self._base - offset))
        if before:
            view[:before] = os.pread(self._file, before, offset)
            for place, start, stop in _pages(offset, offset + before):
                if place in self._pages:
                    there = place * PAGE - offset
                    view[there + start : there + stop] = self._pages[place][start:stop]
        if before < size:
            start = offset + before - self._base
            view[before:size] = self._tail[start : start + size - before]
        self._position = offset + size
        return size

    def flush(self) -> None:
        """Nothing: only a commit reaches the disk."""

    def close(self) -> None:
        """Close the file; what was not committed is dropped."""
        if not self.closed:
            os.close(self._file)
            self._tail, self._end, self._base = bytearray(), 0, 0
            self._pages.clear()
        super().close()

    def _page(self, number: int) -> bytearray:
        if number not in self._pages:
            self._pages[number] = self._on_disk(number)
        return self._pages[number]

    def _on_disk(self, number: int) -> bytearray:
        size = min(PAGE, self._base - number * PAGE)
        return bytearray(os.pread(self._file, size, number * PAGE))


def journal_of(path: str | os.PathLike[str]) -> str:
    """Where a file's journal lies while the file is changed."""
    return os.fspath(path) + ".journal"


def _journal_digest(numbers: tuple[int, int, int], content: bytes | bytearray) -> bytes:
    return hashlib.sha256(struct.pack("<qqq", *numbers) + content).digest()


def _pages(start: int, stop: int) -> list[tuple[int, int, int]]:
    """The pages that the bytes ``start…stop`` lie in: number of the page, and first and last byte within it."""
    if start >= stop:
        return []
    return [
        (number, max(0, start - number * PAGE), min(PAGE, stop - number * PAGE))
        for number in range(start // PAGE, (stop - 1) // PAGE + 1)
    ]
