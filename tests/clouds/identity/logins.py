"""A stand-in for the IAM login of a managed PostgreSQL: it asks for a token in clear text, as RDS and Cloud SQL do.

A real PostgreSQL that trusts its clients is behind it. Only the check of the token is a stand-in.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from tests.certificates import pass_bytes

from skyferry.testing.identity.grants import Grants

REFUSED = b"SFATAL\0C28P01\0MPAM authentication failed\0\0"
ASK = b"R\0\0\0\x08\0\0\0\x03"  # AuthenticationCleartextPassword


@asynccontextmanager
async def iam_login(target: int, accept: Callable[[str, str], bool]) -> AsyncIterator[tuple[int, list[str]]]:
    """Pass connections to the server at a port of loopback if `accept(user, token)`. Yield the port and all tokens."""
    tokens: list[str] = []
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        startup = await reader.readexactly(size - 4)
        fields = startup[4:].rstrip(b"\0").split(b"\0")
        user = dict(zip(fields[::2], fields[1::2], strict=False))[b"user"].decode()
        writer.write(ASK)
        _, length = await reader.readexactly(1), int.from_bytes(await reader.readexactly(4), "big")
        tokens.append((await reader.readexactly(length - 4)).rstrip(b"\0").decode())
        if not accept(user, tokens[-1]):
            writer.write(b"E" + (len(REFUSED) + 4).to_bytes(4, "big") + REFUSED)
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", target)
        back.write(size.to_bytes(4, "big") + startup)
        for one, other in ((reader, back), (there, writer)):
            tasks.add(asyncio.create_task(pass_bytes(one, other)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], tokens
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def find_rds_signer(grants: Grants, token: str, user: str, host: str, region: str) -> str:
    """Return the principal that signed a token of RDS for this user and host; "" if it is not valid.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    parts = urlsplit(f"https://{token}")
    given = dict(parse_qsl(parts.query))
    signature = given.pop("X-Amz-Signature", "")
    key, day, zone, service, end = given.get("X-Amz-Credential", "////").split("/")
    date = given.get("X-Amz-Date", "")
    signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    wanted = (parts.netloc, given.get("Action"), given.get("DBUser"), zone, service, end, given.get("X-Amz-Expires"))
    if wanted != (host, "connect", user, region, "rds-db", "aws4_request", "900") or signed + 900 < time.time():
        return ""
    grant = grants.valid(key)
    if grant is None or given.get("X-Amz-Security-Token") != grant.session:
        return ""
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(given.items()))
    request = f"GET\n/\n{query}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    scope = f"{day}/{region}/rds-db/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = f"AWS4{grant.secret}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return grant.principal if hmac.compare_digest(hmac.digest(secret, text.encode(), "sha256").hex(), signature) else ""
