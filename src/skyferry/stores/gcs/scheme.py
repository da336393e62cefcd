"""The URL scheme of Cloud Storage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_CLOUD, StoreProfile, StoreScheme
from skyferry.model import Provider

if TYPE_CHECKING:
    from skyferry.ports import ObjectStore
    from skyferry.ports.opening import StoreContext

_PROFILE = StoreProfile(
    Provider.GCP_GCS, tags=False, queues=frozenset({"pubsub"}), push=frozenset({"pubsub", "eventarc"})
)


def _open(context: StoreContext) -> ObjectStore:
    from skyferry.stores.gcs.client import GcsOptions
    from skyferry.stores.gcs.store import GcsStore

    settings = context.where.settings
    options = GcsOptions(
        endpoint=settings.endpoint,
        kms_key=settings.kms_key,
        billing_project=settings.billing_project,
        uploads=settings.large_upload_mode,
        connections=context.connections,
    )
    options = replace(options, read_timeout=min(context.read_timeout, options.read_timeout))
    return GcsStore(context.name, context.where.url.bucket, context.credentials, options)


GCS = StoreScheme(
    "gs://BUCKET",
    _open,
    options=frozenset({"endpoint", "identity", "large_upload_mode", "region"}),
    settings=AT_A_CLOUD | {"kms_key", "billing_project", "large_upload_mode", "region"},
    cloud="google",
    extra="gcs",
    needs=("aiohttp", "google.auth"),
    providers=(Provider.GCP_GCS,),
    profile=lambda settings: _PROFILE,
)
