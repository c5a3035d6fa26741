"""Local copies: fetched once, whole or absent, current, of bounded size, shared by processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from echoviewclip.datasets.configured import read_list
from echoviewclip.datasets.remote import downloads, store
from echoviewclip.datasets.remote.downloads import Downloads, open_copy
from echoviewclip.datasets.video.reasons import Unreadable
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.workers import time_limit
from tests.served import served
from tests.tiny_data import tiny


def content(url: str) -> bytes:
    with open_copy(url) as file:
        return file.read()


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("???/*-*"))


def total(folder: Path) -> int:
    return sum(path.stat().st_size for path in kept(folder))


def test_a_file_is_fetched_once(server, copies, tmp_path):
    (tmp_path / "site/a b.avi").write_bytes(b"frames")
    url = f"{server.url}/a%20b.avi"
    assert [content(url) for _ in range(3)] == [b"frames"] * 3
    assert server.asked == {("HEAD", "/a%20b.avi"): 1, ("GET", "/a%20b.avi"): 1}
    (copy,) = kept(copies)
    assert copy.suffix == ".avi" and "a b" not in copy.name and copy.stat().st_mode & 0o077 == 0
    assert copies.stat().st_mode & 0o077 == 0


def test_a_later_run_asks_whether_it_is_still_the_same(server, copies, tmp_path, monkeypatch):
    file, url = tmp_path / "site/a.avi", f"{server.url}/a.avi"
    file.write_bytes(b"first")
    content(url)
    monkeypatch.setattr(downloads, "STARTED", time.time() + 5)
    assert content_of_next_run(url, monkeypatch) == b"first"
    assert server.asked["GET", "/a.avi"] == 1 and server.asked["HEAD", "/a.avi"] == 2
    file.write_bytes(b"later")
    os.utime(file, (1, 1))
    assert content_of_next_run(url, monkeypatch) == b"later"
    assert len(kept(copies)) == 1


def content_of_next_run(url: str, monkeypatch) -> bytes:
    """As read by a run that began after all copies of now were made."""
    monkeypatch.setattr(downloads, "STARTED", time.time())
    return content(url)


def test_memory_and_other_file_systems(memory):
    memory.pipe("/bucket/a.avi", b"frames")
    assert content("memory://bucket/a.avi") == b"frames"


@pytest.mark.parametrize("cut", [0, 3])
def test_a_truncated_download_is_an_error_and_leaves_nothing(server, copies, tmp_path, cut):
    (tmp_path / "site/a.avi").write_bytes(b"frames")
    server.cut = cut
    with pytest.raises(Unreadable, match="its source cannot be reached, or the connection broke"):
        content(f"{server.url}/a.avi")
    assert server.asked["GET", "/a.avi"] == 3 and total(copies) == 0
    server.cut = None
    assert content(f"{server.url}/a.avi") == b"frames"


def test_a_file_of_another_size_than_its_source_says_is_an_error(memory, copies, monkeypatch):
    memory.pipe("/a.avi", b"frames")
    info = type(memory).info
    monkeypatch.setattr(type(memory), "info", lambda self, path, **how: {**info(self, path, **how), "size": 10})
    with pytest.raises(Unreadable, match=r"^6 of 10 bytes came from its source$"):
        content("memory://a.avi")
    assert total(copies) == 0


def test_failures_that_pass_are_tried_again(server, tmp_path):
    (tmp_path / "site/a.avi").write_bytes(b"frames")
    server.failing = [503, 503]  # HEAD, and the GET that takes its place
    assert content(f"{server.url}/a.avi") == b"frames"


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ([404, 404], "there is no such file at its source"),
        ([403, 403], "access is denied at its source; credentials come from the environment or the configuration of"),
        ([500] * 6, "its source answers with status 500"),
    ],
)
def test_failures_that_stay_are_told_in_words_of_our_own(server, tmp_path, statuses, reason):
    (tmp_path / "site/a.avi").write_bytes(b"frames")
    server.failing = list(statuses)
    with pytest.raises(Unreadable, match=reason):
        content(f"{server.url}/a.avi")
    assert not server.failing


def test_a_server_that_is_not_there(tmp_path):
    pytest.importorskip("aiohttp")
    with served(tmp_path) as server:
        pass
    with pytest.raises(Unreadable, match=r"its source cannot be reached, or the connection broke \("):
        content(f"{server.url}/a.avi")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://a.avi", "nonsense:// is no kind of address that fsspec reads; name a local path or e.g. s3://…"),
        ("gs://bucket/a.avi", "gs:// needs packages that are not installed: pip install fsspec gcsfs"),
    ],
)
def test_an_address_that_cannot_be_read_says_what_to_do(url, message, monkeypatch):
    def missing(url, **_):
        raise ImportError("Install gcsfs")

    if url.startswith("gs"):
        monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(UserError) as error:
        content(url)
    assert str(error.value) == message


def test_a_download_that_takes_too_long_is_given_up(server, copies, monkeypatch):
    monkeypatch.setattr(store, "_system", lambda url: time.sleep(60))
    with pytest.raises(Unreadable, match=r"fetching it takes too long \(DATA.TIMEOUT\)"), time_limit(0.05):
        content(f"{server.url}/a.avi")
    assert kept(copies) == []


# ── The bound ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_least_recently_used_leave(memory, tmp_path):
    small = Downloads(tmp_path / "small", limit=1000)
    for name in "abc":
        memory.pipe(f"/{name}", name.encode() * 300)
        small.open(f"memory://{name}").close()
    assert total(small.folder) == 900
    small.open("memory://a").close()  # used again
    memory.pipe("/d", b"d" * 300)
    with small.open("memory://d") as file:
        assert file.read() == b"d" * 300
    assert {path.read_bytes()[:1] for path in kept(small.folder)} == {b"a", b"c", b"d"}
    assert int((small.folder / ".size").read_text()) == total(small.folder) == 900


def test_a_file_that_is_being_read_stays_readable(memory, tmp_path):
    small = Downloads(tmp_path / "small", limit=1000)
    for name in "ab":
        memory.pipe(f"/{name}", name.encode() * 600)
    with small.open("memory://a") as first, small.open("memory://b") as second:
        assert total(small.folder) == 600
        assert (first.read(), second.read()) == (b"a" * 600, b"b" * 600)


def test_a_file_larger_than_all_copies_may_be_is_an_error(memory, tmp_path):
    memory.pipe("/a", b"a" * 1001)
    with pytest.raises(Unreadable, match=r"raise DATA.DOWNLOAD_LIMIT \(--download-limit\)"):
        Downloads(tmp_path / "small", limit=1000).open("memory://a")


@pytest.mark.parametrize("damage", ["", "many", "999999"])
def test_a_wrong_count_is_put_right(memory, tmp_path, damage):
    small = Downloads(tmp_path / "small", limit=1000)
    for name in "ab":
        memory.pipe(f"/{name}", b"x" * 300)
    small.open("memory://a").close()
    (small.folder / ".size").write_text(damage)
    small.open("memory://b").close()
    assert total(small.folder) == 600 == int((small.folder / ".size").read_text())


def _read_all(url: str, names: list[str], results: multiprocessing.Queue) -> None:
    results.put([content(f"{url}/{name}") == name.encode() * 50_000 for name in names])


@pytest.mark.parametrize("limit", [1.0, 0.001])  # GB: room for all, and for some
def test_several_processes_share_a_folder(server, copies, tmp_path, limit):
    names = [f"{k}.avi" for k in range(12)]
    for name in names:
        (tmp_path / "site" / name).write_bytes(name.encode() * 50_000)
    downloads.set_downloads(copies, limit)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_read_all, args=(server.url, names, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert answers == [[True] * 12] * 3
    if limit == 1:
        assert all(server.asked["GET", f"/{name}"] == 1 for name in names)
    assert total(copies) == int((copies / ".size").read_text()) <= limit * 1e9


# ── Keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_configuration_says_where_copies_are_and_how_large(memory, tmp_path):
    memory.pipe("/data/list.csv", b"path,label\na.avi,1\n")
    memory.pipe("/data/videos/a.avi", b"x" * 3000)
    settings = {"DATA__DOWNLOAD_FOLDER": str(tmp_path / "mine"), "DATA__DOWNLOAD_LIMIT": 2e-6}
    (tmp_path / "labels.csv").write_text("id,name\n0,A\n1,B\n")
    config = tiny(tmp_path, tmp_path / "run", DATA__NUM_CLASSES=0, DATA__ROOT="memory://data", **settings)
    listed = read_list(config, "list.csv")
    assert listed.path(0) == "memory://data/videos/a.avi"
    assert [path.suffix for path in kept(tmp_path / "mine")] == [".csv"]
    with pytest.raises(Unreadable, match=r"raise DATA\.DOWNLOAD_LIMIT"):
        content(listed.path(0))


def test_without_a_folder_copies_go_to_the_user_s_own(memory, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    downloads.set_downloads("", 1.0)
    memory.pipe("/a.avi", b"frames")
    content("memory://a.avi")
    assert len(kept(tmp_path / "cache/echoviewclip/downloads")) == 1
