"""URLs of objects, as people type them."""

from __future__ import annotations

import pytest

from skyferry.cli.arguments.object_urls import locate_object
from skyferry.config.settings import Settings
from skyferry.errors import ConfigError


@pytest.mark.parametrize("text", ["postgresql://me:hun/ter2@host/x", "https://me:hun/ter2@host", "ftp://me:hun/ter2@h"])
def test_a_password_in_a_url_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        locate_object(text, Settings())
    assert "ter2" not in str(refused.value)
    assert "hun" not in str(refused.value)
