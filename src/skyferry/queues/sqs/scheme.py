"""The URL scheme of Amazon SQS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_CLOUD, QueueScheme
from skyferry.model import QueueTraits
from skyferry.regex import compile_lazily

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

HOLD = 12 * 3600.0  # seconds after a receive at which a message becomes visible again, however often it is extended
TRAITS = QueueTraits(
    max_lease=HOLD,
    max_hold=HOLD,
    max_delay=HOLD,
    max_send_delay=900.0,
    depth="estimate",
    prioritized=False,
    deduplicates=False,
    limits_receives=True,
    frees_on_close=False,
)
FIFO = replace(TRAITS, max_send_delay=0.0, ordered=True, deduplicates=True)


def _open(context: QueueContext) -> EventQueue:
    from skyferry.queues.sqs.client import SqsOptions
    from skyferry.queues.sqs.queue import SqsQueue

    url, settings = context.where.url, context.where.settings
    region = settings.region or context.region or "us-east-1"
    options = SqsOptions(settings.endpoint, region, url.account, max(1, round(settings.lease)))
    return SqsQueue(context.name, url.queue, context.credentials, options, context.clock)


ARN = compile_lazily(r"arn:aws[a-z-]*:sqs:([a-z0-9-]+):(\d+):([\w.-]+)")
HTTPS = compile_lazily(r"https?://([\w.:-]+)/(\d+)/([\w.-]+)/?")
AMAZON = compile_lazily(
    r"(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue|queue)"
    r"\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov)"
)


def translate_queue_name(text: str) -> str:
    """Return the sqs:// URL of a queue's ARN or https URL; "" for any other text.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
    """
    if arn := ARN.fullmatch(text):
        return f"sqs://{arn[2]}/{arn[3]}?region={arn[1]}"
    if not (https := HTTPS.fullmatch(text)):
        return ""
    host, account, name = https.groups()
    if amazon := AMAZON.fullmatch(host):
        return f"sqs://{account}/{name}?region={amazon[1] or amazon[2] or 'us-east-1'}"
    labels = host.split(".")
    region = f"&region={labels[1]}" if labels[0] == "sqs" and len(labels) > 2 else ""
    return f"sqs://{account}/{name}?endpoint={text.partition(':')[0]}://{host}{region}"


SQS = QueueScheme(
    "sqs://QUEUE",
    _open,
    options=frozenset({"endpoint", "identity", "region"}),
    settings=AT_A_CLOUD | {"region"},
    parts=2,
    cloud="aws",
    extra="s3",
    needs=("aiohttp", "botocore"),
    traits=TRAITS,
    translate=translate_queue_name,
)
