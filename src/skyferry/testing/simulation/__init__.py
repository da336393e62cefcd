"""The engine on simulated time: one seed decides every interleaving and every fault, so a failing seed replays exactly."""
