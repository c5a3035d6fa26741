"""The page of a study: what its videos show, the best clip of each view, what is missing (docs/study.md)."""
