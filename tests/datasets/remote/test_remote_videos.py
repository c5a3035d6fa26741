"""Videos, lists and folders at URLs: read, searched and prepared as on the disk; credentials stay unsaid."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.datasets.intake.asked import find_videos, iterate_videos
from echoviewclip.datasets.intake.find import find_sources
from echoviewclip.datasets.intake.preparation import Preparation, preparation_of, write_note
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.config.checks import check
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.logs import set_up_logging
from tests.media import write_video
from tests.tiny_data import tiny

SECRETS = ("hunter2", "deadbeef")


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (4, 32, 48, 3), np.uint8)


def pixels(path: str) -> np.ndarray:
    with open_video(path) as video:
        return video.frames(range(len(video))).numpy()


def test_a_video_at_a_url_is_the_video(server, tmp_path, frames):
    file = write_video(tmp_path / "site/a b.avi", frames)
    np.testing.assert_array_equal(pixels(f"{server.url}/a%20b.avi"), pixels(str(file)))


def test_each_kind_of_video_is_read(memory, tmp_path, frames):
    np.save(tmp_path / "a.npy", frames)
    memory.pipe("/b/a.npy", (tmp_path / "a.npy").read_bytes())
    np.testing.assert_array_equal(pixels("memory://b/a.npy"), frames.transpose(0, 3, 1, 2))


def test_a_folder_of_frames_is_a_video_where_the_source_has_folders(memory, tmp_path, frames):
    from PIL import Image

    for number in (10, 2, 1):
        Image.fromarray(frames[number % 4]).save(tmp_path / "f.png")
        memory.pipe(f"/b/frames/img {number}.png", (tmp_path / "f.png").read_bytes())
    np.testing.assert_array_equal(pixels("memory://b/frames"), frames[[1, 2, 2]].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.avi", "cannot be read: there is no such file at its source"),
        ("empty.avi", "is empty"),
        ("text.avi", "cannot be read: Invalid data found when processing input"),
        ("text.dcm", "is not a DICOM object"),
    ],
)
def test_what_cannot_be_read_names_the_url_without_credentials(server, tmp_path, name, reason):
    (tmp_path / "site/empty.avi").touch()
    for other in ("text.avi", "text.dcm"):
        (tmp_path / "site" / other).write_text("this is no video")
    url = f"{server.url}/{name}"
    with pytest.raises(VideoError) as error:
        open_video(f"{url.replace('//', '//jane:hunter2@')}?X-Amz-Signature=deadbeef")
    assert str(error.value) == f"{url}: {reason}"


# ── Lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("folder", ["", "videos/"])
def test_a_standard_folder_at_a_url(server, tmp_path, frames, folder):
    (tmp_path / "site/videos").mkdir()
    write_video(tmp_path / f"site/{folder}a #1.avi", frames)
    (tmp_path / "site/train.txt").write_text("a #1.avi 3\nb.avi 1\n")
    listed = read_annotations("train.txt", server.url)
    assert [listed.name(i) for i in range(2)] == ["a #1.avi", "b.avi"] and listed.labels.tolist() == [3, 1]
    assert listed.path(0) == next(iter(listed.paths())) == f"{server.url}/{folder}a%20%231.avi"
    assert pixels(listed.path(0)).shape == (4, 3, 32, 48)
    assert read_annotations(f"{server.url}/train.txt").path(0) == listed.path(0)


def test_a_list_that_is_not_there_or_is_damaged_is_named(server, tmp_path):
    with pytest.raises(
        UserError, match=rf"^{server.url}/none.csv: cannot be read: there is no such file at its source$"
    ):
        read_annotations(f"{server.url}/none.csv")
    with pytest.raises(UserError, match=f"no such list of videos: none.csv nor {server.url}/none.csv"):
        read_annotations("none.csv", server.url)
    (tmp_path / "site/list.csv").write_bytes(b"path\n\xff\n")
    with pytest.raises(UserError, match=rf"^{server.url}/list.csv:2: not UTF-8 text"):
        read_annotations(f"{server.url}/list.csv")


@pytest.mark.parametrize("name", ["http://elsewhere/a.avi", "%2e%2e/a.avi", "file:///etc/passwd"])
def test_a_list_leads_out_of_its_folder_only_where_that_is_allowed(memory, tmp_path, name):
    memory.pipe("/b/list.txt", f"{name} 0\n".encode())
    if name != "%2e%2e/a.avi":
        assert read_annotations("memory://b/list.txt", allow_outside=True).path(0).endswith(name)
    with pytest.raises(UserError, match=r"leads out of memory://b; DATA.ALLOW_OUTSIDE True accepts it"):
        read_annotations("memory://b/list.txt")
    (tmp_path / "list.txt").write_text(f"{name} 0\n")
    if "://" in name:
        with pytest.raises(UserError, match="leads out of"):
            read_annotations(tmp_path / "list.txt")


def test_an_absolute_path_in_a_list_at_a_url_is_no_file_of_this_machine(memory):
    memory.pipe("/b/list.txt", b"/etc/passwd 0\n")
    assert read_annotations("memory://b/list.txt", allow_outside=True).path(0).startswith("memory://b/")


def test_signed_urls_of_a_list_are_read_and_not_shown(server, tmp_path, frames):
    write_video(tmp_path / "site/a.avi", frames)
    signed = f"{server.url}/a.avi?X-Amz-Signature=deadbeef"
    (tmp_path / "list.csv").write_text(f"path,label\n{signed},1\n")
    listed = read_annotations(tmp_path / "list.csv", allow_outside=True)
    assert (listed.name(0), listed.path(0)) == (f"{server.url}/a.avi", signed)
    assert pixels(listed.path(0)).shape == (4, 3, 32, 48)
    assert server.asked["GET", "/a.avi?X-Amz-Signature=deadbeef"] == 1
    pixels(signed.replace("deadbeef", "anotherone"))  # the same file under a new signature
    assert server.asked["GET", "/a.avi?X-Amz-Signature=anotherone"] == 0


def test_videos_that_only_a_query_tells_apart_are_refused(tmp_path):
    (tmp_path / "l.csv").write_text("path\nhttp://h/get?id=1\nhttp://h/get?id=2\nhttp://h/get?id=1&Expires=5\n")
    with pytest.raises(UserError) as error:
        read_annotations(tmp_path / "l.csv", any_label=True, allow_outside=True)
    assert str(error.value).endswith(
        "l.csv:3: 'http://h/get' is told from another video only by what follows the `?`, which may hold credentials "
        "and is written nowhere; name them by other paths"
    )


# ── Searching and preparing ───────────────────────────────────────────────────────────────────────────────────────────


def archive(tmp_path: Path, frames: np.ndarray) -> list[str]:
    """Videos and other files below `site`; the names of the videos."""
    for name in ("b.avi", "deep er/a.avi", "deep er/z/c.avi"):
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "site" / name, frames)
    shutil.copy(tmp_path / "site/b.avi", tmp_path / "site/deep er/IM0001")
    (tmp_path / "site/notes.txt").write_text("no video")
    return ["b.avi", "deep er/IM0001", "deep er/a.avi", "deep er/z/c.avi"]


def test_a_folder_at_a_url_is_searched(server, tmp_path, frames):
    names = archive(tmp_path, frames)
    left_out: dict[str, str] = {}
    expected = [f"{server.url}/{name.replace(' ', '%20')}" for name in names]
    assert find_videos([f"{server.url}/"], left_out) == expected
    assert left_out == {f"{server.url}/notes.txt": "not of a kind that is read"}
    assert list(find_sources(f"{server.url}/").kinds) == names


def test_patterns_at_a_url(server, memory, tmp_path, frames):
    archive(tmp_path, frames)
    assert find_videos([f"{server.url}/**/*.avi"]) == [
        f"{server.url}/{name}" for name in ("b.avi", "deep%20er/a.avi", "deep%20er/z/c.avi")
    ]
    for name in ("x/1.avi", "x/2.mp4", "y/3.avi"):
        memory.pipe(f"/bucket/{name}", b"x")
    assert find_videos(["memory://bucket/*/*.avi"]) == ["memory://bucket/x/1.avi", "memory://bucket/y/3.avi"]


def test_a_folder_without_videos_and_one_that_is_not_there(memory):
    memory.pipe("/b/notes.txt", b"x")
    with pytest.raises(UserError, match="memory://b/: holds no videos, DICOM or images among its 1 files"):
        find_videos(["memory://b/"])
    with pytest.raises(UserError, match="memory://none/: cannot be looked at: there is no such file at its source"):
        find_videos(["memory://none/"])
    with pytest.raises(UserError, match=r"memory://b/\*\.avi: fits no videos"):
        find_videos(["memory://b/*.avi"])


def test_prepared_from_a_url_are_the_bytes_of_those_from_the_disk(server, tmp_path, frames):
    names = archive(tmp_path, frames)
    options = Options(keep_names=True)
    records = prepare(f"{server.url}/", tmp_path / "from url", options, workers=0)
    prepare(tmp_path / "site", tmp_path / "from disk", options, workers=0)
    assert [record.source for record in records if not record.skipped] == names
    for file in (tmp_path / "from disk/videos").rglob("*.avi"):
        other = tmp_path / "from url" / file.relative_to(tmp_path / "from disk")
        assert other.read_bytes() == file.read_bytes()


def test_a_list_of_signed_urls_is_prepared_and_no_signature_is_written(server, tmp_path, frames):
    archive(tmp_path, frames)
    urls = [f"{server.url}/b.avi?sig=deadbeef", f"{server.url}/none.avi?sig=deadbeef"]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{url},1\n" for url in urls))
    sources = find_sources(tmp_path / "list.csv", allow_outside=True)
    records = prepare(tmp_path / "list.csv", tmp_path / "out", Options(), workers=0, sources=sources)
    assert sorted(record.fault for record in records) == ["", "cannot be read: there is no such file at its source"]
    for file in (path for folder in ("out", "out-private") for path in (tmp_path / folder).rglob("*")):
        assert "deadbeef" not in file.name and (file.is_dir() or b"deadbeef" not in file.read_bytes())
    assert (tmp_path / "out/list.csv").read_text().count(".avi,1") == 1


def test_the_note_of_a_prepared_folder_is_read_at_its_url(memory, tmp_path):
    write_note(tmp_path, Preparation(size=99))
    memory.pipe("/prepared/prepared.json", (tmp_path / "prepared.json").read_bytes())
    assert preparation_of("memory://prepared/videos/deep/a.avi") == Preparation(size=99)
    assert preparation_of("memory://raw/videos/a.avi") is None


# ── Credentials ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("root", ["s3://jane:hunter2@bucket/data", "https://host/data?sig=deadbeef"])
def test_a_configuration_with_credentials_is_refused_without_a_word_of_them(tmp_path, root):
    config = tiny(tmp_path, tmp_path / "run").clone()
    config.defrost()
    config.DATA.ROOT = root
    with pytest.raises(UserError, match=r"DATA.ROOT: a URL with a password or with `\?` and what follows") as error:
        check(config)
    assert not any(secret in str(error.value) for secret in SECRETS)


def test_no_line_of_a_log_or_message_holds_credentials(tmp_path):
    text = "cannot open 'sftp://jane:hunter2@host/a b' nor https://host/a.avi?X=1&sig=deadbeef, sorry"
    shown = "cannot open 'sftp://host/a b' nor https://host/a.avi sorry"
    assert str(UserError(text)) == shown
    set_up_logging(tmp_path)
    logging.getLogger("any").info("%s", text)
    assert (tmp_path / "log.txt").read_text().endswith(f"{shown}\n")


def test_paths_are_looked_at_before_the_first_is_taken(memory):
    memory.pipe("/b/a.avi", b"x")
    with pytest.raises(UserError, match="no such file or folder"):
        iterate_videos(["memory://b/*.avi", "none.avi"])
