"""Check in practice whether the routes can work from here, and how stores and queues are set up.

`check` has the findings and `needs` what routes need; `facts`, `holds`, `notices` and `hearing` judge what ends tell of
themselves; all these are pure. `stores`, `canary` and `events` try. `examine` does all of it.
"""

from skyferry.doctor.check import Check, CheckState
from skyferry.doctor.examine import Scope, examine

__all__ = ["Check", "CheckState", "Scope", "examine"]
