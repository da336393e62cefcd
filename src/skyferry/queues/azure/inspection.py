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
        address=Unknown("only Azure's management interface lists the senders"),
        redrive=None,
        receives=Unknown("Azure does not report permissions"),
        encryption="by the account's key",
        senders=Unknown("Event Grid is not asked"),
        traits=TRAITS,
        notes=("messages expire after the sender's time to live, seven days by default",),
    )
