"""Block lists: large blobs, written block by block and committed by one request.

Azure has no uploads, only uncommitted blocks under a key, those of all writers together. So the id of each block names its
upload: `skyferry-` + upload + part number + CRC32C of the block. It always has 48 characters, because all block ids of a key
must have the same length. The service accepted the block only with the right CRC64 (`checksums`), so the block id proves its
bytes. After a restart, the list of uncommitted blocks shows all verified parts. A block with the part number 0 is written
first and never committed: with one byte it marks the upload as alive, with two bytes as aborted.

Proof of the whole: Azure computes no checksum of a block list. But it commits exactly the listed blocks or nothing, so the
blob consists of verified blocks, and their CRC32Cs combine to that of the blob.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from skyferry.clouds.http import HttpResponse
from skyferry.errors import ChecksumMismatch, ObjectNotFound, PreconditionFailed, StoreError, Unsupported, UploadGone
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Upload
from skyferry.stores.azure.checksums import CRC64, combine_parts, crc64, demand, digest
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.listing import Listing
from skyferry.stores.azure.metadata import AzureVersion, parse_write, write_headers
from skyferry.stores.s3.metadata import to_base64

_ID = re.compile(r"[0-9a-f]{24}")
_BLOCK = re.compile(r"skyferry-([0-9a-f]{24})-([0-9]{5})-([0-9a-f]{8})")
ALIVE, ABORTED = b"\0", b"\0\0"  # the content of the marker block of an upload


@dataclass(frozen=True, slots=True)
class Block:
    """A block that Skyferry wrote, committed or not."""

    upload: str  # id
    number: int  # of the part; 0 = the marker of the upload
    crc32c: str
    size: int = 0

    @classmethod
    def parse(cls, tag: str, size: int) -> Block | None:
        """Parse a block id; None for blocks of other programs."""
        try:
            found = _BLOCK.fullmatch(base64.b64decode(tag, validate=True).decode("latin-1"))
        except ValueError:
            return None
        return cls(found[1], int(found[2]), found[3], size) if found else None

    @property
    def alive(self) -> bool:
        """True for the marker of an upload that is not aborted."""
        return self.number == 0 and self.size == len(ALIVE)

    @property
    def tag(self) -> str:
        """The block id in Azure's form."""
        return base64.b64encode(f"skyferry-{self.upload}-{self.number:05}-{self.crc32c}".encode()).decode()


