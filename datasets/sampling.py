"""Which frames of a video make a clip: pure functions of the number of frames and a generator."""

from __future__ import annotations

import numpy as np

MODES = ("uniform", "stride", "cycle")


def segment_indices(
    frames: int, length: int, generator: np.random.Generator | None = None, clips: int = 1
) -> np.ndarray:
    """One frame from each of `length` equal segments (Wang et al., Temporal Segment Networks, arXiv 1608.00859).

    With a generator (training): i·(n // T) + a uniform integer below n // T, or round(i·n / T) where n < T. Without
    (evaluation): floor((i + 0.5)·n / T); of several clips, clip k of C takes the place (k + 0.5) / C in its segment.

    Returns int64 [clips, length] in [0, frames).
    """
    i = np.arange(length)
    if generator is not None:
        step = frames // length
        if step:
            rows = [i * step + generator.integers(step, size=length) for _ in range(clips)]
        else:
            rows = [np.around(i * frames / length)] * clips
    else:
        # Twice the denominator keeps everything in integers, so that no rounding moves a frame.
        rows = [(i * 2 * clips + 2 * k + 1) * frames // (2 * clips * length) for k in range(clips)]
    return np.minimum(np.stack(rows).astype(np.int64), frames - 1)


def stride_indices(
    frames: int, length: int, step: float, generator: np.random.Generator | None = None, clips: int = 1
) -> np.ndarray:
    """`length` frames that lie `step` frames apart (a real number), begun at random or, without generator, centred.

    Several clips are begun at equal distances over what the video leaves. Videos shorter than the clip are loops,
    as a machine plays them: after the last frame comes the first.

    Returns int64 [clips, length] in [0, frames).
    """
    room = max(frames - 1 - (length - 1) * step, 0.0)
    starts = generator.random(clips) * room if generator is not None else (np.arange(clips) + 0.5) / clips * room
    return np.floor(starts[:, None] + np.arange(length) * step + 0.5).astype(np.int64) % frames


def clip_indices(
    frames: int,
    length: int,
    *,
    mode: str = "uniform",
    fps: float | None = None,
    heart_rate: float | None = None,
    stride_seconds: float = 0.04,
    generator: np.random.Generator | None = None,
    clips: int = 1,
) -> np.ndarray:
    """Frame indices int64 [clips, length] of `clips` clips of a video.

    `mode` is "uniform" (`segment_indices` over the whole video), "stride" (a frame every `stride_seconds`) or "cycle"
    (one heart cycle, 60 / `heart_rate` seconds, in `length` equal steps). Where the video does not state the rates
    that a mode needs, "uniform" takes its place. `fps` in frames/s, `heart_rate` in beats/min.
    """
    if mode == "stride" and fps:
        return stride_indices(frames, length, stride_seconds * fps, generator, clips)
    if mode == "cycle" and fps and heart_rate:
        return stride_indices(frames, length, 60 / heart_rate * fps / length, generator, clips)
    return segment_indices(frames, length, generator, clips)
