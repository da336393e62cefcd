"""Check in practice whether the routes can work from here, and how stores and queues are set up.

`check` has the results, and `requirements` what routes need. `facts`, `leases`, `notifications` and `listening` decide from facts;
all these are pure. `stores`, `canary` and `verdict` try in practice. `examine` runs all checks.
"""

from skyferry.doctor.check import Check, CheckState
from skyferry.doctor.examine import Scope, examine

__all__ = ["Check", "CheckState", "Scope", "examine"]
