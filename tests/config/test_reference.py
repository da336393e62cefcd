"""The page of all settings."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from skyferry.config.load import load
from skyferry.config.reference import render_configuration
from skyferry.ledgers.schemes import LEDGERS
from skyferry.routing.patterns import PLACEHOLDERS
from skyferry.stores.schemes import STORES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text("utf-8") == render_configuration(), (
        "python -m skyferry.config.reference > docs/reference/configuration.md"
    )


def test_the_page_shows_the_embedded_default_as_it_is(tmp_path: Path) -> None:
    text, *_ = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    file = tmp_path / "skyferry.yaml"
    file.write_text(text)
    assert load(file, {}) == load(None, {})


def test_the_variables_on_the_page_work(tmp_path: Path) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "stores": {"my-bucket": {"url": "file://x"}},
                "routes": [{"name": "r", "from": "my-bucket", "to": "file://y", "deletes": "propagate"}],
            }
        )
    )
    variables = dict(re.findall(r"^\| `(SKYFERRY_[A-Z_0-9]+)=(.+?)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    settings = load(file, variables)
    assert settings.workspace == Path("/srv/skyferry")
    assert settings.limits.memory == 256 * 2**20
    assert settings.stores["my-bucket"].url == "file:///srv/in"
    assert (settings.routes[0].deletes, settings.routes[0].filter.glob) == ("ignore", ("**/*.csv", "**/*.json"))


def test_the_page_names_every_url_and_placeholder() -> None:
    page = PAGE.read_text("utf-8")
    for scheme in {**STORES, **LEDGERS}:
        assert f"`{scheme}://" in page
    for placeholder in PLACEHOLDERS:
        assert f"`{{{placeholder}}}`" in page


def test_every_link_on_the_page_leads_to_a_heading() -> None:
    page = PAGE.read_text("utf-8")
    headings = {
        re.sub(r"[^a-z0-9_ -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    assert set(re.findall(r"\(#(.*?)\)", page)) <= headings
