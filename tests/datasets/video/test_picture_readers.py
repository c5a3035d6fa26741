"""Videos that are not video files: folders of images, stills, arrays, members of archives."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from echoviewclip.datasets.video.base import MAX_PIXELS, VideoError
from echoviewclip.datasets.video.open import open_video
from tests.media import frame_numbers, numbered_frames, write_video

FRAMES = numbered_frames(24)


@pytest.fixture
def folder(tmp_path):
    """Images 1 to 12, named so that the order of the alphabet is another: 1, 10, 11, 12, 2, …"""
    folder = tmp_path / "a video"
    folder.mkdir()
    for k in range(12):
        Image.fromarray(FRAMES[k]).save(folder / f"frame_{k + 1}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder_of_images_is_read_in_natural_order(folder):
    with open_video(folder) as video:
        assert (len(video), video.height, video.width, video.fps) == (12, 64, 96, None)
        assert frame_numbers(video.frames(range(12))) == list(range(12))
        np.testing.assert_array_equal(video.frames([11, 0, 11]).permute(0, 2, 3, 1), FRAMES[[11, 0, 11]])


def test_natural_order_holds_for_several_numbers_and_paddings(tmp_path):
    names = ["b2_1.png", "a_10.png", "a_9.png", "b1_2.png", "b10_0.png", "a_008.png"]
    for name, value in zip(names, (4, 2, 1, 3, 5, 0), strict=True):
        Image.fromarray(FRAMES[value]).save(tmp_path / name)
    with open_video(tmp_path) as video:
        assert frame_numbers(video.frames(range(6))) == list(range(6))


def test_a_folder_whose_images_differ_in_size_is_refused(folder):
    Image.fromarray(FRAMES[0, :32]).save(folder / "frame_5.png")
    with open_video(folder) as video, pytest.raises(VideoError, match="frame 4 has another size than frame 3"):
        video.frames([3, 4])


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(VideoError, match="is a folder without images"):
        open_video(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_still_image_is_a_video_of_one_frame(tmp_path, suffix):
    Image.fromarray(FRAMES[9]).save(tmp_path / f"a.{suffix}")
    with open_video(tmp_path / f"a.{suffix}") as video:
        assert (len(video), video.height, video.width, video.fps) == (1, 64, 96, None)
        assert frame_numbers(video.frames([0, 0])) == [9, 9]


@pytest.mark.parametrize(
    "image, expected",
    [
        (Image.fromarray(np.full((4, 5), 77, np.uint8)), 77),
        (Image.fromarray(np.full((4, 5), 77 << 8 | 200, np.uint16)), 77),
        (Image.fromarray(np.full((4, 5, 4), 77, np.uint8), "RGBA"), 77),
        (Image.fromarray(np.full((4, 5, 3), 77, np.uint8)).quantize(), 77),
    ],
    ids=["grey", "16 bits", "with transparency", "palette"],
)
def test_stills_of_every_mode_become_rgb(tmp_path, image, expected):
    image.save(tmp_path / "a.png")
    with open_video(tmp_path / "a.png") as video:
        assert (video.frames([0]) == expected).all()
        assert video.frames([0]).shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    "array, expected",
    [
        (FRAMES, FRAMES),
        (FRAMES.transpose(0, 3, 1, 2), FRAMES),
        (FRAMES[..., 0], FRAMES[..., :1].repeat(3, -1)),
        (FRAMES[3], FRAMES[3:4]),
        (FRAMES[3, ..., 0], FRAMES[3:4, ..., :1].repeat(3, -1)),
    ],
    ids=["[T, H, W, 3]", "[T, 3, H, W]", "[T, H, W]", "[H, W, 3]", "[H, W]"],
)
def test_arrays_of_every_shape_are_read(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    with open_video(tmp_path / "a.npy") as video:
        assert (len(video), video.height, video.width) == expected.shape[:3]
        np.testing.assert_array_equal(video.frames(range(len(video))).permute(0, 2, 3, 1), expected)


def test_arrays_that_are_no_videos_are_refused(tmp_path):
    for array in (FRAMES.astype(np.float32), FRAMES[0, 0, :, 0], FRAMES[..., :2], np.array([{}], object)):
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        with pytest.raises(VideoError, match=r"a\.npy: (is an array|cannot be read)"):
            open_video(tmp_path / "a.npy")


@pytest.fixture
def archive(tmp_path, folder):
    """A tar of a video, a folder of images, an array and a still, as `tar cf` writes it."""
    write_video(tmp_path / "a b.avi", FRAMES)
    write_video(tmp_path / "c.mp4", FRAMES, "libx264", options={"bf": "2"})
    np.save(tmp_path / "d.npy", FRAMES)
    Image.fromarray(FRAMES[9]).save(tmp_path / "e.png")
    with tarfile.open(tmp_path / "videos.tar", "w") as tar:
        for name in ("a b.avi", "c.mp4", "d.npy", "e.png", "a video"):
            tar.add(tmp_path / name, f"./sub/{name}")
    return tmp_path / "videos.tar"


@pytest.mark.parametrize("name, length", [("a b.avi", 24), ("c.mp4", 24), ("d.npy", 24), ("a video", 12)])
def test_members_of_a_tar_are_read_as_if_it_were_a_folder(archive, name, length):
    with open_video(f"{archive}/sub/{name}") as video:
        assert len(video) == length
        for _ in range(2):
            assert frame_numbers(video.frames([11, 4, 11])) == [11, 4, 11]


def test_nothing_of_a_tar_is_unpacked(archive):
    before = sorted(archive.parent.iterdir())
    with open_video(f"{archive}/sub/e.png") as video:
        assert frame_numbers(video.frames([0])) == [9]
    assert sorted(archive.parent.iterdir()) == before


def test_a_changed_tar_is_read_anew(archive):
    with open_video(f"{archive}/sub/e.png") as video:
        video.frames([0])
    still = io.BytesIO()
    Image.fromarray(FRAMES[5]).save(still, "png")
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("sub/e.png")
        entry.size = still.tell()
        tar.addfile(entry, io.BytesIO(still.getvalue()))
    with open_video(f"{archive}/sub/e.png") as video:
        assert frame_numbers(video.frames([0])) == [5]


def test_a_member_that_is_missing_is_named(archive):
    with pytest.raises(VideoError, match=r"videos\.tar/sub/x\.avi: cannot be read: no such member"):
        open_video(f"{archive}/sub/x.avi")


def test_frames_too_large_for_an_ultrasound_video_are_refused(tmp_path):
    side = int(MAX_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match=f"declares frames of {side}×{side} pixels"):
        open_video(tmp_path / "a.png")


def test_a_clip_too_large_for_the_memory_is_refused(tmp_path):
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (2, 3000, 3000, 3)).flush()
    with open_video(tmp_path / "a.npy") as video, pytest.raises(VideoError, match="20 frames of 3000×3000 are too"):
        video.frames([0, 1] * 10)
