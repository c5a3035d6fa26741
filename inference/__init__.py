"""From a checkpoint and videos to answers; what trains and what predicts stand on it."""
