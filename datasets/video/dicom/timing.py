"""How fast the frames of a DICOM object follow each other."""

from __future__ import annotations

from collections.abc import Iterator

import pydicom

from echoviewclip.datasets.video.base import believable_rate
from echoviewclip.datasets.video.dicom.header import number, numbers


def frame_rate(dataset: pydicom.Dataset, frames: int) -> float | None:
    """Frames per second of `frames` frames: the first rate that the object states and that can be.

    In this order: Frame Time Vector (0018,1065) in ms, if it is as long as the object; Frame Time (0018,1063) in ms;
    Effective Duration (0018,0072) in s; Cine Rate (0018,0040); Recommended Display Frame Rate (0008,2144).
    """
    return next(filter(None, map(believable_rate, _stated_rates(dataset, frames))), None)


def _stated_rates(dataset: pydicom.Dataset, frames: int) -> Iterator[float | None]:
    times = numbers(dataset, "FrameTimeVector")
    if len(times) == frames > 1 and min(times) >= 0:
        yield _inverse(sum(times[1:]) / (frames - 1) / 1000)  # the first is the time before the first frame
    yield _inverse((number(dataset, "FrameTime") or 0) / 1000)
    yield _inverse((number(dataset, "EffectiveDuration") or 0) / frames)
    yield number(dataset, "CineRate")
    yield number(dataset, "RecommendedDisplayFrameRate")


def _inverse(seconds: float) -> float | None:
    return 1 / seconds if seconds > 0 else None
