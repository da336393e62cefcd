"""Inspect a Storage Queue. Permission: as for its depth."""

from __future__ import annotations

from skyferry.clouds.azure import AzureProvider
from skyferry.clouds.callers import azure_caller
from skyferry.errors import StoreError
from skyferry.ports.inspection import QueueFacts, Unknown
from skyferry.queues.azure.scheme import TRAITS


async def inspect(endpoint: str, credential: AzureProvider) -> QueueFacts:
    """See `InspectableQueue`, of a queue that has answered."""
    try:
        who = await azure_caller(credential)
    except StoreError as error:
        who = Unknown(error.message)
    return QueueFacts(
        endpoint=endpoint,
        who=who,
        address=Unknown("Azure's management interface tells who sends there, and the queue not"),
        redrive=None,
        receives=Unknown("Azure tells by trying only"),
        encryption="by the account's key",
        senders=Unknown("Event Grid is not asked"),
        traits=TRAITS,
        notes=("it drops what nobody acks in the time that the sender gave, seven days by default",),
    )
