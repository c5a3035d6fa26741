"""Videos and lists that lie elsewhere: read by fsspec, kept for a while in a local folder of bounded size."""
