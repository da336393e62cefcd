"""`skyferry policy`, as people and programs see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson
import pytest

from skyferry.cli import main

CONFIG = """
stores:
  photos: {url: "s3://photos?region=eu-west-1"}
  archive: {url: gs://archive}
routes: [{name: r, from: photos, to: archive}]
queues: [{name: q, url: "sqs://events?region=eu-west-1"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "skyferry.yaml"
    path.write_text(CONFIG)
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["policy", *arguments])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return said.out


def test_json_is_the_stated_contract(capsys: pytest.CaptureFixture[str], file: str) -> None:
    policies = orjson.loads(printed(capsys, "--config", file, "--json"))["policies"]
    assert [each["cloud"] for each in policies] == ["aws", "google"]
    assert all(
        set(each) == {"cloud", "identity", "users", "documents", "commands", "placeholders", "notes"}
        for each in policies
    )
    assert set(policies[0]["documents"]) == {"policy", "trust", "policy of queue q"}


def test_what_is_printed_is_a_script(capsys: pytest.CaptureFixture[str], file: str) -> None:
    """Of commands and comments alone; each document is one word of its command."""
    heard = 'aws() { echo "aws $1 $2"; }; gcloud() { echo "gcloud $1 $2"; }; '
    done = subprocess.run(["sh", "-euc", heard + printed(capsys, "--config", file)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().split("\n")[:4] == [
        "aws iam create-role",
        "aws iam put-role-policy",
        "aws sqs set-queue-attributes",
        "gcloud iam roles",
    ]


def test_one_cloud_alone_can_be_asked_for(capsys: pytest.CaptureFixture[str], file: str) -> None:
    text = printed(capsys, "--config", file, "--cloud", "google")
    assert "s3:" not in text
    assert "gcloud storage buckets add-iam-policy-binding gs://archive" in text
    assert printed(capsys, "--config", file, "--cloud", "azure").startswith("nothing")


def test_submitting_is_a_permission_of_its_own(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert "sqs:SendMessage" not in printed(capsys, "--config", file, "--cloud", "aws").partition("aws sqs")[0]
    assert "sqs:SendMessage" in printed(capsys, "--config", file, "--cloud", "aws", "--submit").partition("aws sqs")[0]


def test_folders_need_no_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As in the embedded default."""
    assert printed(capsys, "--workspace", str(tmp_path)) == "nothing: no route and no queue needs a permission\n"
