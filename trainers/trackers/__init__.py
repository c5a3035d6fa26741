"""Where a run is followed (LOG.BACKENDS): a file for each tracker, and the one place that tells them all."""
