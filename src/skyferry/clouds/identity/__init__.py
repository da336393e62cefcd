"""Who Skyferry is to each cloud: short-lived credentials, renewed ahead of their end, and no long-lived key.

What the machine has by itself (an instance role, a managed identity, a person's login) comes from that cloud's own SDK;
what one cloud gives for another's token is one exchange of ours (`aws`, `google`, `azure`), the token from `sources`.
`renewing` keeps the result, `policy` says what is refused, `build` makes all that from `IdentitySettings`.
"""
