"""Settings with a new name: the old one is accepted with a warning, and both at once are a fault."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.load import Checked, check, load
from skyferry.config.reading.renamed import ANY, SETTINGS, URL_OPTIONS
from skyferry.config.sections.section import find_section
from skyferry.config.settings import Settings

BASE: dict[str, Any] = {
    "stores": {"in": {"url": "file:///srv/in"}, "cloud": {"url": "gs://bucket"}},
    "routes": [{"name": "r", "from": "in", "to": "cloud"}],
}
# Each old place -> a value that is not the default, and the same as it stands in the settings.
VALUES: dict[tuple[str | int, ...], tuple[Any, Any]] = {
    ("stores", ANY, "uploads"): ("resumable", "resumable"),
    ("routes", ANY, "restore"): (True, True),
    ("ledger", "keep"): ("2d", 172800.0),
    ("retry", "base"): ("3s", 3.0),
    ("retry", "cap"): ("4m", 240.0),
    ("retry", "request_base"): ("20ms", 0.02),
    ("limits", "held_messages"): (17, 17),
}
NAMED: dict[str, str | int] = {"stores": "cloud", "routes": 0}  # the store and route that have the setting


def place_of(pattern: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(NAMED[str(pattern[0])] if part == ANY else part for part in pattern)


def dotted(place: tuple[str | int, ...]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).removeprefix(".")


def document(*given: tuple[tuple[str | int, ...], Any]) -> dict[str, Any]:
    data: dict[str, Any] = deepcopy(BASE)
    for place, value in given:
        section: Any = data
        for part in place[:-1]:
            section = section[part] if isinstance(part, int) else section.setdefault(part, {})
        section[place[-1]] = value
    return data


def checked(tmp_path: Path, data: dict[str, Any], **environ: str) -> Checked:
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    return check(file, environ)


def found(settings: Settings, place: tuple[str | int, ...]) -> Any:
    value: Any = settings
    for part in place:
        value = value[part] if isinstance(value, dict | tuple) else getattr(value, str(part))  # type: ignore[index]  # both kinds
    return value


def variable(place: tuple[str | int, ...]) -> str:
    return "SKYFERRY_" + "__".join(str(part) for part in place).upper()


def test_each_alias_has_a_case_here() -> None:
    assert VALUES.keys() == SETTINGS.keys()


@pytest.mark.parametrize("pattern", SETTINGS, ids=lambda pattern: str(pattern[-1]))
class TestEachAlias:
    def test_in_the_file_is_accepted_with_a_warning(self, tmp_path: Path, pattern: tuple[str | int, ...]) -> None:
        old, (written, value) = place_of(pattern), VALUES[pattern]
        new = (*old[:-1], SETTINGS[pattern])
        result = checked(tmp_path, document((old, written)))
        assert (result.faults, found(result.settings, new)) == ((), value)
        [warning] = result.notices
        assert warning in result.warnings
        assert (warning.where, warning.line is not None) == (dotted(old), True)
        assert f"`{dotted(old)}` is now called `{dotted(new)}`" in warning.message

    def test_in_a_variable_is_accepted_with_a_warning(self, tmp_path: Path, pattern: tuple[str | int, ...]) -> None:
        old, (written, value) = place_of(pattern), VALUES[pattern]
        new = (*old[:-1], SETTINGS[pattern])
        result = checked(tmp_path, document(), **{variable(old): str(written)})
        assert (result.faults, found(result.settings, new)) == ((), value)
        [warning] = result.notices
        assert warning.where == variable(old)
        assert f"`{dotted(old)}` is now called `{dotted(new)}`" in warning.message

    def test_in_a_variable_overrides_the_new_name_in_the_file(
        self, tmp_path: Path, pattern: tuple[str | int, ...]
    ) -> None:
        old, (written, value) = place_of(pattern), VALUES[pattern]
        new = (*old[:-1], SETTINGS[pattern])
        default = found(Settings.model_validate(document()), new)
        result = checked(tmp_path, document((new, default)), **{variable(old): str(written)})
        assert (result.faults, found(result.settings, new)) == ((), value)
        assert (
            found(checked(tmp_path, document((old, written)), **{variable(new): str(default)}).settings, new) == default
        )

    def test_beside_the_new_name_is_a_fault(self, tmp_path: Path, pattern: tuple[str | int, ...]) -> None:
        old, (written, _) = place_of(pattern), VALUES[pattern]
        new = (*old[:-1], SETTINGS[pattern])
        [fault] = checked(tmp_path, document((old, written), (new, written))).faults
        assert (fault.where, f"old name of `{dotted(new)}`" in fault.message) == (dotted(old), True)
        both = {variable(old): str(written), variable(new): str(written)}
        [fault] = checked(tmp_path, document(), **both).faults
        assert (fault.where, f"old name of `{dotted(new)}`" in fault.message) == (variable(old), True)

    def test_is_no_setting_any_more(self, pattern: tuple[str | int, ...]) -> None:
        section = find_section(Settings.find_kinds()[str(pattern[0])])
        assert section is not None
        assert pattern[-1] not in section.model_fields
        assert SETTINGS[pattern] in section.model_fields


def test_a_section_in_one_variable_may_have_old_names(tmp_path: Path) -> None:
    result = checked(tmp_path, document(), SKYFERRY_RETRY="{base: 3s, max_retries: 1}")
    assert (result.faults, result.settings.retry.initial_delay, result.settings.retry.max_retries) == ((), 3.0, 1)
    [warning] = result.notices
    assert warning.where == "SKYFERRY_RETRY"


@pytest.mark.parametrize("old", URL_OPTIONS)
def test_an_option_of_a_url_is_accepted_with_a_warning(tmp_path: Path, old: str) -> None:
    data = document()
    data["stores"]["cloud"]["url"] = f"gs://bucket?{old}=resumable"
    result = checked(tmp_path, data)
    assert result.faults == ()
    [warning] = result.notices
    assert f"option `{old}` is now called `{URL_OPTIONS[old]}`" in warning.message
    data["stores"]["cloud"]["url"] += f"&{URL_OPTIONS[old]}=compose"
    [fault] = checked(tmp_path, data).faults
    assert "old name of the option" in fault.message


def test_loading_hands_on_each_use_of_an_old_name(tmp_path: Path) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump(document((("ledger", "keep"), "2d"))))
    seen: list[str] = []
    assert load(file, {}, warn=lambda old: seen.append(str(old))).ledger.retention == 172800.0
    assert len(seen) == 1
    assert "Use the new name; the old name is accepted until 1.0." in seen[0]
