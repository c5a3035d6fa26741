"""What a reading process needs for a training clip, from a video as a hospital has it and from the same prepared."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from scipy import ndimage

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.dataset import VideoDataset
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.sampling import segment_indices
from echoviewclip.datasets.video.open import open_video
from echoviewclip.phantom.study.files import write_video

FRAMES, SIZE, LENGTH = 16, 224, 100  # of a clip, of its side in pixels, of the video
SIDE = 582  # pixels of the video
CLIPS = 8  # of a repeat, each with its own random crop
LEAST_REPEATS = 3


def benchmark_data(seconds: float, side: int = SIDE, length: int = LENGTH) -> list[dict[str, tuple[float, float]]]:
    """Step → (wall, CPU) milliseconds a clip, from a video as recorded and from the same prepared."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "source"), Path(folder, "prepared")
        source.mkdir()
        write_video(source / "a.mp4", speckle(length, side), fps=30)
        prepare(source, destination, Options(keep_names=True, crop=False), workers=1)
        for file in (source / "a.mp4", destination / "videos/a.avi"):
            dataset = VideoDataset(Annotations.of_paths([file]), frames=FRAMES, size=SIZE, train=True)
            steps = {
                "codec alone": lambda epoch, file=file: decode(file),
                "frames as RGB": lambda epoch, file=file: read(file),
                "whole worker path": lambda epoch, dataset=dataset: (dataset.set_epoch(epoch), dataset[0]),
            }
            results.append({name: best(step, seconds) for name, step in steps.items()})
    return results


def speckle(length: int, side: int) -> np.ndarray:
    """A sector of moving speckle with the grain of a heart's ultrasound image, uint8 [T, H, W, 3]."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - np.array([0.05, 0.5])[:, None, None] * side
    depth, angle = np.hypot(y, x) / side, np.arctan2(x, y)
    beams, samples = 180, side
    at = np.stack([depth * samples, (angle / 0.75 + 1) * beams / 2])
    echoes = ndimage.gaussian_filter(random.normal(size=(6, samples, beams)), (0, 2, 1.2))
    echoes = [ndimage.map_coordinates(echo / echo.std(), at, order=1, mode="wrap") for echo in echoes]
    tissue = ndimage.gaussian_filter(random.normal(size=(side, side)), side / 25)
    level = 90 + 25 * tissue / tissue.std()
    inside = (depth < 0.9) & (np.abs(angle) < 0.75)
    video = np.empty((length, side, side, 3), np.uint8)
    for frame in range(length):
        weights = np.cos(0.2 * frame * np.arange(1, 7)[:, None] ** 0.5 + [0, 1.5])
        amplitude = np.hypot(*np.tensordot(weights.T, echoes, 1))
        video[frame] = (inside * (level + 40 * np.log10(amplitude + 1e-3))).clip(0, 255)[..., None]
    return video


def decode(file: Path) -> None:
    """What the codec must do for a clip, without reading pixels."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        wanted = set(segment_indices(stream.frames, FRAMES)[0].tolist())
        if stream.codec_context.codec.intra_only:
            for number, packet in enumerate(container.demux(stream)):
                if number in wanted:
                    packet.decode()
        else:
            frames = container.decode(stream)
            for _ in range(max(wanted) + 1):
                next(frames)


def read(file: Path) -> torch.Tensor:
    """The frames of a clip at their full size."""
    with open_video(file) as video:
        return video.frames(segment_indices(len(video), FRAMES)[0])


def best(step: Callable[[int], object], seconds: float) -> tuple[float, float]:
    """Least wall and CPU milliseconds a clip, of at least LEAST_REPEATS."""
    step(0)
    clocks: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(clocks) < LEAST_REPEATS or time.perf_counter() - begin < seconds:
        start = time.perf_counter(), time.process_time()
        for epoch in range(CLIPS):
            step(epoch)
        clocks.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, cpu = np.min(clocks, axis=0) * 1000 / CLIPS
    return float(wall), float(cpu)


def show(recorded: dict[str, tuple[float, float]], prepared: dict[str, tuple[float, float]], processor: str) -> None:
    """Prints a table of both."""
    print(f"clips of {FRAMES} frames at {SIZE}×{SIZE}, one thread on {processor}\n")
    print(f"{'ms a clip, wall (CPU)':24}{f'H.264 {SIDE}×{SIDE}':>20}{'prepared':>20}{'ratio':>8}")
    for name in recorded:
        both = [f"{wall:.2f} ({cpu:.2f})" for wall, cpu in (recorded[name], prepared[name])]
        print(f"{name:24}{both[0]:>20}{both[1]:>20}{recorded[name][1] / prepared[name][1]:>8.1f}")
    rates = [f"{1000 / times['whole worker path'][1]:.1f}" for times in (recorded, prepared)]
    print(f"{'clips a second and core':24}{rates[0]:>20}{rates[1]:>20}")
