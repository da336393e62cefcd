"""The transcript of docs/operations/doctor.md is what the doctor prints of such a bucket and queue on LocalStack."""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from tests.docs.amazon import Amazon
from tests.docs.pages import DOCS
from tests.docs.transcripts import Step, agree, run

from skyferry.testing.servers import LocalStack

REGION = "eu-west-1"
CONFIGURATION = """\
stores:
  photos: {{url: "s3://photos-{account}?{options}&service=localstack"}}
  archive: {{url: "s3://archive-{account}?{options}&service=localstack"}}
routes:
  - {{name: photos, from: photos, to: archive, deletes: propagate}}
queues:
  - {{name: photos, url: "sqs://photos-{account}?region={region}&endpoint={url}", lease: 60s, identity: {{kind: static}}}}
"""


def arrange(amazon: Amazon, account: str) -> None:
    """Two buckets; a queue with too few receives, which hears of creations only; and one large object."""
    with closing(amazon.client("s3")) as s3, closing(amazon.client("sqs")) as sqs:
        for name in ("photos", "archive"):
            s3.create_bucket(Bucket=f"{name}-{account}", CreateBucketConfiguration={"LocationConstraint": REGION})
        name, arn = f"photos-{account}", f"arn:aws:sqs:{REGION}:{account}:photos-{account}"
        sqs.create_queue(QueueName=f"{name}-dead")
        send = {
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{name}"}},
        }
        redrive = {"deadLetterTargetArn": f"{arn}-dead", "maxReceiveCount": "3"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [send]})
        attributes = {"VisibilityTimeout": "60", "RedrivePolicy": json.dumps(redrive), "Policy": policy}
        queue = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        s3.put_object(Bucket=name, Key="films/harbour.mov", Body=bytes(5 * 2**20))
        notify = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=notify)
        sqs.purge_queue(QueueUrl=queue)  # of the test message


def test_the_transcript_is_true(aws_server: LocalStack, tmp_path: Path) -> None:
    account = f"{secrets.randbelow(10**12):012}"
    arrange(Amazon(aws_server, account, REGION), account)
    options = f"region={REGION}&endpoint={aws_server.url}&identity=static"
    text = CONFIGURATION.format(account=account, options=options, region=REGION, url=aws_server.url)
    (tmp_path / "skyferry.yaml").write_text(text)
    known = {"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "any"}
    (command, shown) = re.findall(r"```console\n\$ (.*?)\n(.*?)```", (DOCS / "operations/doctor.md").read_text(), re.S)[
        0
    ]
    with patch.dict(os.environ, known):
        printed = run(Step(0, command, [], {}), tmp_path, columns=400)
    printed = [re.sub(rf"(photos|archive)-{account}", r"\1-eu", line).replace(account, "0" * 12) for line in printed]
    while printed and not printed[-1]:
        printed.pop()
    assert agree(shown.splitlines(), printed), "\n".join(printed)
