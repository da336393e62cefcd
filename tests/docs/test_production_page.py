"""The how-to pages of clouds and push work: their configurations load, their AWS commands run in order.

Those of gcloud and az are not run here: no server that can be had for a test answers IAM and Azure's management interface.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from tests.docs.amazon import Amazon
from tests.docs.pages import DOCS, WORDS, Reader, commands

from skyferry.cli import main
from skyferry.config.load import check
from skyferry.testing.servers import LocalStack

PAGES = ("s3-to-cloud-storage.md", "cloud-storage-to-s3.md", "azure-to-s3.md")


@pytest.fixture
def reader() -> Reader:
    return Reader(f"{secrets.randbelow(10**12):012}")


@pytest.fixture
def account(aws_server: LocalStack, reader: Reader) -> Amazon:
    return Amazon(aws_server, reader.account, WORDS["REGION"])


def configured(page: str, reader: Reader, folder: Path) -> Path:
    """The direction's configuration, in a file."""
    (text,) = reader.blocks((DOCS / "how-to" / page).read_text("utf-8"), "yaml")
    file = folder / "skyferry.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("page", PAGES)
def test_a_configuration_has_no_faults(page: str, reader: Reader, tmp_path: Path) -> None:
    found = check(configured(page, reader, tmp_path), {})
    assert (found.faults, found.warnings) == ((), ())


def script(page: str, reader: Reader, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """All of one direction, in the page's order: what `skyferry policy` prints stands where the page runs it, or last."""
    with pytest.raises(SystemExit):
        main(["policy", "--config", str(configured(page, reader, folder))])
    grants = reader.replaced(capsys.readouterr().out)
    text = (DOCS / "how-to" / page).read_text("utf-8")
    before, _, after = "".join(reader.blocks(text, "sh")).partition("sh grant.sh\n")
    return f"{before}\n{grants}\n{after}"


@pytest.mark.parametrize(
    ("page", "trusted"),
    [
        (PAGES[0], "ec2.amazonaws.com"),
        (PAGES[1], "accounts.google.com"),
        (PAGES[2], f"oidc-provider/sts.windows.net/{WORDS['TENANT_ID']}/"),
    ],
)
def test_the_commands_of_aws_run_in_order(
    page: str, trusted: str, reader: Reader, account: Amazon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an account that has nothing. The role is there, and trusts whom it should."""
    for words in commands(script(page, reader, tmp_path, capsys), "aws", tmp_path):
        account.run(words)
    role: Any = account.client("iam").get_role(RoleName="skyferry")["Role"]
    (who,) = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"].values()
    assert who.endswith(trusted)


def test_the_queue_of_the_page_hears_of_its_bucket(
    reader: Reader, account: Amazon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in commands(script(PAGES[0], reader, tmp_path, capsys), "aws", tmp_path):
        account.run(words)
    account.client("s3").put_object(Bucket=reader.words["PHOTOS"], Key="a.txt", Body=b"x")
    queue = account.client("sqs").get_queue_url(QueueName="photos-events")["QueueUrl"]
    bodies: list[str] = []
    for _ in range(5):  # S3's test message comes first, and maybe alone
        found = account.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=10)
        bodies += [message["Body"] for message in found.get("Messages", ())]
        if any("ObjectCreated:Put" in body for body in bodies):
            return
    pytest.fail(f"no event came, but {bodies}")


def test_sns_is_set_up_for_push(reader: Reader, account: Amazon, tmp_path: Path) -> None:
    """The topic lets the bucket publish, and has the door for its subscriber."""
    page = (DOCS / "how-to/push.md").read_text("utf-8")
    account.run(["s3", "mb", f"s3://{reader.words['PHOTOS']}"])
    for words in commands("".join(reader.blocks(page, "sh")), "aws", tmp_path):
        account.run(words)
    (made,) = account.client("sns").list_subscriptions()["Subscriptions"]
    assert (made["Protocol"], made["Endpoint"]) == ("https", "https://ferry.example.org/v1/push/photos")


def test_notifications_are_set_up_as_in_the_guides() -> None:
    def said(page: str) -> set[str]:
        text = "".join(re.findall(r"```sh\n(.*?)```", (DOCS / "how-to" / page).read_text("utf-8"), re.DOTALL))
        return set(re.split(r"\n(?! )", text.strip()))

    assert said("notifications.md") <= {command for page in PAGES for command in said(page)}
