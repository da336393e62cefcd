"""The parts that the errors of all clouds have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from skyferry.clouds.http import HttpResponse
from skyferry.errors import PreconditionFailed, SkyferryError
from skyferry.stores.azure import errors as azure
from skyferry.stores.gcs import errors as gcs
from skyferry.stores.s3 import errors as s3


@pytest.mark.parametrize("translate", [s3.translate_error, gcs.translate_error, azure.translate_error])
@pytest.mark.parametrize("tries", [1, 2])
def test_a_refusal_tells_how_often_the_request_was_sent(
    translate: Callable[[HttpResponse, str], SkyferryError], tries: int
) -> None:
    """On a kept connection that ended, the first time may have made the object that the second one finds."""
    refused = translate(HttpResponse(412, {}, b"", tries), "store k")
    assert isinstance(refused, PreconditionFailed)
    assert refused.tries == tries
