"""The log of a SQLite file (`-wal`), and the marks by which it is recognised as that of its file.

SQLite applies a log to whichever file is at its path: the log does not say of which file it is, and that of a process that was
killed stays when the file is replaced, by a backup for instance (https://www.sqlite.org/howtocorrupt.html, section 1.4). So each
transaction counts the commits in the first page, and each opening puts a random number there. A log thus has the first page of each
transaction; the first page of the file is one of them, or it is the one before the first. An inode would not do: it changes where a
volume is restored or copied, and it stays where a backup is copied over the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

SUFFIXES = ("", "-wal", "-shm")  # suffixes of the files of one database
TRIES = 20  # to see file and log between two changes of a process that uses them
# https://www.sqlite.org/fileformat2.html: a log has a header, and frames of a header and a page each
_HEADER, _FRAME = 32, 24
# Numbers in the first page, and where: two that SQLite leaves to its users, and one of its own
_NUMBERS = {"user_version": slice(60, 64), "application_id": slice(68, 72), "schema_version": slice(40, 44)}
_LIMIT, _HALF = 2**31, 2**16 - 1


class ForeignLog(sqlite3.DatabaseError):
    """The log at the path of a file belongs to another file. SQLite must not open the file."""


class Mark(NamedTuple):
    """A state of a file."""

    commits: int  # so many, modulo `_LIMIT`; 0 in a file from before there were marks
    opening: int  # random; the lower half is the upper half of the opening before
    schema: int  # SQLite's number of its changes; VACUUM INTO, which orders the pages anew, counts as one


def list_parts(path: Path) -> list[Path]:
    """Return where SQLite has the file, its log and its shared memory. It follows links first."""
    real = os.path.realpath(path)
    return [Path(f"{real}{suffix}") for suffix in SUFFIXES]


def mark_commit(db: sqlite3.Connection) -> None:
    """Mark the transaction that is open."""
    (commits,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version={(commits + 1) % _LIMIT}")


def mark_opening(db: sqlite3.Connection) -> None:
    """Mark the transaction that is open as one that follows no copy of the file that was made before."""
    (last,) = db.execute("PRAGMA application_id").fetchone()
    db.execute(f"PRAGMA application_id={_draw_number() & ~_HALF | last >> 16 & _HALF}")
    mark_commit(db)


def mark_copy(db: sqlite3.Connection) -> None:
    """Mark a copy of a file as another file."""
    db.execute(f"PRAGMA application_id={_draw_number()}")
    db.execute(f"PRAGMA user_version={_draw_number()}")


def _draw_number() -> int:
    return int.from_bytes(os.urandom(4), "big") % _LIMIT


def require_own_log(path: Path) -> None:
    """Raise ForeignLog if SQLite would apply the log of another file. Other processes may use the file; no lock is taken."""
    file, log, _ = list_parts(path)
    for _ in range(TRIES):
        if (before := _read_head(log)) is None:
            return
        mark = _read_mark(file)
        if _belongs(mark, _read_marks(log)) or not _has_commit(log) or _belongs(mark, _read_marks(log)):
            return  # the second look is for a frame that was half written
        if _read_head(log) == before and _read_mark(file) == mark:
            what = f"the log {log} belongs to another file than the one that is there now"
            raise ForeignLog(what if mark else f"the log {log} is there, but its file is not")


def _belongs(mark: Mark | None, marks: Iterator[Mark]) -> bool:
    """Return True if a log with these marks applies to a file with this one, or if it says nothing about it."""
    if mark is None:
        return False
    first = next(marks, mark)  # from before there were marks: no transaction needed to change the first page
    is_next = first[:2] == mark[:2] or _follows(first, mark)
    return (is_next and first.schema >= mark.schema) or any(each == mark for each in marks)


def _follows(mark: Mark, last: Mark) -> bool:
    """Return True if a file had this mark directly after the last one."""
    openings = (last.opening, mark.opening & ~_HALF | last.opening >> 16 & _HALF)
    return mark.commits == (last.commits + 1) % _LIMIT and mark.opening in openings


def _read_mark(file: Path) -> Mark | None:
    """Return the mark of a file, without what its log has; None if the file is missing or empty: SQLite would delete its log.

    SQLite reads it: a descriptor that is closed would end the locks that this process has on the file. Raises sqlite3.Error.
    """
    with suppress(FileNotFoundError):
        if os.stat(file).st_size > 0:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
                # The file may be shorter than it says, until its log is written back.
                db.execute("PRAGMA writable_schema=ON")
                return Mark(*(db.execute(f"PRAGMA {name}").fetchone()[0] for name in _NUMBERS))
    return None


def _read_head(log: Path) -> bytes | None:
    """Return the header of a log, which is another one after each restart of the log; None if the log has no frame."""
    try:
        with log.open("rb") as file:
            head = file.read(_HEADER + _FRAME)
    except FileNotFoundError:
        return None
    return head[:_HEADER] if len(head) == _HEADER + _FRAME and _is_log(head) else None


def _is_log(head: bytes) -> bool:
    return head[:3] == b"\x37\x7f\x06" and head[16:24] == head[_HEADER + 8 : _HEADER + 16]


def _has_commit(log: Path) -> bool:
    """Return True if the first transaction is whole, so that SQLite would apply it: a process may write it, or was killed then."""
    with suppress(FileNotFoundError), log.open("rb") as file:
        if len(head := file.read(_HEADER)) < _HEADER:  # it was emptied meanwhile
            return False
        order: Literal["big", "little"] = "big" if head[3] & 1 else "little"
        sums, page = _add(head[:24], (0, 0), order), int.from_bytes(head[8:12], "big")
        while len(frame := file.read(_FRAME + page)) == _FRAME + page and frame[8:16] == head[16:24]:
            sums = _add(frame[:8] + frame[_FRAME:], sums, order)
            if frame[16:24] != b"".join(each.to_bytes(4, "big") for each in sums):
                return False
            if frame[4:8] != bytes(4):
                return True
    return False


def _add(data: bytes, sums: tuple[int, int], order: Literal["big", "little"]) -> tuple[int, int]:
    """Return SQLite's checksums of a log, continued."""
    one, two = sums
    for at in range(0, len(data), 8):
        one = (one + int.from_bytes(data[at : at + 4], order) + two) % 2**32
        two = (two + int.from_bytes(data[at + 4 : at + 8], order) + one) % 2**32
    return one, two


def _read_marks(log: Path) -> Iterator[Mark]:
    """Iterate over the marks in a log, the oldest first."""
    with suppress(FileNotFoundError), log.open("rb", buffering=0) as file:
        head = file.read(_HEADER)
        page = int.from_bytes(head[8:12], "big")
        yield from _read_frames(file, head[16:24], page)


def _read_frames(file: BinaryIO, salt: bytes, page: int) -> Iterator[Mark]:
    """Iterate over the marks in the frames of this round; those of the round before follow."""
    at, size = _HEADER, _FRAME + max(place.stop for place in _NUMBERS.values())
    while len(frame := os.pread(file.fileno(), size, at)) == size and frame[8:16] == salt:
        if int.from_bytes(frame[:4], "big") == 1:
            first = frame[_FRAME:]
            yield Mark(*(int.from_bytes(first[place], "big", signed=True) for place in _NUMBERS.values()))
        at += _FRAME + page
