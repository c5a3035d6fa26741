"""What a reader says of files that it cannot read, of decoders that are not there, of indices outside a video."""

from __future__ import annotations

import pytest
from PIL import Image

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import open_video
from echoviewclip.utils.errors import UserError
from tests.media import frame_numbers, numbered_frames, packets, write_video

FRAMES = numbered_frames(24)


def test_indices_outside_the_video_are_refused(tmp_path):
    with open_video(write_video(tmp_path / "a.avi", FRAMES)) as video:
        for wrong in ([24], [-1], []):
            with pytest.raises(IndexError):
                video.frames(wrong)


def test_the_content_decides_not_the_suffix(tmp_path):
    write_video(tmp_path / "a.avi", FRAMES).rename(tmp_path / "a.png")
    Image.fromarray(FRAMES[9]).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.mp4")
    with open_video(tmp_path / "a.png") as video, open_video(tmp_path / "b.mp4") as still:
        assert (len(video), len(still)) == (24, 1)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICNS", "WEBP", "PCX"])
def test_an_image_of_a_kind_that_is_not_offered_is_refused_whatever_its_name(tmp_path, kind):
    (tmp_path / "folder").mkdir()
    Image.fromarray(FRAMES[0]).resize((64, 64)).save(tmp_path / "folder" / "picture1.png", format=kind)
    with pytest.raises(VideoError, match="cannot be read: it is not an image, or is damaged"):
        open_video(tmp_path / "folder").frames([0])


def test_errors_name_the_file_and_say_what_is_wrong(tmp_path):
    (tmp_path / "empty.avi").touch()
    (tmp_path / "text.avi").write_text("not a video\n" * 100)
    (tmp_path / "zeros.dcm").write_bytes(bytes(1 << 20))
    for name, reason in (
        ("missing.avi", "cannot be read: No such file or directory"),
        ("empty.avi", "is empty"),
        ("text.avi", "cannot be read: Invalid data found when processing input"),
        ("zeros.dcm", "is not a DICOM object"),
    ):
        with pytest.raises(VideoError) as caught:
            open_video(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {reason}"
        assert caught.value.path == str(tmp_path / name)
        assert "\n" not in str(caught.value)


def cut_before(path, number: int) -> None:
    """Ends a file where packet `number` of its video began."""
    path.write_bytes(path.read_bytes()[: packets(path)[number][0]])


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4", "libx264"])
def test_a_file_cut_short_is_not_taken_for_a_short_video(tmp_path, codec):
    path = write_video(tmp_path / "a.avi", FRAMES, codec)
    cut_before(path, 15)
    with pytest.raises(VideoError, match=r"a\.avi: is cut short: 15 of 24 declared frames are there$"):
        open_video(path)


def test_frames_that_an_index_promises_and_the_file_lacks_are_missed_when_read(tmp_path):
    path = write_video(tmp_path / "a.mp4", FRAMES, container_options={"movflags": "faststart"})
    cut_before(path, 15)
    with open_video(path) as video:
        assert frame_numbers(video.frames([0, 14])) == [0, 14]
        with pytest.raises(VideoError, match=r"a\.mp4: frame 20 of 24 is missing: the file is cut short or damaged$"):
            video.frames([14, 20])


def test_a_playlist_that_points_elsewhere_is_not_followed(tmp_path):
    write_video(tmp_path / "a.ts", FRAMES, "libx264")
    (tmp_path / "b.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "c.txt").write_text("ffconcat version 1.0\nfile a.ts\n")
    for name in ("b.m3u8", "c.txt"):
        with pytest.raises(VideoError):
            open_video(tmp_path / name)


def test_a_decoder_that_is_not_installed_is_a_users_mistake(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", FRAMES[:1], "libx264")
    for decoder in ("torchcodec", "decord"):
        monkeypatch.setitem(__import__("sys").modules, decoder, None)
        monkeypatch.setitem(__import__("sys").modules, f"{decoder}.decoders", None)
        with pytest.raises(UserError, match=rf"^DATA\.DECODER {decoder} cannot be loaded .*use pyav"):
            open_video(path, decoder)


def test_an_unknown_decoder_is_refused(tmp_path):
    with pytest.raises(VideoError, match="the decoder must be one of pyav, torchcodec, decord, found 'gpu'"):
        open_video(write_video(tmp_path / "a.mp4", FRAMES[:1], "libx264"), "gpu")
