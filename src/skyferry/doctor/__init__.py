"""Whether routes can work from here, found out by doing it; and how both ends and the queues are set up.

`check` has the findings and `needs` what routes need; `facts`, `holds`, `notices` and `hearing` judge what ends tell of
themselves; all these are pure. `stores`, `canary` and `events` try. `examine` does all of it.
"""

from skyferry.doctor.check import Check, CheckState
from skyferry.doctor.examine import Scope, examine

__all__ = ["Check", "CheckState", "Scope", "examine"]
