"""Every reader gives exactly the frames asked for, whatever the container, the codec and the library behind it."""

from __future__ import annotations

import importlib.util
import tarfile
from itertools import accumulate

import av
import numpy as np
import pytest
import torch

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import DECODERS, open_video
from echoviewclip.datasets.video.pyav import PyAVVideo
from tests.media import frame_number, frame_numbers, numbered_frames, write_video

FRAMES = numbered_frames(24)
ODD = numbered_frames(12, height=63, width=97)
UNEVEN = list(accumulate([1 / 30, 1 / 15, 1 / 60, 0.2] * 6, initial=0.0))[:24]  # seconds

# name: (file, frames, arguments of write_video)
CLIPS = {
    "mjpeg": ("a.avi", FRAMES, {}),
    "mjpeg in mp4": ("a.mp4", FRAMES, {}),
    "h264": ("a.mp4", FRAMES, {"codec": "libx264"}),
    "h264, B-frames": ("a.mp4", FRAMES, {"codec": "libx264", "options": {"bf": "3"}}),
    "h264, short groups": ("a.mp4", FRAMES, {"codec": "libx264", "options": {"bf": "2", "g": "6"}}),
    "h264, variable rate": ("a.mp4", FRAMES, {"codec": "libx264", "times": UNEVEN, "options": {"bf": "2"}}),
    "h264, grey": ("a.mp4", FRAMES, {"codec": "libx264", "pixel_format": "gray"}),
    "h264, ten bits": ("a.mp4", FRAMES, {"codec": "libx264", "pixel_format": "yuv420p10le"}),
    "h264, one frame": ("a.mp4", FRAMES[:1], {"codec": "libx264"}),
    "h264, odd size": ("a.mp4", ODD, {"codec": "libx264", "pixel_format": "yuv444p"}),
    "h264 in mov": ("a.mov", FRAMES, {"codec": "libx264", "options": {"bf": "2"}}),
    "vp9": ("a.webm", FRAMES, {"codec": "libvpx-vp9"}),
    "vp9, variable rate": ("a.webm", FRAMES, {"codec": "libvpx-vp9", "times": UNEVEN}),
    "vp9, odd size": ("a.webm", ODD, {"codec": "libvpx-vp9"}),
    "mpeg4": ("a.avi", FRAMES, {"codec": "mpeg4"}),
    "mpeg4, B-frames": ("a.mp4", FRAMES, {"codec": "mpeg4", "options": {"bf": "2"}}),
    "mjpeg, one frame": ("a.avi", FRAMES[:1], {}),
    "mjpeg, odd size": ("a.avi", ODD, {}),
    "raw grey": ("a.avi", FRAMES, {"codec": "rawvideo", "pixel_format": "gray"}),
    "png, odd size": ("a.mov", ODD, {"codec": "png"}),
}
# Files whose frames have no times that a library other than PyAV could rely on.
UNTIMED = {
    "mpeg4 in avi, B-frames": ("a.avi", FRAMES, {"codec": "mpeg4", "options": {"bf": "2"}}),
    "mjpeg in avi, gaps": ("a.avi", FRAMES, {"times": [0.1 * k for k in range(12)] + [2 + 0.1 * k for k in range(12)]}),
    "mpeg2 program stream": ("a.mpg", FRAMES, {"codec": "mpeg2video", "options": {"bf": "2"}}),
    "mpeg2 elementary stream": ("a.m2v", FRAMES, {"codec": "mpeg2video", "fps": 25}),
    "h264 transport stream": ("a.ts", FRAMES, {"codec": "libx264", "options": {"bf": "2"}}),
    "h264 in flv": ("a.flv", FRAMES, {"codec": "libx264"}),
    "vp8, hidden frames": (
        "a.webm",
        FRAMES,
        {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "9"}},
    ),
}


def usable(decoder: str) -> str:
    if decoder != "pyav" and importlib.util.find_spec(decoder) is None:
        pytest.skip(f"{decoder} is not installed")
    return decoder


def peak_error(ours: torch.Tensor, frames: np.ndarray) -> float:
    """Mean absolute error in grey levels of the worst frame; [T, 3, H, W] against [T, H, W, 3]."""
    difference = ours.permute(0, 2, 3, 1).numpy().astype(np.int16) - frames
    return float(np.abs(difference).mean((1, 2, 3)).max())


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("clip", CLIPS)
def test_each_index_gives_its_frame(tmp_path, clip, decoder):
    name, frames, how = CLIPS[clip]
    path = write_video(tmp_path / name, frames, **how)
    with open_video(path, usable(decoder)) as video:
        assert (len(video), video.height, video.width) == frames.shape[:3]
        everything = video.frames(range(len(video)))
        assert everything.dtype == torch.uint8
        assert frame_numbers(everything) == list(range(len(frames)))
        assert peak_error(everything, frames) < 12
        asked = np.random.default_rng(0).integers(0, len(frames), 9)
        torch.testing.assert_close(video.frames(asked), everything[asked], rtol=0, atol=0)
        torch.testing.assert_close(video.frames([0]), everything[:1], rtol=0, atol=0)


@pytest.mark.parametrize("clip", UNTIMED)
def test_pyav_counts_frames_that_have_no_times(tmp_path, clip):
    name, frames, how = UNTIMED[clip]
    with open_video(write_video(tmp_path / name, frames, **how)) as video:
        assert len(video) == len(frames)
        assert frame_numbers(video.frames(range(len(video)))) == list(range(len(frames)))


