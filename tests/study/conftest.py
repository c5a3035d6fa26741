"""What tests of the study page share: a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import Page, browser


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """A tab of a browser that runs for a file of tests."""
    with browser() as tab:
        yield tab
