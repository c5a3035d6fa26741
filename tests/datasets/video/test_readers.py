"""Every reader gives exactly the frames asked for, whatever the container, the codec and the library behind it."""

from __future__ import annotations

import importlib.util
import tarfile
from itertools import accumulate

import av
import numpy as np
import pytest
import torch
from PIL import Image

from echoviewclip.datasets.video.base import VideoError
from echoviewclip.datasets.video.open import DECODERS, open_video
from echoviewclip.datasets.video.pyav import PyAVVideo
from echoviewclip.utils.errors import UserError
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


# Only what is asked for is decoded: the rest of the file may be rubbish.


def packets(path) -> list[tuple[int, int]]:
    """Place and size in bytes of each packet."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]


def ruin(path, keep) -> None:
    """Overwrites the packets of a video for whose number `keep(number)` is false."""
    content = bytearray(path.read_bytes())
    for number, (at, size) in enumerate(packets(path)):
        if not keep(number):
            content[at : at + size] = bytes(size)
    path.write_bytes(content)


def test_in_mjpeg_packets_not_asked_for_are_not_decoded(tmp_path):
    path = write_video(tmp_path / "a.avi", FRAMES)
    with open_video(path) as video:
        whole = video.frames([3, 11])
    ruin(path, {3, 11}.__contains__)
    with open_video(path) as video:
        torch.testing.assert_close(video.frames([3, 11]), whole, rtol=0, atol=0)
        with pytest.raises(VideoError, match=r"a\.avi: "):
            video.frames([3, 4, 11])


def test_mjpeg_decodes_one_packet_for_each_frame_asked_for(tmp_path, monkeypatch):
    decoded = []

    class Counted:
        def __init__(self, packet):
            self.packet, self.size = packet, packet.size

        def decode(self):
            decoded.append(self.packet.dts)
            return self.packet.decode()

    class Container:
        def __init__(self, container):
            self.container, self.streams, self.close = container, container.streams, container.close

        def demux(self, stream):
            return map(Counted, self.container.demux(stream))

    with open_video(write_video(tmp_path / "a.avi", FRAMES)) as video:
        video.container = Container(video.container)
        video.frames([21, 2, 7, 2])
    assert decoded == [2, 7, 21]


def test_h264_stops_after_the_last_frame_asked_for(tmp_path):
    path = write_video(tmp_path / "a.mp4", FRAMES, "libx264", options={"bf": "0"})
    with open_video(path) as video:
        whole = video.frames([0, 5])
    ruin(path, lambda number: number <= 6)
    with open_video(path) as video:
        torch.testing.assert_close(video.frames([0, 5]), whole, rtol=0, atol=0)
        with pytest.raises(VideoError, match=r"a\.mp4: "):
            video.frames([23])


def test_iterating_gives_all_frames_again_and_again(tmp_path):
    for name, codec in (("a.avi", "mjpeg"), ("a.mp4", "libx264")):
        with open_video(write_video(tmp_path / name, FRAMES, codec)) as video:
            for _ in range(2):
                assert [frame_number(frame) for frame in video.iterate()] == list(range(24))
            assert [frame_number(frame) for frame in video.iterate([4, 9])] == [4, 9]


def test_frames_are_laid_out_as_the_resize_likes_them(tmp_path):
    with open_video(write_video(tmp_path / "a.avi", FRAMES)) as video:
        assert video.frames([0, 3]).is_contiguous(memory_format=torch.channels_last)


def test_indices_outside_the_video_are_refused(tmp_path):
    with open_video(write_video(tmp_path / "a.avi", FRAMES)) as video:
        for wrong in ([24], [-1], []):
            with pytest.raises(IndexError):
                video.frames(wrong)


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


# Errors.


def test_the_content_decides_not_the_suffix(tmp_path):
    write_video(tmp_path / "a.avi", FRAMES).rename(tmp_path / "a.png")
    Image.fromarray(FRAMES[9]).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.mp4")
    with open_video(tmp_path / "a.png") as video, open_video(tmp_path / "b.mp4") as still:
        assert (len(video), len(still)) == (24, 1)


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


def test_the_heart_rate_of_a_prepared_file_is_found_by_every_decoder(tmp_path):
    from echoviewclip.datasets.intake.encode import write_mjpeg

    write_mjpeg(tmp_path / "a.avi", iter(FRAMES), fps=40, heart_rate=72)
    with PyAVVideo(str(tmp_path / "a.avi")) as video:
        assert (video.heart_rate, video.fps) == (72, 40)
    for decoder in ("torchcodec", "decord"):
        if importlib.util.find_spec(decoder):
            with open_video(tmp_path / "a.avi", decoder) as video:
                assert (video.heart_rate, video.fps) == (72, 40)
