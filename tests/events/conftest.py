"""Message bodies of the providers: corpus/valid is read, corpus/malformed is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyferry.events.detect import parse_message
from skyferry.model import ObjectEvent

CORPUS = Path(__file__).parent / "corpus"

Json = Callable[[str], Any]
One = Callable[[object], ObjectEvent]


@pytest.fixture
def sample() -> Json:
    """Return a decoded valid body of the corpus, which may be changed."""
    return lambda name: json.loads((CORPUS / "valid" / f"{name}.json").read_bytes())


@pytest.fixture
def one() -> One:
    """Return the only event in this JSON."""

    def read(body: object) -> ObjectEvent:
        (event,) = parse_message(json.dumps(body).encode(), {}).events
        return event

    return read
