"""Attributes that the destination cannot store are encoded, mapped or dropped, as the route says; each change has a line."""

from __future__ import annotations

import pytest

from skyferry.config.settings import Handling, UnfitSettings
from skyferry.engine.copy.attributes.fitting import fit_attributes
from skyferry.model import Attributes, Traits
from skyferry.stores.azure.client import LIMITS
from skyferry.stores.s3.metadata import decode
from skyferry.stores.s3.services import STRICT

S3, AZURE = Traits(attributes=STRICT, metadata_limit=2048), Traits(attributes=LIMITS, metadata_limit=8192)
NAME = 'attachment; filename="Übersicht 1.pdf"; size=3'


def handle(handling: Handling) -> UnfitSettings:
    return UnfitSettings(headers=handling, metadata=handling, tags=handling)


@pytest.mark.parametrize(
    ("handling", "expected"),
    [
        ("encode", "attachment; filename=\"Ubersicht 1.pdf\"; filename*=UTF-8''%C3%9Cbersicht%201.pdf; size=3"),
        ("map", 'attachment; filename="Ubersicht 1.pdf"; size=3'),
        ("drop", ""),
        ("fail", NAME),
    ],
)
@pytest.mark.parametrize("traits", [S3, AZURE])
def test_the_name_of_a_download(handling: Handling, expected: str, traits: Traits) -> None:
    """RFC 6266 wants a plain name beside the encoded one."""
    fitted, changes = fit_attributes(Attributes(content_disposition=NAME), traits, handle(handling), 0)
    assert fitted.content_disposition == expected
    assert len(changes) == (handling != "fail")


@pytest.mark.parametrize(
    "value",
    [
        "attachment; filename*=UTF-8''%C3%9C.pdf; filename=\"Ü.pdf\"",
        'attachment; filename="a\\"Ü\\\\b.pdf"',
        "Ünline",
        "attachment; filename=Ü",
        'attachment; filename="x\ty"',
        'attachment; filename="\ud800"',
    ],
)
def test_an_awkward_disposition_becomes_a_plain_header(value: str) -> None:
    """Whatever it was, the result fits; an encoded name that it had is not given twice."""
    fitted, _ = fit_attributes(Attributes(content_disposition=value), S3, handle("encode"), 0)
    again, changes = fit_attributes(fitted, S3, handle("encode"), 0)
    assert (again, changes) == (fitted, ())
    assert fitted.content_disposition.lower().count("filename*=") <= 1


def test_other_headers_become_a_word_of_rfc_2047() -> None:
    fitted, changes = fit_attributes(Attributes(cache_control="größer", content_language="de"), S3, handle("encode"), 0)
    assert (decode(fitted.cache_control), fitted.content_language) == ("größer", "de")
    assert changes == ("header cache-control: encode",)


@pytest.mark.parametrize(
    ("handling", "expected"),
    [
        ("encode", {"plain": "1", "two%20words": "2", "na%c3%afve": "3"}),
        ("map", {"plain": "1", "two_words": "2", "naive": "3"}),
        ("drop", {"plain": "1"}),
    ],
)
def test_names_of_metadata(handling: Handling, expected: dict[str, str]) -> None:
    given = Attributes(metadata={"plain": "1", "two words": "2", "naïve": "3"})
    fitted, changes = fit_attributes(given, S3, handle(handling), 0)
    assert fitted.metadata == expected
    assert len(changes) == 2


def test_a_name_that_is_taken_is_left_out() -> None:
    given = Attributes(metadata={"a_b": "mine", "a b": "other"})
    fitted, changes = fit_attributes(given, S3, handle("map"), 0)
    assert fitted.metadata == {"a_b": "mine"}
    assert changes == ("metadata 'a b': left out",)


@pytest.mark.parametrize("handling", ["encode", "map", "drop"])
def test_too_much_metadata(handling: Handling) -> None:
    """The largest values go, until the rest and the provenance fit."""
    given = Attributes(metadata={"small": "x", "large": "x" * 1500, "middle": "é" * 400})
    fitted, changes = fit_attributes(given, S3, handle(handling), 400)
    assert set(fitted.metadata) == {"small", "middle"}
    assert changes == ("metadata 'large': left out, too large",)


@pytest.mark.parametrize(
    ("handling", "expected"),
    [
        ("encode", {"mail": "a=40b.c", "t=C3=A4g": "1"}),
        ("map", {"mail": "a_b.c", "tag": "1", "l" * 128: "2"}),
        ("drop", {}),
        ("fail", {"mail": "a@b.c", "täg": "1", "l" * 200: "2"}),
    ],
)
def test_tags_at_azure(handling: Handling, expected: dict[str, str]) -> None:
    given = Attributes(tags={"mail": "a@b.c", "täg": "1", "l" * 200: "2"})
    assert fit_attributes(given, AZURE, handle(handling), 0)[0].tags == expected


def test_more_than_ten_tags() -> None:
    """The first ten stay."""
    given = Attributes(tags={f"t{n}": "x" for n in range(12)})
    fitted, changes = fit_attributes(given, AZURE, handle("drop"), 0)
    assert list(fitted.tags) == [f"t{n}" for n in range(10)]
    assert changes == ("tag 't10': left out", "tag 't11': left out")


def test_what_fits_is_as_it_was() -> None:
    given = Attributes("text/plain", "gzip", "de", "inline", "no-store", {"a": "ü"}, {"b c": "d=e"}, "STANDARD")
    for traits in (S3, AZURE, Traits()):
        assert fit_attributes(given, traits, handle("drop"), 0) == (given, ())
