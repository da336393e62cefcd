"""The part size of an object at each provider."""

from __future__ import annotations

import pytest

from skyferry.engine.copy.large.resuming import choose_part_size, part_lengths
from skyferry.errors import Unsupported
from skyferry.model import Traits, Upload
from skyferry.stores.azure.client import AzureOptions
from skyferry.stores.gcs.store import TRAITS as GCS
from skyferry.stores.s3.services import SERVICES

MIB, TIB = 2**20, 2**40
AZURE = AzureOptions("https://a.blob.core.windows.net").traits()


@pytest.mark.parametrize("traits", [GCS, AZURE, *(each.traits() for each in SERVICES.values())])
@pytest.mark.parametrize("size", [8 * MIB + 1, 78 * 2**30, 5 * TIB - 1, 5 * TIB])
def test_an_object_of_up_to_5_tib_fits(traits: Traits, size: int) -> None:
    cut = choose_part_size(size, 8 * MIB, traits)
    parts = part_lengths(Upload("id", "key", size, cut))
    assert max(8 * MIB, traits.min_part) <= cut <= traits.max_part
    assert (len(parts) <= traits.max_parts, sum(parts.values())) == (True, size)


def test_parts_are_no_larger_than_they_have_to_be() -> None:
    """Return the memory that an object of 5 TiB needs at once."""
    s3 = SERVICES["aws"].traits()
    assert [choose_part_size(5 * TIB, 8 * MIB, each) // MIB for each in (s3, GCS, AZURE)] == [525, 160, 105]
    assert choose_part_size(10_000 * 8 * MIB, 8 * MIB, s3) == 8 * MIB
    assert choose_part_size(10_000 * 8 * MIB + 1, 8 * MIB, s3) == 9 * MIB


def test_what_no_number_of_parts_can_hold_is_refused() -> None:
    with pytest.raises(Unsupported, match="does not fit"):
        choose_part_size(11, 1, Traits(max_part=5, max_parts=2))
