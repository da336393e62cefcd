"""An operator hears of a renewal that fails while the old credential still serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyferry.config.identity import IdentitySettings
from skyferry.config.settings import Settings, StoreSettings
from skyferry.errors import IdentityRefused, SkyferryError
from skyferry.wiring import Opener


async def test_the_store_and_the_reason_are_reported(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"type": "service_account", "private_key": "PRIVATE"}))
    store = StoreSettings(url="gs://archive", endpoint="http://127.0.0.1:9", identity=IdentitySettings())
    heard: list[tuple[str, SkyferryError]] = []
    opener = Opener(
        Settings(stores={"archive": store}),
        env={"GOOGLE_APPLICATION_CREDENTIALS": str(key)},
        on_refused=lambda name, error: heard.append((name, error)),
    )
    archive = opener.store("archive")
    with pytest.raises(IdentityRefused, match="long-lived"):
        await archive.head("k")
    await archive.close()
    await opener.close()
    [(name, error)] = heard
    assert (name, error.kind) == ("archive", "identity_refused")
