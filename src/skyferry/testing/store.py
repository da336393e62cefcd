"""The conformance suite of the `ObjectStore` port, for pytest. An adapter's test module is a fixture and a class line:

    class TestMyStore(StoreConformance):
        deviations = {"test_a_key_and_one_below_it": "a file cannot be a folder too"}

        @pytest.fixture
        async def place(self) -> AsyncIterator[Place]: ...

Differences between providers are data: the store's `traits`, the fields of `Place`, and `deviations` (test -> reason) for a single
sentence that it breaks. A test of a deviation MUST fail, so that the list stays true. `skyferry.testing.store_cases.run` runs
the same cases without pytest.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import pytest

from skyferry.testing.store_cases import (
    AttributeCases,
    ConditionCases,
    CopyCases,
    KeyCases,
    ListingCases,
    ObjectCases,
    Place,
    ResumeCases,
    StreamCases,
    UploadCases,
)

__all__ = ["Place", "StoreConformance"]


class StoreConformance(
    ObjectCases,
    KeyCases,
    ConditionCases,
    StreamCases,
    UploadCases,
    ResumeCases,
    CopyCases,
    AttributeCases,
    ListingCases,
):
    """Every sentence of the `ObjectStore` contract."""

    deviations: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _known_deviation(self, request: pytest.FixtureRequest) -> None:
        if reason := self.deviations.get(request.node.originalname):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