class AzureUploads:
    """The block uploads of an Azure store."""

    def __init__(self, client: AzureClient, options: AzureOptions) -> None:
        self._client, self._options = client, options
        self._aborted: deque[str] = deque(maxlen=1000)  # by this process; other processes read the marker block

    async def start(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        write_headers(attributes, tags=True)  # sent with the last request, but validated at the start
        now = int(time.time())
        upload = Upload(f"{now:08x}{secrets.token_hex(8)}", key, size, part_size, attributes, float(now))
        await self._put(upload, Block(upload.id, 0, "0" * 8), ALIVE, Checksums())
        return upload

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        if upload.id in self._aborted:
            raise UploadGone(where=self._client.where(upload.key))
        known = await digest(data, Checksums(crc32c=crc32c), self._client.where(upload.key))
        block = Block(upload.id, number, known.crc32c)
        await self._put(upload, block, data, known)
        return Part(number, (number - 1) * upload.part_size, len(data), block.tag, known.crc32c)

    async def finish(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, conditions: Mapping[str, str]
    ) -> ObjectMeta:
        """Commit the blocks. After a lost answer, return the blob that the first attempt made."""
        parts = self._checked(upload, parts)
        proven = Checksums(crc32c=combine_parts(parts))
        if name := proven.find_conflict(checksums):
            raise ChecksumMismatch(f"{name} of the parts is not the one declared", where=self._client.where(upload.key))
        tags = [part.tag for part in parts]
        try:
            answer = await self.commit(upload, tags, checksums.md5, conditions)
        except (UploadGone, PreconditionFailed):
            if made := await self._made_before(upload, tags, proven):
                return made
            raise
        return await self.refresh_size(parse_write(upload.key, answer.headers, upload.size, upload.attributes, proven))

    async def commit(
        self, upload: Upload, tags: Sequence[str], md5: str, conditions: Mapping[str, str]
    ) -> HttpResponse:
        """Send Put Block List, which commits all these blocks or none. Azure stores the declared MD5 unchecked."""
        listed = "".join(f"<Uncommitted>{tag}</Uncommitted>" for tag in tags)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        said = {**conditions, **write_headers(upload.attributes, tags=not self._options.hierarchical)}
        said |= {**self._options.encryption_headers, "content-type": "application/xml"}
        said |= demand(await digest(body, Checksums(), self._client.where(upload.key)))
        said |= {"x-ms-blob-content-md5": to_base64(md5)} if md5 else {}
        return await self._client.send("PUT", upload.key, query={"comp": "blocklist"}, headers=said, body=body)

    async def abort(self, upload: Upload) -> None:
        """Mark the upload as aborted. Azure frees its blocks at the next write to the key, or a week after the last block.

        Only a write to the key would free them at once.
        """
        if not _ID.fullmatch(upload.id):
            return
        self._aborted.append(upload.id)
        blocks = await self._waiting(upload.key)
        if any(block.upload == upload.id and block.alive for block in blocks):
            await self._put(upload, Block(upload.id, 0, "0" * 8), ABORTED, Checksums())

    async def parts(self, upload: Upload) -> list[Part]:
        """List the uncommitted parts in order. Raise UploadGone if the upload is gone."""
        blocks = [block for block in await self._waiting(upload.key) if block.upload == upload.id]
        if not any(block.alive for block in blocks):
            raise UploadGone(where=self._client.where(upload.key))
        count = Counter(block.number for block in blocks)
        return [
            Part(block.number, (block.number - 1) * upload.part_size, block.size, block.tag, block.crc32c)
            for block in sorted(blocks, key=lambda block: block.number)
            if block.number and count[block.number] == 1  # a part with two contents is sent again
        ]

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """List Skyferry's live uploads to keys without a blob. Azure lists no uncommitted blocks of other keys."""
        listing = Listing(self._client, self._options)
        async for page in listing.pages(prefix, include="uncommittedblobs"):
            for found in page:
                if found.size or found.checksums.md5:  # a blob, not a key with uncommitted blocks only
                    continue
                for block in await self._waiting(found.key):
                    if block.alive:
                        yield Upload(block.upload, found.key, 0, 0, started_at=float(int(block.upload[:8], 16)))

    def _checked(self, upload: Upload, parts: Sequence[Part]) -> list[Part]:
        """Return the parts in order. Check that they are all of this upload's, by their ids: Azure would commit any list."""
        if upload.id in self._aborted:
            raise UploadGone(where=self._client.where(upload.key))
        parts = sorted(parts, key=lambda part: part.number)
        blocks = [Block.parse(part.tag, part.size) for part in parts]
        whole = sum(part.size for part in parts) == upload.size
        same = [(b.upload, b.number) for b in blocks if b] == [(upload.id, n) for n in range(1, len(parts) + 1)]
        if not whole or not same:
            raise StoreError("the parts are not those of the whole object", where=self._client.where(upload.key))
        return [replace(part, crc32c=block.crc32c) for part, block in zip(parts, blocks, strict=True) if block]

    async def _put(self, upload: Upload, block: Block, data: bytes, known: Checksums) -> None:
        """Send Put Block. Raise ChecksumMismatch."""
        known = known if known.crc64nvme else await digest(data, known, "")
        said = {**self._options.encryption_headers, CRC64: crc64(known.crc64nvme)}
        query = {"comp": "block", "blockid": block.tag}
        answer = await self._client.send("PUT", upload.key, query=query, headers=said, body=data)
        if answer.headers.get(CRC64) != said[CRC64]:  # Azure returns it for every block
            raise ChecksumMismatch("the store attests other bytes than were sent", where=self._client.where(upload.key))

    async def _waiting(self, key: str) -> list[Block]:
        """List Skyferry's uncommitted blocks under this key, of all uploads."""
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        try:
            document = (await self._client.send("GET", key, query=query)).xml()
        except ObjectNotFound:
            return []
        found = (
            Block.parse(each.findtext("Name", ""), int(each.findtext("Size", "0")))
            for each in document.iterfind("UncommittedBlocks/Block")
        )
        return [block for block in found if block]

    async def refresh_size(self, made: ObjectMeta) -> ObjectMeta:
        """Set the size that Azure reports. Return `made` unchanged if the blob was replaced."""
        answer = await self._client.send(
            "HEAD", made.key, headers=AzureVersion.parse(made.version).headers, accept=(404, 412)
        )
        if answer.status >= 300:
            return made
        size = int(answer.headers.get("content-length", "-1"))
        return replace(made, size=size, checksums=made.checksums if size == made.size else Checksums())

    async def _made_before(self, upload: Upload, tags: Sequence[str], proven: Checksums) -> ObjectMeta | None:
        """Return the blob if it consists of these blocks, which only this upload has; otherwise None."""
        query = {"comp": "blocklist", "blocklisttype": "committed"}
        try:
            listed = await self._client.send("GET", upload.key, query=query)
        except (ObjectNotFound, Unsupported):  # no blob, or one without a block list
            return None
        found = [each.findtext("Name", "") for each in listed.xml().iterfind("CommittedBlocks/Block")]
        if not found or found != list(tags):
            return None
        return await self.refresh_size(parse_write(upload.key, listed.headers, upload.size, upload.attributes, proven))
