"""`alt=media`: the bytes of an object, or a range of them."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime
from email.utils import format_datetime

from skyferry.testing.gcs import body
from skyferry.testing.gcs.body import Body
from skyferry.testing.gcs.buckets import FakeRefusal, Stored
from skyferry.testing.gcs.wire import Reply, Request

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def answer_download(request: Request, found: Stored) -> Reply:
    """Raw where the client takes gzip, else decompressed if the object says that it is ("Transcoding of gzip files")."""
    content, headers = found.body, _headers(found)
    stored = found.settings.get("contentEncoding", "")
    if stored == "gzip" and "gzip" not in request.headers.get("accept-encoding", ""):
        unpacked = _gunzipped(content)
        if unpacked is not None:
            headers |= {"warning": "214 UploadServer gunzipped"}
            return Reply(200, headers, tuple(unpacked.part(0, unpacked.size)))
    if stored:
        headers["content-encoding"] = stored
    wanted = _wanted(request.headers.get("range", ""), content.size)
    if wanted is None:
        return Reply(200, headers, tuple(content.part(0, content.size)))
    start, end = wanted
    if start >= content.size:
        raise FakeRefusal(416, "requestedRangeNotSatisfiable", "The requested range cannot be satisfied.")
    headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
    return Reply(206, headers, tuple(content.part(start, end)))


def _headers(found: Stored) -> dict[str, str]:
    settings = found.settings
    digests = [f"crc32c={found.body.crc32c}", *([f"md5={found.body.md5}"] if found.body.md5 else [])]
    headers = {
        "content-type": settings.get("contentType", ""),
        "content-language": settings.get("contentLanguage", ""),
        "content-disposition": settings.get("contentDisposition", ""),
        "cache-control": settings.get("cacheControl", "no-cache, no-store, max-age=0, must-revalidate"),
        "last-modified": format_datetime(datetime.fromtimestamp(found.updated, UTC), usegmt=True),
        "accept-ranges": "bytes",
        "x-goog-hash": ",".join(digests),
        "x-goog-generation": str(found.generation),
        "x-goog-metageneration": str(found.metageneration),
        "x-goog-storage-class": settings["storageClass"],
        "x-goog-stored-content-encoding": settings.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(found.body.size),
    }
    return {name: value for name, value in headers.items() if value}


def _wanted(header: str, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) of a Range header; None for all. What is no range is ignored, as RFC 9110 says."""
    matched = _RANGE.fullmatch(header)
    if matched is None or matched[0] == "bytes=-":
        return None
    first, last = matched.groups()
    if not first:
        return max(size - int(last), 0), size
    end = min(int(last) + 1, size) if last else size
    return (int(first), end) if end > int(first) or int(first) >= size else None


def _gunzipped(content: Body) -> Body | None:
    """None if it is no gzip."""
    try:
        return body.make_body([zlib.decompress(b"".join(content.part(0, content.size)), wbits=31)])
    except zlib.error:
        return None
