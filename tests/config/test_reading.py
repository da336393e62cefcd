"""Files that are read as a configuration, and faults of settings without a value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skyferry.config.load import check
from skyferry.config.reading.files import LARGEST


def test_a_device_is_no_configuration() -> None:
    """/dev/zero would be read without end."""
    [fault] = check(Path("/dev/zero"), {}).faults
    assert fault.message == "is a device, not a file"


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"drain: 3s\n".ljust(LARGEST))
    assert check(file, {}).settings.drain == 3.0
    file.write_bytes(b"drain: 3s\n".ljust(LARGEST + 1))
    [fault] = check(file, {}).faults
    assert (fault.where, fault.message) == ("large.yaml", "is larger than 4 MiB")


def test_a_pipe_is_read_to_its_end_as_shells_make_it(tmp_path: Path) -> None:
    """As in `--config <(COMMAND)`."""
    reading, writing = os.pipe()
    os.write(writing, b"drain: 3s\n")
    os.close(writing)
    try:
        assert check(Path(f"/dev/fd/{reading}"), {}).settings.drain == 3.0
    finally:
        os.close(reading)


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    [fault] = check(tmp_path / "pipe", {}).faults
    assert fault.message == "is a pipe that nothing writes to"


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("store:\n", "store", "Did you mean stores?"),
        ("routes:\n- {name: r, from: a, to: b, delets: }\nstores: {a: {url: memory://a}, b: {url: memory://b}}\n",
         "routes[0].delets", "Did you mean deletes?"),
        ("limits:\n  memry:\n", "limits.memry", "Did you mean memory?"),
        ("stores:\n  source:\n    url: memory://a\n    simulator:\n      latncy:\n", "stores.source.simulator.latncy", ""),
    ],
)  # fmt: skip
def test_an_unknown_setting_without_a_value_is_a_fault(tmp_path: Path, text: str, where: str, hint: str) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(text)
    [fault] = check(file, {}).faults
    assert (fault.where, fault.message) == (where, "is not a setting")
    assert hint in fault.hint
    assert fault.line


def test_known_settings_without_a_value_have_their_defaults(tmp_path: Path) -> None:
    """Old names are known."""
    file = tmp_path / "skyferry.yaml"
    file.write_text("stores:\nlimits:\nledger:\n  keep:\nroutes:\nserver:\n  listen:\ndrain:\n")
    assert check(file, {}).faults == ()


def test_a_section_that_is_given_twice_is_one_fault(tmp_path: Path) -> None:
    """None of its stores is reported as missing on an earlier line than the cause."""
    file = tmp_path / "twice.yaml"
    file.write_text("stores: {a: {url: file://a}}\nroutes: [{name: r, from: a, to: b}]\nstores: {b: {url: file://b}}")
    [fault] = check(file, {}).faults
    assert (fault.where, fault.line, fault.message) == ("stores", 3, "is given twice")
