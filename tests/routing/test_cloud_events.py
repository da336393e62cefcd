"""Which routes the notifications of a cloud's bucket find, and what an object carries along them."""

from __future__ import annotations

from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.model import Attributes, Change, ObjectEvent, ObjectRef, Position, Provider
from skyferry.routing.routes import Routes

MINIO = "s3://photos?endpoint=https://minio.example.org&service=minio"
SEQUENCER = Position("s3-sequencer", "0055AED6DCD90281E5")


def routes(url: str, to: str = "gs://copies", more: dict[str, Any] | None = None, **route: Any) -> Routes:
    stores = {"photos": {"url": url}, "copies": {"url": to}} | (more or {})
    one = {"name": "r", "from": "photos", "to": "copies"} | route
    return Routes(Settings.model_validate({"stores": stores, "routes": [one]}))


def event(provider: Provider, bucket: str = "photos") -> ObjectEvent:
    return ObjectEvent("e", Change.CREATED, ObjectRef(provider, bucket, "k"), 1e9, position=SEQUENCER)


def test_a_server_that_calls_itself_amazon_finds_its_route() -> None:
    [transfer] = routes(MINIO).match(event(Provider.AWS_S3))
    assert transfer.source == ObjectRef(Provider.S3_COMPATIBLE, "photos", "k")


def test_its_sequencer_is_not_taken_for_an_exact_position() -> None:
    """LocalStack sends the same one with every event: as an exact one, it would veto all that come after the first."""
    [transfer] = routes(MINIO).match(event(Provider.AWS_S3))
    assert transfer.position is None


def test_a_bucket_of_amazon_with_that_name_comes_first() -> None:
    assert routes(MINIO, more={"real": {"url": "s3://photos"}}).match(event(Provider.AWS_S3)) == []


def test_amazons_own_keep_their_position() -> None:
    [transfer] = routes("s3://photos").match(event(Provider.AWS_S3))
    assert (transfer.source.provider, transfer.position) == (Provider.AWS_S3, SEQUENCER)


def test_another_servers_event_is_not_amazons() -> None:
    assert routes("s3://photos").match(event(Provider.S3_COMPATIBLE)) == []
    assert len(routes(MINIO).match(event(Provider.S3_COMPATIBLE))) == 1


@pytest.mark.parametrize(
    ("to", "setting", "source", "destination"),
    [
        ("s3://copies", "", "STANDARD_IA", "STANDARD_IA"),
        ("gs://copies", "", "STANDARD_IA", ""),
        ("gs://copies", "keep", "NEARLINE", "NEARLINE"),
        ("gs://copies", "COLDLINE", "STANDARD_IA", "COLDLINE"),
        ("gs://copies", {"STANDARD_IA": "NEARLINE"}, "STANDARD_IA", "NEARLINE"),
        ("gs://copies", {"STANDARD_IA": "NEARLINE"}, "GLACIER_IR", ""),
        ("gs://copies", {"STANDARD_IA": "NEARLINE", "*": "ARCHIVE"}, "GLACIER_IR", "ARCHIVE"),
        ("gs://copies", {"STANDARD": "STANDARD", "*": "ARCHIVE"}, "", "STANDARD"),
    ],
)
def test_the_storage_class_is_kept_mapped_or_set(to: str, setting: Any, source: str, destination: str) -> None:
    route = routes("s3://photos", to, storage_class=setting).route("r")
    assert route.carried(Attributes(storage_class=source)).storage_class == destination


def test_a_route_sets_tags_besides_those_of_the_source() -> None:
    route = routes("s3://photos", tags={"by": "skyferry", "a": "2"}).route("r")
    assert route.carried(Attributes(tags={"a": "1", "b": "1"})).tags == {"a": "2", "b": "1", "by": "skyferry"}
