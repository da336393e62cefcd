"""The settings of a store that fails on purpose."""

from __future__ import annotations

from skyferry.config.sections.section import Bytes, Seconds, Section, Texts, setting


class SimulatorSettings(Section):
    """The faults of a `sim://` store. Rates are probabilities per request, 0 to 1."""

    seed: int = setting(default=0, description="Seed of all faults and delays; the same seed gives the same run.")
    latency: Seconds = setting(default=0.0, description="Delay added to each request.")
    jitter: Seconds = setting(default=0.0, description="Upper bound of a random delay (uniform) added to the latency.")
    bandwidth: Bytes = setting(default=0, description="Bytes per second for all requests together; 0 = no limit.")
    throttle: float = setting(default=0.0, ge=0, le=1, description="Rate of Throttled answers (with Retry-After).")
    timeout: float = setting(default=0.0, ge=0, le=1, description="Rate of requests that time out.")
    reset: float = setting(
        default=0.0,
        ge=0,
        le=1,
        description="Rate of connections that are reset, before or after the request takes effect.",
    )
    permission: float = setting(default=0.0, ge=0, le=1, description="Rate of PermissionDenied.")
    not_found: float = setting(
        default=0.0,
        ge=0,
        le=1,
        description="Rate of ObjectNotFound on reads. At a source, the object then counts as deleted.",
    )
    corrupt: float = setting(
        default=0.0,
        ge=0,
        le=1,
        description="Rate of reads with one flipped byte. It is detected if the event or the object has a checksum: files that "
        "Skyferry wrote have one, other files do not.",
    )
    truncate: float = setting(
        default=0.0, ge=0, le=1, description="Rate of reads that end early, half of them without an error."
    )
    quota: Bytes = setting(
        default=0, description="Size of the folder above which writes fail with QuotaExceeded, and wait; 0 = no limit."
    )
    outages: Texts = setting(
        default=(),
        description='Windows after the start in which every request fails, such as "10s-25s"; separated by commas in a URL.',
    )
    timeout_after: Seconds = setting(default=0.05, description="Duration of a request that times out.")