@pytest.mark.parametrize("decoder", ["torchcodec", "decord"])
@pytest.mark.parametrize("clip", UNTIMED)
def test_other_decoders_give_the_right_frame_or_an_error(tmp_path, clip, decoder):
    name, frames, how = UNTIMED[clip]
    path = str(write_video(tmp_path / name, frames, **how))
    asked = [3, 20, 23, 3]
    try:
        with open_video(path, usable(decoder)) as video:
            assert frame_numbers(video.frames(asked)) == asked
    except VideoError as error:
        assert str(error).startswith(path)


@pytest.mark.parametrize("decoder", ["torchcodec", "decord"])
@pytest.mark.parametrize("clip", CLIPS)
def test_decoders_agree_on_pixels_and_on_what_the_file_says(tmp_path, clip, decoder):
    name, frames, how = CLIPS[clip]
    path = write_video(tmp_path / name, frames, **how)
    with open_video(path, usable(decoder)) as one, open_video(path) as other:
        assert (len(one), one.fps, one.height, one.width) == (len(other), other.fps, other.height, other.width)
        difference = one.frames(range(len(one))).short() - other.frames(range(len(one))).short()
        assert difference.abs().max() <= 6  # the libraries upsample colour differently
        assert difference.abs().float().mean() < 0.2


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_recording_comes_upright(tmp_path, degrees, decoder):
    path = write_video(tmp_path / "a.mp4", FRAMES, "libx264", rotation=degrees)
    with open_video(path, usable(decoder)) as video:
        upright = np.rot90(FRAMES, degrees // 90, axes=(1, 2))
        pixels = video.frames([7, 2])
        assert pixels.shape[2:] == upright.shape[1:3]
        assert peak_error(pixels, upright[[7, 2]]) < 3


@pytest.mark.parametrize("name, codec", [("a.avi", "mjpeg"), ("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_the_rate_is_the_one_written(tmp_path, name, codec):
    for fps in (12.5, 25, 30, 58):
        with open_video(write_video(tmp_path / name, FRAMES, codec, fps=fps)) as video:
            assert video.fps == pytest.approx(fps, rel=2e-3)


@pytest.mark.parametrize("name, codec", [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_a_varying_rate_is_averaged_from_the_times(tmp_path, name, codec):
    with open_video(write_video(tmp_path / name, FRAMES, codec, times=UNEVEN)) as video:
        assert video.fps == pytest.approx(23 / UNEVEN[-1], rel=2e-3)


def test_colours_survive(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 40]], np.uint8)
    frames = np.repeat(np.repeat(colours, 16, 0)[None, None], 64, 1).repeat(3, 0)  # [3, 64, 64, 3]
    for name, codec in (("a.avi", "mjpeg"), ("a.mp4", "libx264")):
        with open_video(write_video(tmp_path / name, frames, codec)) as video:
            middle = video.frames([1])[0, :, 32, 8::16].T.numpy()
        np.testing.assert_allclose(middle, colours, atol=6)


def test_iterating_gives_all_frames_again_and_again(tmp_path):
    for name, codec in (("a.avi", "mjpeg"), ("a.mp4", "libx264")):
        with open_video(write_video(tmp_path / name, FRAMES, codec)) as video:
            for _ in range(2):
                assert [frame_number(frame) for frame in video.iterate()] == list(range(24))
            assert [frame_number(frame) for frame in video.iterate([4, 9])] == [4, 9]


def test_frames_are_laid_out_as_the_resize_likes_them(tmp_path):
    with open_video(write_video(tmp_path / "a.avi", FRAMES)) as video:
        assert video.frames([0, 3]).is_contiguous(memory_format=torch.channels_last)


def test_the_first_video_stream_is_read_beside_sound(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        picture = container.add_stream("libx264", rate=30)
        picture.height, picture.width, picture.pix_fmt = *FRAMES.shape[1:3], "yuv420p"
        for k, pixels in enumerate(FRAMES):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = k
            container.mux(picture.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 16000
        container.mux(sound.encode(silence))
        container.mux(picture.encode())
        container.mux(sound.encode())
    with open_video(tmp_path / "a.mp4") as video:
        assert frame_numbers(video.frames(range(len(video)))) == list(range(24))


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_reads_from_a_tar(tmp_path, decoder):
    write_video(tmp_path / "a.mp4", FRAMES, "libx264", options={"bf": "2"})
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(tmp_path / "a.mp4", "sub/a.mp4")
    with open_video(f"{tmp_path / 'b.tar'}/sub/a.mp4", usable(decoder)) as video:
        for _ in range(2):
            assert frame_numbers(video.frames([20, 4])) == [20, 4]


def test_the_heart_rate_of_a_prepared_file_is_found_by_every_decoder(tmp_path):
    from echoviewclip.datasets.intake.encode import write_mjpeg

    write_mjpeg(tmp_path / "a.avi", iter(FRAMES), fps=40, heart_rate=72)
    with PyAVVideo(str(tmp_path / "a.avi")) as video:
        assert (video.heart_rate, video.fps) == (72, 40)
    for decoder in ("torchcodec", "decord"):
        if importlib.util.find_spec(decoder):
            with open_video(tmp_path / "a.avi", decoder) as video:
                assert (video.heart_rate, video.fps) == (72, 40)
