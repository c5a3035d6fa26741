"""Spectral displays as machines show them: noise and weak flow on both sides of the baseline, a wall filter, aliasing,
any baseline, scale and sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.machine import Colour
from echoviewclip.phantom.quality import Quality

RNG = np.random.Generator
LINES: tuple[Colour, ...] = ((190, 100, 30), (220, 220, 220), (90, 200, 90), (210, 200, 60), (120, 150, 220))


@dataclass(frozen=True)
class Spectral:
    """How a recording's strip is set up; lengths along the velocity axis are shares of the strip's height."""

    line: Colour
    sweep: float  # s a strip
    stretch: float
    shift: float
    gain: float
    filter: float
    thump: float
    fill: float
    counter: float
    mirror: float
    noise: float
    streaks: float
    motion: str  # scroll, bar or still
    inset: str  # colour or grey
    frozen: bool
    guide: Colour

    @classmethod
    def draw(cls, rng: RNG) -> Spectral:
        """Three sweeps in ten are stills; most insets of live sweeps are frozen."""
        return cls(
            line=LINES[rng.integers(len(LINES))],
            sweep=float(np.exp(rng.uniform(np.log(1.3), np.log(5.0)))),
            stretch=float(np.exp(rng.uniform(-0.3, 0.5))),
            shift=float(rng.uniform(-0.13, 0.13)),
            gain=float(np.exp(rng.uniform(-0.7, 0.5))),
            filter=float(rng.uniform(0.0, 0.035)),
            thump=float(rng.uniform(0, 0.9)),
            fill=float(rng.uniform(0.05, 0.6)),
            counter=float(rng.uniform(0, 0.6)),
            mirror=float(rng.choice([0, rng.uniform(0, 0.35)])),
            noise=float(np.exp(rng.uniform(-5.5, -2.3))),
            streaks=float(rng.uniform(0.4, 2.2)),
            motion=str(rng.choice(["scroll", "bar", "still"], p=[0.45, 0.25, 0.3])),
            inset=str(rng.choice(["colour", "grey"])),
            frozen=bool(rng.random() < 0.8),
            guide=LINES[rng.integers(len(LINES))],
        )

    def image(
        self, velocity: Array, counter: Array, mode: str, scale: tuple[float, float], rows: int, quality: Quality,
        rng: RNG,
    ) -> Array:  # fmt: skip
        """Grey levels [rows, columns] float in [0, 255] of the envelope `velocity` [columns] in m/s and of weaker flow
        `counter` [columns] beside it; `scale` are the velocities at the bottom and the top."""
        low, high = scale
        span = high - low
        axis = np.linspace(high, low, rows)[:, None]
        spread = 1 + 2 * quality["blur"]
        body = self._band(axis, velocity, span, mode, spread)
        if mode != "cw":  # what is beyond the scale comes in again at the other end
            for turn in (-span, span):
                if (np.abs(velocity) > 0).any() and (velocity.max() > high or velocity.min() < low):
                    body = np.maximum(body, self._band(axis + turn, velocity, span, mode, spread))
        body *= 1 - 0.62 * quality["off_axis"]
        weak = self._band(axis, counter, span, "pw" if mode == "tdi" else "cw", 2 * spread)
        body = np.maximum(body, (0.6 if mode == "tdi" else 1.0) * self.counter * weak)
        if self.mirror:
            body = np.maximum(body, self.mirror * self._band(-axis, velocity, span, mode, spread))
        near = np.abs(axis) / span
        pulse = gaussian_filter1d(rng.random(len(velocity)), 5)
        pulse = 0.4 + 0.6 * (pulse - pulse.min()) / (np.ptp(pulse) + 1e-6)
        thump = np.exp(-((near / rng.uniform(0.02, 0.07)) ** 1.5)) * pulse[None]
        body = body + self.thump * (0.5 if mode == "tdi" else 1.0) * thump
        body = body + quality["clutter"] * (0.34 * np.exp(-near / 0.22) + 0.12)
        body = body + quality["near_field"] * 0.42 * np.exp(-(((axis - high) / (0.2 * span)) ** 2))
        noise = self.noise * rng.uniform(0.4, 1.0) + 0.10 * quality["near_field"] + 0.06 * quality["off_axis"]
        grain = rng.exponential(1.0, body.shape)
        grain = gaussian_filter(grain, (self.streaks, 0.6))
        grain = 0.25 + 0.75 * np.sqrt(np.maximum(1 + (grain - 1) * (1 + self.streaks), 0))
        image = self.gain * (body * grain) + noise * rng.exponential(1.0, body.shape)
        soft = quality["blur"]
        image = gaussian_filter(image, (0.5 + 1.6 * soft, 0.6 + 3.0 * soft))
        image *= np.clip((near - self.filter) / 0.012, 0, 1)
        return np.clip(255 * image, 0, 255)

    def _band(self, axis: Array, velocity: Array, span: float, mode: str, spread: float) -> Array:
        """Brightness of the flow: full up to the envelope in continuous wave, more or less hollow in pulsed wave."""
        safe = np.where(np.abs(velocity) < 0.012 * span, 1e-6, velocity)[None, :]
        share = axis / safe
        soft = np.clip(0.035 * span * spread / np.abs(safe), 0.03, 2)
        inside = np.clip((1 - share) / soft + 0.5, 0, 1) * (share > 0)
        if mode == "cw":
            return inside * (0.35 + 0.35 * self.fill + 0.35 * np.clip(share, 0, 1) ** 3)
        width = 0.18 + 0.12 * spread if mode == "pw" else 0.13 + 0.1 * spread
        hollow = np.exp(-(((1 - np.clip(share, 0, 1)) / width) ** 2))
        band = inside * np.maximum(hollow, self.fill * (1.0 if mode == "pw" else 0.4)) * 0.85
        if mode == "tdi":
            line = np.exp(-(((axis - velocity[None, :] * 0.92) / (0.035 * span)) ** 2))
            band = np.maximum(band, 0.8 * line * np.clip(np.abs(velocity) / (0.03 * span), 0.25, 1)[None])
        return band
