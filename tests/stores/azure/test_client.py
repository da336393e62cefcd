"""What goes out to Azure and no emulator looks at: tokens, versions, encryption scopes; and answers that none gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from awscrt import checksums as crt

from skyferry.clouds.credentials import CredentialsProvider, fixed_credentials
from skyferry.errors import IdentityRefused, ObjectNotFound, PermissionDenied, StoreError, Unsupported, VersionChanged
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import CopySource, Precondition
from skyferry.stores.azure.checksums import CRC64, crc64
from skyferry.stores.azure.client import OLDER, AzureOptions
from skyferry.stores.azure.store import AzureStore
from skyferry.stores.azure.upload import ALIVE

OLD, NEW = "2026-11-23T10:00:00.0000001Z", "2026-11-23T10:00:00.0000002Z"
TAG = '"0x8DC0FFEE"'
BLOB = {"etag": TAG, "last-modified": "Mon, 23 Nov 2026 10:00:00 GMT", "content-type": "text/plain"}


@dataclass(slots=True)
class Script:
    """A server that answers as it is told, and notes what it was asked."""

    url: str = ""
    answers: list[web.Response] = field(default_factory=list)
    seen: list[web.BaseRequest] = field(default_factory=list)

    def plan(self, status: int, headers: Mapping[str, str] = {}, body: bytes = b"") -> None:
        """The next answer."""
        self.answers.append(web.Response(status=status, headers=headers, body=body))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        self.seen.append(request)
        return self.answers.pop(0)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    runner = web.ServerRunner(web.Server(script.handle), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    script.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield script
    await runner.cleanup()
    assert not script.answers, "an answer that was planned was not asked for"


def renewing(asked: list[str]) -> CredentialsProvider[str]:
    """Tokens that have a successor each."""

    async def give(*, stale: str = "") -> str:
        asked.append(stale)
        return f"{stale}+" if stale else "token"

    return give


def refused(status: int, code: str) -> tuple[int, dict[str, str]]:
    return status, {"x-ms-error-code": code}


@pytest.fixture
async def store(script: Script) -> AsyncIterator[AzureStore]:
    options = AzureOptions(script.url, encryption_scope="secret")
    store = AzureStore("azure", "c", options, fixed_credentials("token"))
    yield store
    await store.close()


@pytest.mark.parametrize(("status", "code"), [(401, "InvalidAuthenticationInfo"), (403, "AuthenticationFailed")])
async def test_a_token_that_has_expired_is_renewed_once(script: Script, status: int, code: str) -> None:
    asked: list[str] = []
    store = AzureStore("azure", "c", AzureOptions(script.url), renewing(asked))
    script.plan(*refused(status, code))
    script.plan(200, {**BLOB, "content-length": "0"})
    await store.head("k")
    script.plan(*refused(status, code))
    script.plan(*refused(status, code))
    with pytest.raises(IdentityRefused):
        await store.head("k")
    assert asked == ["", "token", "", "token"]
    assert [request.headers["authorization"] for request in script.seen] == ["Bearer token", "Bearer token+"] * 2
    await store.close()


async def test_a_token_that_may_not_is_not_renewed(script: Script) -> None:
    asked: list[str] = []
    store = AzureStore("azure", "c", AzureOptions(script.url), renewing(asked))
    script.plan(*refused(403, "AuthorizationPermissionMismatch"))
    with pytest.raises(PermissionDenied, match="Storage Blob Data Contributor"):
        await store.head("k")
    assert asked == [""]
    await store.close()


async def test_every_write_names_the_encryption_scope_and_the_version_of_the_api(
    script: Script, store: AzureStore
) -> None:
    """A block, a list of them, a whole blob, a copy."""
    for data in (ALIVE, b"data"):
        script.plan(201, {CRC64: crc64(f"{crt.crc64nvme(data):016x}")})
    upload = await store.start_upload("k", 4, 4, Attributes())
    part = await store.write_part(upload, 1, b"data", f"{crt.crc32c(b'data'):08x}")
    for _ in ("the list", "what it made", "the blob", "the copied block", "the list of the copy", "what it made"):
        script.plan(201, BLOB)
    await store.finish_upload(upload, [part], Checksums())
    await store.write("k", b"x", Attributes(), Checksums())
    await store.copy_from(CopySource("", "from"), ObjectMeta("k", 4, TAG, 0.0), "k", Attributes())
    writes = [request for request in script.seen if request.method != "HEAD"]
    assert len(writes) == 6
    for request in writes:
        assert request.headers["x-ms-encryption-scope"] == "secret"
        assert request.headers["x-ms-version"] == "2026-02-06"
        assert request.headers["authorization"] == "Bearer token"


async def test_a_version_that_the_account_keeps_is_read_by_its_id(script: Script, store: AzureStore) -> None:
    content = {**BLOB, "x-ms-version-id": OLD, "content-range": "bytes 0-0/1"}
    script.plan(206, content, b"x")
    got = await store.read("k", 0, 1)
    assert got.meta.version == f"{OLD}{TAG}"
    script.plan(206, content, b"x")
    await store.read("k", 0, 1, version=got.meta.version)
    assert script.seen[1].query == {"versionid": OLD}
    assert "if-match" not in script.seen[1].headers
    script.plan(206, {**content, "etag": '"0x8DC0FFEF"'}, b"y")
    with pytest.raises(VersionChanged):
        await store.read("k", 0, 1, version=got.meta.version)
    script.plan(*refused(404, "BlobNotFound"))
    with pytest.raises(VersionChanged):
        await store.read("k", 0, 1, version=got.meta.version)
    script.plan(*refused(404, "BlobNotFound"))
    with pytest.raises(ObjectNotFound):
        await store.read("k", 0, 1, version=TAG)


async def test_a_version_id_without_an_etag_is_no_precondition(store: AzureStore) -> None:
    with pytest.raises(Unsupported, match="names none"):
        await store.delete("k", Precondition(replace=NEW))


async def test_a_copy_reads_the_source_with_the_same_token(script: Script, store: AzureStore) -> None:
    found = ObjectMeta("k ü", 3, TAG, 0.0, checksums=Checksums(md5="0" * 32))
    script.plan(*refused(412, "SourceConditionNotMet"))
    with pytest.raises(VersionChanged):
        await store.copy_from(CopySource("", "from"), found, "k", Attributes())
    script.plan(*refused(404, "CannotVerifyCopySource"))
    with pytest.raises(VersionChanged):
        await store.copy_from(CopySource("", "from"), found, "k", Attributes())
    said = script.seen[0].headers
    assert said["x-ms-copy-source"] == f"{script.url}/from/k%20%C3%BC"
    assert said["x-ms-copy-source-authorization"] == "Bearer token"
    assert said["x-ms-source-if-match"] == TAG
    assert said["x-ms-source-content-md5"] == "AAAAAAAAAAAAAAAAAAAAAA=="


async def test_an_empty_blob_that_changed_is_not_copied(script: Script, store: AzureStore) -> None:
    script.plan(*refused(412, "ConditionNotMet"))
    with pytest.raises(VersionChanged):
        await store.copy_from(CopySource("", "from"), ObjectMeta("k", 0, TAG, 0.0), "k", Attributes())
    assert [(request.method, request.path) for request in script.seen] == [("HEAD", "/from/k")]


async def test_a_listing_decodes_names_that_xml_has_not_and_leaves_directories_out(
    script: Script, store: AzureStore
) -> None:
    blob = "<Blob><Name{}>{}</Name><Properties><Etag>0x8D</Etag><Last-Modified>{}</Last-Modified>{}</Properties></Blob>"
    date = BLOB["last-modified"]
    pages = (
        ("more", [(' Encoded="true"', "a%EF%BF%BF%2B", date, ""), ("", "a%2B", date, "")]),
        ("", [("", "dir", date, "<ResourceType>directory</ResourceType>"), ("", "dir/x", date, "")]),
    )
    for marker, blobs in pages:
        listed = "".join(blob.format(*each) for each in blobs)
        body = f"<EnumerationResults><Blobs>{listed}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        script.plan(200, body=body.encode())
    found = [meta async for meta in store.list(after="a\U0001f600")]
    assert [meta.key for meta in found] == ["dir/x"]
    assert found[0].version == '"0x8D"'
    assert [request.query.get("startFrom") for request in script.seen] == [
        "a",
        "a",
    ]  # no later: the orders differ there
    assert [request.query.get("marker") for request in script.seen] == [None, "more"]
    script.plan(200, body=body.replace("dir/x", "é").encode())
    assert [meta.key async for meta in store.list()] == ["é"]
    script.plan(200, body=body.replace(listed, blob.format(*pages[0][1][0])).encode())
    assert [meta.key async for meta in store.list()] == ["a\uffff+"]


async def test_another_document_is_no_empty_listing(script: Script, store: AzureStore) -> None:
    script.plan(200, body=b"<html><body>Sign in</body></html>")
    with pytest.raises(StoreError, match="no listing"):
        assert [meta.key async for meta in store.list()] == []


@pytest.mark.parametrize(
    "body", [b"", b"<Error><Code>InvalidHeaderValue</Code><HeaderName>x-ms-version</HeaderName></Error>"]
)
async def test_an_account_that_does_not_know_the_version_yet_is_asked_by_an_older_one(
    script: Script, store: AzureStore, body: bytes
) -> None:
    """Azure brings a new one to some regions and clouds months after others."""
    script.plan(*refused(400, "InvalidHeaderValue"), body)
    script.plan(200, body=b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>")
    assert [meta.key async for meta in store.list(after="a")] == []
    script.plan(200, {**BLOB, "content-length": "0"})
    await store.head("k")
    assert [request.headers["x-ms-version"] for request in script.seen] == ["2026-02-06", OLDER, OLDER]
    assert [request.query.get("startFrom") for request in script.seen] == ["a", None, None]
    script.plan(*refused(400, "InvalidHeaderValue"), body)
    with pytest.raises(StoreError):
        await store.write("k", b"", Attributes(), Checksums())


@pytest.mark.parametrize(
    ("ends", "message"),
    [([""], "whether it goes on"), (["<NextMarker>m</NextMarker>"] * 2, "repeats a page")],
)
async def test_a_listing_that_does_not_reach_its_end_is_an_error(
    script: Script, store: AzureStore, ends: list[str], message: str
) -> None:
    for end in ends:
        script.plan(200, body=f"<EnumerationResults><Blobs/>{end}</EnumerationResults>".encode())
    with pytest.raises(StoreError, match=message):
        assert [meta.key async for meta in store.list()] == []
