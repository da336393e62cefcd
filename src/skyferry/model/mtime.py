"""Modification times of files in user metadata, as rclone and s3fs write them: `mtime`, in seconds since 1970. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from skyferry.model.objects import Attributes
from skyferry.regex import compile_lazily

NAME = "mtime"
GSUTIL = "goog-reserved-file-mtime"  # of gsutil and gcloud, in whole seconds
_SECONDS = compile_lazily(r"([0-9]{1,11})(?:\.([0-9]{1,9}))?")
_RFC3339 = compile_lazily(
    r"([0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9])(?:\.([0-9]{1,9}))?(Z|[+-][0-9][0-9]:[0-9][0-9])"
)  # rclone, at Azure and Cloud Storage


def format_mtime(nanoseconds: int) -> str:
    """Return the value for user metadata: seconds, with the digits of the fraction that are needed."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".")


def parse_mtime(metadata: Mapping[str, str]) -> int | None:
    """Return the time in nanoseconds since 1970 that user metadata name; None if they name none."""
    for name in (NAME, GSUTIL):
        text = metadata.get(name, "")
        if found := _SECONDS.fullmatch(text):
            return int(found[1]) * 10**9 + _to_nanoseconds(found[2])
        if found := _RFC3339.fullmatch(text):
            try:
                whole = datetime.fromisoformat(found[1] + found[3]).timestamp()
            except ValueError:  # as the 30th of February
                continue
            if whole >= 0:
                return int(whole) * 10**9 + _to_nanoseconds(found[2])
    return None


def read_mtime(attributes: Attributes) -> int | None:
    """Return the modification time of a file with these attributes: what user metadata name, or else that of the source file."""
    named = parse_mtime(attributes.metadata) if attributes.metadata else None
    return attributes.mtime if named is None else named


def _to_nanoseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0"))
