"""The identity at each cloud: short-lived credentials, refreshed before they expire, and no long-lived keys.

The SDK of a cloud finds the identity of the machine (an instance role, a managed identity, a user's login). `aws`, `google` and
`azure` exchange tokens of other clouds, which come from `token_sources`. `refreshing` keeps the credentials, `policy` rejects
unsafe settings, and `build` makes all of it from `IdentitySettings`.
"""
