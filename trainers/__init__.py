"""How it is learned: the one loop, the three stages, optimiser, precision, evaluation."""
