"""Messages are received whatever other programs write as envelopes and attributes."""

from __future__ import annotations

import pytest
from tests.queues.forged import FORGED

from skyferry.queues.text_envelope import parse_attributes, unwrap, wrap


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_attributes_that_are_not_pairs_of_texts_are_ignored(text: str) -> None:
    assert parse_attributes(text) == parse_attributes(text.encode()) == ()


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_a_malformed_envelope_is_the_body(text: str) -> None:
    forged = f'{{"skyferry-wrapped":["eA==", {text}]}}'
    assert unwrap(forged) == (forged.encode(), ())


def test_what_was_wrapped_is_unwrapped() -> None:
    pairs = (("a", "\U0001f600"), ("", "\0"))
    assert unwrap(wrap(b"\xff", pairs)) == (b"\xff", pairs)
    assert parse_attributes('[["a", "b"], ["a", ""]]') == (("a", "b"), ("a", ""))
