"""What stands between scatterers and screen in real rooms: haze, side lobes, reverberation, ribs, uneven gain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.probe.bmode import smooth_noise
from echoviewclip.phantom.probe.receiver import RANGE, Receiver
from echoviewclip.phantom.quality import Quality

RNG = np.random.Generator
FEWEST = 48  # beams over which unevenness is of unit size
NOISES = 6  # frames of the receiver's noise, which come round again


@dataclass(frozen=True)
class Clutter:
    """A recording's receiver. Amplitudes are in those of `bmode.STRENGTH`, gains in dB."""

    dynamic: float
    gain: float
    noise: float
    haze: float
    near: float
    reverberation: float
    lobes: float
    ribs: int
    fade: tuple[float, float]
    patches: float
    slope: float
    smoothing: tuple[int, int]

    @classmethod
    def draw(cls, rng: RNG) -> Clutter:
        """What is rare in good pictures is drawn rarely, whatever the grade."""

        def sometimes(share: float, most: float) -> float:
            return float(rng.uniform(0, most)) if rng.random() < share else 0.0

        return cls(
            dynamic=float(rng.uniform(42, 64)),
            gain=float(rng.uniform(-6, 2)),
            noise=float(np.exp(rng.uniform(-1.2, 1.4))),
            haze=sometimes(0.4, 0.035),
            near=sometimes(0.5, 0.35),
            reverberation=sometimes(0.25, 0.25),
            lobes=sometimes(0.3, 0.04),
            ribs=int(rng.choice(3, p=[0.75, 0.18, 0.07])),
            fade=(sometimes(0.5, 1.0), sometimes(0.5, 1.0)),
            patches=float(rng.uniform(0.8, 4.5)),
            slope=float(rng.uniform(-4, 9)),
            smoothing=(int(rng.choice([0, 1, 1, 2])), int(rng.integers(0, 3))),
        )

    def receiver(self, frames: int, radii: Array, beams: int, quality: Quality, gain: float, rng: RNG) -> Receiver:
        """The receiver of this recording, with the defects of its quality on top; see `Receiver.draw`."""
        plain = Receiver.draw(min(frames, NOISES), radii, beams, quality, gain, rng)
        radii, angles = radii.astype(np.float32), np.linspace(-1, 1, beams, dtype=np.float32)
        shape, lines = (len(radii), beams), max(beams // 6, 2)
        veil, shade = plain.veil, plain.shade
        speckle = 0.4 + rng.rayleigh(0.5, shape).astype(np.float32)
        if self.haze or self.near:
            cloud = gaussian_filter(smooth_noise(rng, shape, 14), 4)
            near = np.exp(-((radii / rng.uniform(0.1, 0.24)) ** 2))[:, None]
            veil = veil + (self.haze * cloud**2 + self.near * near * cloud) * speckle
        if self.reverberation:
            period, phase = rng.uniform(0.06, 0.14), rng.uniform(0, 6)
            rings = np.clip(np.cos(2 * np.pi * radii / period + phase), 0, 1)[:, None] ** 3
            where = np.exp(-(((angles - rng.uniform(-0.6, 0.6)) / rng.uniform(0.2, 0.7)) ** 2))
            veil = veil + self.reverberation * rings * where * np.exp(-radii / 0.25)[:, None] * speckle
        if self.lobes:  # arcs at the depth of strong reflectors
            for depth in rng.uniform(0.3, 0.95, 3):
                arc = np.exp(-(((radii - depth) / 0.012) ** 2))[:, None]
                veil = veil + self.lobes * arc * np.clip(smooth_noise(rng, (1, beams), lines), 0.2, 1) * speckle
        for _ in range(self.ribs):
            centre, width = rng.choice([-1, 1]) * rng.uniform(0.35, 1.05), rng.uniform(0.06, 0.3)
            dark = np.exp(-(((angles - centre) / width) ** 4))[None] * np.clip((radii - 0.05) / 0.15, 0, 1)[:, None]
            shade = shade * (1 - rng.uniform(0.7, 0.97) * dark).astype(np.float32)
        decibels = self.patches * _uneven(shape, rng) + self.slope * (radii - 0.5)[:, None]
        for side, fade in zip((-1, 1), self.fade, strict=True):
            decibels = decibels - 16 * fade * np.clip((side * angles - 0.55) / 0.45, 0, 1)[None]
        shown = 1 + ((plain.shown - 1) * RANGE + self.gain + decibels) / self.dynamic
        return replace(
            plain, veil=veil.astype(np.float32), shade=shade.astype(np.float32),
            noise=plain.noise * np.float32(self.noise), shown=shown.astype(np.float32), range=self.dynamic,
            smoothing=self.smoothing,
        )  # fmt: skip


def _uneven(shape: tuple[int, int], rng: RNG) -> Array:
    """Smooth unevenness of about unit size: in broad patches and in bands of neighbouring beams."""
    broad, fine = (gaussian_filter(smooth_noise(rng, shape, cell), cell / 4) for cell in (40, 14))
    field = broad / broad.std() + 0.5 * fine / fine.std()
    bands = gaussian_filter(rng.standard_normal(max(shape[1], FEWEST)), 3)  # few beams hardly differ: unit over many
    return field - field.mean() + 0.5 * (bands / bands.std())[: shape[1]]
