"""Content types by the names of files. Pure, and the same on every machine: /etc/mime.types is not read."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimetypes import MimeTypes

# What Python's own table lacks, or has in some versions only.
_ADDED = {
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".avro": "application/avro",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".heic": "image/heic",
    ".ico": "image/vnd.microsoft.icon",
    ".jsonl": "application/jsonl",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".mkv": "video/x-matroska",
    ".ndjson": "application/x-ndjson",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".parquet": "application/vnd.apache.parquet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
# A compressed file is what its last suffix says: a Content-Encoding would make browsers unpack it.
_COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
    "zstd": "application/zstd",
}


def guess_content_type(key: str) -> str:
    """Return the type that the last part of a key suggests; "" if none."""
    name = key.rpartition("/")[2]
    if "." not in name:
        return ""
    if name.lower().endswith(".zst"):
        return _COMPRESSED["zstd"]
    found, encoding = _table().guess_type(f"/{name}", strict=True)
    return _COMPRESSED.get(encoding, "") if encoding else found or ""


@cache
def _table() -> MimeTypes:
    from mimetypes import MimeTypes

    table = MimeTypes()
    for suffix, kind in _ADDED.items():
        table.add_type(kind, suffix)
    return table
