"""A checkpoint for use elsewhere: one graph that answers alone, a folder to publish, a model card."""
