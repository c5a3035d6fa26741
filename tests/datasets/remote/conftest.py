"""Places elsewhere, and a folder of copies for each test."""

from __future__ import annotations

import pytest

from echoviewclip.datasets.remote import store
from echoviewclip.datasets.remote.downloads import FOLDER, LIMIT, set_downloads
from tests.served import served


@pytest.fixture(autouse=True)
def copies(tmp_path, monkeypatch):
    """The folder of copies; requests are made again at once."""
    pytest.importorskip("fsspec")
    monkeypatch.setenv(FOLDER, "")
    monkeypatch.setenv(LIMIT, "")
    monkeypatch.setattr(store, "PAUSES", (0.0, 0.0))
    set_downloads(tmp_path / "copies", 1.0)
    return tmp_path / "copies"


@pytest.fixture
def server(tmp_path):
    """Serves the folder `site` of the test's own."""
    pytest.importorskip("aiohttp")
    (tmp_path / "site").mkdir()
    with served(tmp_path / "site") as found:
        yield found


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty."""
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
