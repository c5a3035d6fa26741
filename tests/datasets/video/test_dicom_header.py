"""What a DICOM object says of itself: frame and heart rate, number of frames, ultrasound regions."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from echoviewclip.datasets.video.open import open_video
from echoviewclip.datasets.video.regions import Region, fitting_regions
from tests.dicom_objects import write_object


def described(tmp_path, frames: int = 3, **elements: object):
    pixels = np.zeros((frames, 4, 4), np.uint8)
    return open_video(write_object(tmp_path / "a", pixels.tobytes(), pixels.shape, "MONOCHROME2", **elements))


@pytest.mark.parametrize(
    "elements, fps",
    [
        ({"FrameTime": "25"}, 40),
        ({"FrameTimeVector": ["0", "20", "30"]}, 40),
        ({"CineRate": "50"}, 50),
        ({"RecommendedDisplayFrameRate": "30"}, 30),
        ({"FrameTime": "25", "CineRate": "50", "RecommendedDisplayFrameRate": "30"}, 40),
        ({"FrameTime": "0", "CineRate": "50"}, 50),
        ({"CineRate": "0", "RecommendedDisplayFrameRate": "30"}, 30),
        ({"FrameTime": ""}, None),
        ({"FrameTimeVector": ["0", "0", "0"], "CineRate": "50"}, 50),
        ({"FrameTimeVector": ["0", "0", "0"], "FrameTime": "25", "CineRate": "50"}, 40),
        ({"FrameTimeVector": ["0", "10", "10", "10", "10"], "FrameTime": "25"}, 40),  # of another length
        ({"FrameTimeVector": ["0", "-20", "-20"], "FrameTime": "25"}, 40),
        ({"FrameTimeVector": ["0", "0.02", "0.02"], "FrameTime": "25"}, 40),  # seconds
        ({"FrameTimeVector": "", "FrameTime": "", "EffectiveDuration": "0.06", "CineRate": "30"}, 50),
        ({"FrameTime": "25", "EffectiveDuration": "0.06"}, 40),
        ({"EffectiveDuration": "0", "CineRate": "30"}, 30),
        ({"EffectiveDuration": "0.0006", "CineRate": "30"}, 30),
        ({"FrameTime": "0.033", "CineRate": "30"}, 30),  # seconds
        ({"FrameTime": "0.033"}, None),
        ({"FrameTime": "1"}, 1000),
        ({"FrameTime": "-25", "CineRate": "-3", "RecommendedDisplayFrameRate": "30"}, 30),
        ({"CineRate": "30000", "RecommendedDisplayFrameRate": "30"}, 30),
        ({"RecommendedDisplayFrameRate": "30000"}, None),
        ({}, None),
    ],
)
def test_the_rate_is_the_first_that_the_machine_states(tmp_path, elements, fps):
    with described(tmp_path, **elements) as video:
        assert video.fps == (fps if fps is None else pytest.approx(fps))


def test_a_rate_that_is_not_a_number_is_as_none(tmp_path):
    path = write_object(tmp_path / "a", bytes(3 * 16), (3, 4, 4), "MONOCHROME2", FrameTime="25.000", CineRate="50")
    for text in (b"fast  ", b"1\\\\2  ", b"nan   ", b"inf   "):
        (tmp_path / "b").write_bytes(path.read_bytes().replace(b"25.000", text))
        with open_video(tmp_path / "b") as video:
            assert video.fps == 50


def test_a_still_has_no_rate(tmp_path):
    with described(tmp_path, frames=1, FrameTime="25", HeartRate="60") as video:
        assert (len(video), video.fps, video.heart_rate) == (1, None, 60)


@pytest.mark.parametrize("stated, rate", [("72", 72), ("0", None), ("", None), (None, None)])
def test_the_heart_rate(tmp_path, stated, rate):
    with described(tmp_path, **({} if stated is None else {"HeartRate": stated})) as video:
        assert video.heart_rate == rate


def test_no_number_of_frames_means_one(tmp_path):
    with described(tmp_path, frames=1, NumberOfFrames=None) as video:
        assert len(video) == 1


# Ultrasound regions.


def region(corners=(10, 20, 109, 219), spatial: int = 1, data: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data, 0
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    for name, corner in zip(names, corners, strict=True):
        setattr(item, f"RegionLocation{name}", corner)
    return item


@pytest.mark.parametrize(
    "spatial, data, names",
    [
        (1, 1, ("2d", "tissue")),
        (1, 2, ("2d", "color flow")),
        (2, 1, ("m-mode", "tissue")),
        (3, 3, ("spectral", "pw")),
        (3, 4, ("spectral", "cw")),
        (4, 0x0A, ("waveform", "ecg")),
        (5, 0x0E, ("graphics", "color bar")),
        (5, 0x0D, ("graphics", "gray bar")),
        (0, 0, ("none", "other")),
        (77, 0x99, ("none", "other")),
    ],
)
def test_regions_have_boxes_formats_and_types(tmp_path, spatial, data, names):
    with described(tmp_path, SequenceOfUltrasoundRegions=[region(spatial=spatial, data=data)]) as video:
        assert video.regions == (Region(10, 20, 110, 220, *names),)  # right and bottom exclusive
        assert video.regions[0].is_image == (names[0] in ("2d", "m-mode", "spectral"))


def test_regions_without_a_box_are_left_out(tmp_path):
    boxless = region()
    del boxless.RegionLocationMaxX1
    with described(tmp_path, SequenceOfUltrasoundRegions=[boxless, region()]) as video:
        assert len(video.regions) == 1
    with described(tmp_path) as video:
        assert video.regions == ()


def test_regions_of_another_picture_size_say_nothing():
    inside = Region(0, 0, 100, 80, "2d", "tissue")
    assert fitting_regions([inside], 80, 100) == (inside,)
    exclusive = Region(0, 0, 101, 81, "2d", "tissue")  # corners that were exclusive already
    assert fitting_regions([exclusive], 80, 100) == (inside,)
    for wrong in (
        Region(0, 0, 102, 80, "2d", "tissue"),
        Region(-1, 0, 5, 5, "2d", "ecg"),
        Region(5, 0, 5, 5, "2d", "ecg"),
    ):
        assert fitting_regions([inside, wrong], 80, 100) == ()
