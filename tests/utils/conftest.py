"""Configurations that a test writes."""

from __future__ import annotations

import pytest


@pytest.fixture
def written(write):
    """Writes yaml text to the file that is returned."""
    return lambda text, name="a.yaml": write(text, name)
