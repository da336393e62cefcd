"""Buckets as their providers' own clients see them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
from azure.storage.blob import BlobServiceClient, ContentSettings
from botocore.config import Config  # type: ignore[import-untyped]  # as boto3
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage  # type: ignore[import-untyped]  # as boto3

from skyferry.stores.local.names import key_of, path_of


@dataclass(frozen=True)
class Item:
    """An object as a provider's own client puts or sees it."""

    data: bytes = field(repr=False)
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)  # but for what is Skyferry's own


class Bucket(Protocol):
    """One bucket, by its provider's own client."""

    url: str  # for Skyferry
    carries: bool  # content type and metadata, as others see them

    def put(self, key: str, item: Item) -> None:
        """Write an object."""

    def items(self) -> dict[str, Item]:
        """All there is."""


class S3Bucket:
    """By boto3."""

    carries = True

    def __init__(self, endpoint: str) -> None:
        config = Config(s3={"addressing_style": "path"})
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=config,
        )
        self.name = f"bucket-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=self.name)
        self.url = f"s3://{self.name}/?endpoint={endpoint}&service=localstack&identity=static"

    def put(self, key: str, item: Item) -> None:
        self.client.put_object(
            Bucket=self.name, Key=key, Body=item.data, ContentType=item.content_type, Metadata=dict(item.metadata)
        )

    def items(self) -> dict[str, Item]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {o["Key"]: self._item(o["Key"]) for page in pages for o in page.get("Contents", [])}

    def _item(self, key: str) -> Item:
        got = self.client.get_object(Bucket=self.name, Key=key)
        return Item(got["Body"].read(), got["ContentType"], _theirs(got["Metadata"]))


class GcsBucket:
    """By google-cloud-storage."""

    carries = True

    def __init__(self, endpoint: str) -> None:
        self.client = storage.Client(
            project="tests",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # its package has no types
            client_options={"api_endpoint": endpoint},
        )
        self.bucket = self.client.create_bucket(f"bucket-{secrets.token_hex(6)}")
        self.url = f"gs://{self.bucket.name}/?endpoint={endpoint}&identity=anonymous"

    def keep(self, seconds: int) -> None:
        """Give it a retention policy, and Skyferry the setting for that."""
        self.bucket.retention_period = seconds
        self.bucket.patch()
        self.url += "&large_upload_mode=resumable"

    def put(self, key: str, item: Item) -> None:
        blob = self.bucket.blob(key)
        blob.metadata = dict(item.metadata)
        blob.upload_from_string(item.data, content_type=item.content_type)

    def items(self) -> dict[str, Item]:
        return {
            blob.name: Item(blob.download_as_bytes(raw_download=True), blob.content_type, _theirs(blob.metadata or {}))
            for blob in self.client.list_blobs(self.bucket)
        }


class AzureContainer:
    """By azure-storage-blob."""

    carries = True

    def __init__(self, connection: str, endpoint: str) -> None:
        service = BlobServiceClient.from_connection_string(connection)
        self.client = service.create_container(f"container-{secrets.token_hex(6)}")
        self.url = f"az://{self.client.container_name}/?endpoint={endpoint}&identity=static"

    def put(self, key: str, item: Item) -> None:
        settings = ContentSettings(content_type=item.content_type)
        self.client.upload_blob(key, item.data, metadata=dict(item.metadata), content_settings=settings)

    def items(self) -> dict[str, Item]:
        return {name: self._item(name) for name in self.client.list_blob_names()}

    def _item(self, key: str) -> Item:
        got = self.client.get_blob_client(key).download_blob()
        return Item(got.readall(), got.properties.content_settings.content_type or "", _theirs(got.properties.metadata))


class Folder:
    """By the operating system."""

    carries = False

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"{path}/"
        path.mkdir()

    def put(self, key: str, item: Item) -> None:
        file = self.path / path_of(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(item.data)

    def items(self) -> dict[str, Item]:
        files = (p for p in self.path.rglob("*") if p.is_file() and ".skyferry" not in p.parts)
        return {key_of(str(p.relative_to(self.path))): Item(p.read_bytes()) for p in files}


def _theirs(metadata: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if not k.lower().startswith("skyferry")}


@dataclass(frozen=True, slots=True)
class Clouds:
    """Makes buckets."""

    folder: Path
    s3: str
    gcs: str
    azure: str
    azure_connection: str

    def bucket(self, kind: str) -> Bucket:
        """A new one: file, s3, gcs or azure."""
        match kind:
            case "s3":
                return S3Bucket(self.s3)
            case "gcs":
                return GcsBucket(self.gcs)
            case "azure":
                return AzureContainer(self.azure_connection, self.azure)
            case _:
                return Folder(self.folder / secrets.token_hex(6))
