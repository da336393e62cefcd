"""The JSON Schema of the configuration agrees with the loader."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from skyferry.config.json_schema import describe_configuration
from skyferry.config.load import check
from skyferry.config.reading.renamed import ANY, SETTINGS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
SECRETS = (
    "B2_KEY_ID",
    "B2_APPLICATION_KEY",
    "MINIO_KEY",
    "MINIO_SECRET",
    "MINIO_PUSH_SECRET",
    "SKYFERRY_SERVER__TOKEN",
)
STORES = {"a": {"url": "file://a"}, "b": {"url": "file://b"}}
ROUTE = {"name": "r", "from": "a", "to": "b"}
Data = dict[str, Any]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = describe_configuration()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_committed_schema_is_up_to_date() -> None:
    committed = json.loads((ROOT / "docs" / "reference" / "config.schema.json").read_text("utf-8"))
    assert committed == describe_configuration(), "make docs"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_works(file: Path, validator: Draft202012Validator) -> None:
    """It has neither faults nor warnings, the schema accepts it, and its first line leads editors to the schema."""
    found = check(file, dict.fromkeys(SECRETS, "0123456789abcdef0123456789abcdef"))
    assert (found.faults, found.warnings) == ((), ())
    text = file.read_text("utf-8")
    assert list(validator.iter_errors(yaml.safe_load(text))) == []
    (reference,) = re.findall(r"^# yaml-language-server: \$schema=(.+)$", text.partition("\n")[0])
    assert (file.parent / reference).samefile(ROOT / "docs" / "reference" / "config.schema.json")


def test_there_are_examples() -> None:
    """One for each common job: each kind of queue and ledger has one, and so have regions."""
    texts = " ".join(file.read_text("utf-8") for file in EXAMPLES)
    schemes = ("sqs", "pubsub", "azq", "postgresql", "nats|tls", "rediss?", "s3", "gs", "az", "file")
    assert [scheme for scheme in schemes if not re.search(rf"\b(?:{scheme})://", texts)] == []
    assert "allow_regions:" in texts
    assert len(EXAMPLES) >= 13


def test_the_example_of_regions_works_in_each() -> None:
    """Its comment names the environment of the other region."""
    file = ROOT / "examples" / "regions.yaml"
    assert check(file, dict(re.findall(r"(SKYFERRY_\w+)=(\S+)", file.read_text("utf-8")))).faults == ()


@pytest.mark.parametrize("value", [30, 1.5, "30s", "1.5h", " 200 MS ", "2d", "0"])
def test_durations(value: object, validator: Draft202012Validator, tmp_path: Path) -> None:
    assert accepted_by_both({"drain": value}, validator, tmp_path)


@pytest.mark.parametrize("value", ["5 parsecs", "s", "-1s", -1, "1e3", True, []])
def test_what_is_no_duration(value: object, validator: Draft202012Validator, tmp_path: Path) -> None:
    assert refused_by_both({"drain": value}, validator, tmp_path)


@pytest.mark.parametrize("value", [65536, "64KiB", "1GB", "2 tib", "1M", "100000b"])
def test_sizes(value: object, validator: Draft202012Validator, tmp_path: Path) -> None:
    assert accepted_by_both({"limits": {"waiting_memory": value}}, validator, tmp_path)


@pytest.mark.parametrize("value", ["64QiB", "KiB", "-5", "1 i"])
def test_what_is_no_size(value: object, validator: Draft202012Validator, tmp_path: Path) -> None:
    assert refused_by_both({"limits": {"waiting_memory": value}}, validator, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        {"limits": None, "stores": None},
        {"stores": STORES, "routes": [ROUTE | {"filter": {"prefix": 2026, "glob": "**/*.csv"}}]},
        {"stores": STORES, "routes": [ROUTE | {"filter": {"glob": ["a", "b"]}, "max_deletes": 10}]},
        {"stores": STORES, "routes": [ROUTE | {"storage_class": {"*": "STANDARD"}, "tags": {"year": 2026}}]},
        {"workspace": "data", "log": {"format": "json"}, "ledger": {"lease": "1m"}},
    ],
)
def test_spellings_that_are_accepted(data: Data, validator: Draft202012Validator, tmp_path: Path) -> None:
    assert accepted_by_both(data, validator, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        {"store": STORES},
        {"stores": STORES, "routes": [ROUTE | {"filtre": {}}]},
        {"stores": STORES, "routes": [ROUTE | {"name": "Not a name"}]},
        {"stores": STORES, "routes": [{"name": "r", "from": "a"}]},
        {"stores": {"a": {"url": "file://a", "watch": "maybe"}}},
        {"server": {"token": "0123456789abcdef0123456789abcdef"}},
        {"log": {"level": "loud"}},
        {"limits": {"transfers": 0}},
    ],
)
def test_what_is_refused(data: Data, validator: Draft202012Validator, tmp_path: Path) -> None:
    assert refused_by_both(data, validator, tmp_path)


def test_old_names_are_deprecated(validator: Draft202012Validator, tmp_path: Path) -> None:
    schema = json.dumps(validator.schema)
    assert schema.count('"deprecated": true') == len(SETTINGS)
    for place in SETTINGS:
        assert place[-1] != ANY
    data = {"stores": STORES, "routes": [ROUTE | {"restore": True}], "retry": {"base": "2s"}, "ledger": {"keep": "9d"}}
    assert accepted_by_both(data, validator, tmp_path)


def accepted_by_both(data: Data, validator: Draft202012Validator, folder: Path) -> bool:
    return _verdicts(data, validator, folder) == (True, True)


def refused_by_both(data: Data, validator: Draft202012Validator, folder: Path) -> bool:
    return _verdicts(data, validator, folder) == (False, False)


def _verdicts(data: Data, validator: Draft202012Validator, folder: Path) -> tuple[bool, bool]:
    file = folder / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    is_valid: Callable[[object], bool] = validator.is_valid
    return is_valid(data), not check(file, {}).faults
