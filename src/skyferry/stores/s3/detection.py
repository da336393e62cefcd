"""Which service answers at an endpoint, by what it says of itself. Pure.

Only a mark that no other service sends counts: many servers say `Server: AmazonS3`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from skyferry.regex import compile_lazily

# Ceph's request ids: a transaction, a time, an instance, a zone group.
_CEPH = compile_lazily(r"tx[0-9a-f]{16,}(-[^-]+){2,}")


def detect_service(headers: Mapping[str, str]) -> str:
    """Return the row of SERVICES for the server that sent these headers; "" if they do not say it."""
    names = {name.lower() for name in headers}
    if "x-localstack" in names:
        return "localstack"
    if any(name.startswith("x-rgw-") for name in names) or _CEPH.fullmatch(headers.get("x-amz-request-id", "")):
        return "ceph"
    request = headers.get("x-amz-request-id", "")
    if request and headers.get("x-amz-id-2") == base64.b64encode(request.encode() * 4).decode():
        return "rclone"  # its library repeats the request's id where Amazon's has bytes without a meaning
    return ""


def claims_minio(headers: Mapping[str, str]) -> bool:
    """Return True if the server says that it is MinIO. Versions and forks of it differ too much to rely on that."""
    return headers.get("server", "").partition("/")[0] == "MinIO"
