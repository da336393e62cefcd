"""Who Skyferry is to each cloud: short-lived credentials, renewed ahead of their end, and no long-lived key."""
