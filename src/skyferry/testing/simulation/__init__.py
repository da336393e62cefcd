"""The engine on simulated time: one seed decides all interleavings and faults, so a failing seed can be replayed exactly."""
