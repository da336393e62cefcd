"""The port of the durable memory."""

from skyferry.ports.ledger.claims import (
    Dead as Dead,
)
from skyferry.ports.ledger.claims import (
    DeadLetter as DeadLetter,
)
from skyferry.ports.ledger.claims import (
    Done as Done,
)
from skyferry.ports.ledger.claims import (
    Filter as Filter,
)
from skyferry.ports.ledger.claims import (
    Ledger as Ledger,
)
from skyferry.ports.ledger.claims import (
    Outcome as Outcome,
)
from skyferry.ports.ledger.claims import (
    Page as Page,
)
from skyferry.ports.ledger.claims import (
    Released as Released,
)
from skyferry.ports.ledger.claims import (
    Retry as Retry,
)
from skyferry.ports.ledger.claims import (
    Settled as Settled,
)
from skyferry.ports.ledger.claims import (
    Settlement as Settlement,
)
from skyferry.ports.ledger.claims import (
    Skipped as Skipped,
)
from skyferry.ports.ledger.claims import (
    TransferRow as TransferRow,
)
from skyferry.ports.ledger.claims import (
    Wait as Wait,
)
