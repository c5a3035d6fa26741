"""Doppler: the velocity field of the beating heart in a colour box, and the spectrum of one gate over time.

Red is towards the probe and blue away from it; what exceeds the Nyquist velocity wraps to the other colour. Pulsed
spectra are hollow (one small gate, one velocity), continuous ones filled (every velocity along the beam).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from echoviewclip.phantom.heart.anatomy import Array, Heart
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.planes import Plane
from echoviewclip.phantom.quality import Quality

NYQUIST, TISSUE_NYQUIST = 0.62, 0.12  # m/s


@dataclass(frozen=True)
class Jet:
    """A stream from `start` to `end`, cm, `width` cm wide, whose speed in m/s follows `flow` or is steady."""

    start: Array
    end: Array
    width: float
    flow: str


def _jets(heart: Heart) -> list[Jet]:
    """The streams through the four valves, the arch and the cava; speeds are positive from start to end."""
    m = heart.landmarks
    up, apex = np.array([0, 0, 1.0]), m["apex"]
    return [
        Jet(m["left atrium"], m["mitral tips"] * [0.5, 0.5, 1] - 4.0 * up, 1.35, "mitral"),
        Jet(apex + polar_up(heart), m["aortic"], 0.9, "aortic"),
        Jet(m["aortic"], m["ascending"], 0.9, "aortic"),
        Jet(m["right atrium"], m["tricuspid"] - 3.8 * up + [0.4, 0.4, 0], 1.4, "tricuspid"),
        Jet(m["tricuspid"] - up, m["right atrium"], 0.7, "regurgitation"),
        Jet(m["outflow"] - [1.4, 0, 1.2], m["outflow"], 1.2, "pulmonary"),
        Jet(m["outflow"], m["pulmonary"], 1.2, "pulmonary"),
        Jet(m["pulmonary"], m["pulmonary artery"], 1.25, "pulmonary"),
        Jet(m["pulmonary artery"], m["bifurcation"], 1.3, "pulmonary"),
        Jet(m["pulmonary"], m["outflow"], 0.45, "diastolic"),
        Jet(m["arch start"] - 2 * up, m["arch start"] + 1.4 * up, 1.4, "aortic"),
        Jet(m["arch start"] + 1.4 * up, m["arch"], 1.3, "aortic"),
        Jet(m["arch"], m["arch end"] + up, 1.3, "aortic"),
        Jet(m["arch end"] + up, m["descending"], 1.2, "aortic"),
    ]


def polar_up(heart: Heart) -> Array:
    """Where the stream of the left ventricle's outflow begins."""
    return np.array([-0.2, 0.5, 0.45 * heart.length])


def _speed(patient: Patient, flow: str, t: Array) -> Array:
    cycle, peaks = patient.heart.cycle, patient.peaks
    if flow == "regurgitation":
        return cycle.systolic_jet(t, 1.1)
    if flow == "diastolic":
        return cycle.diastolic_jet(t, 0.5)
    if flow in ("aortic", "pulmonary"):
        return cycle.ejection(t, 0.75 * peaks[flow])
    return 0.95 * patient.velocity(flow, t)


def velocity_field(patient: Patient, plane: Plane, points: Array, angles: Array, t: Array) -> Array:
    """Velocity towards the probe, m/s, at `points` [3, D, B] and times `t` [T]: [T, D, B] float32."""
    beams = plane.beams(angles)
    field = np.zeros((len(t), *points.shape[1:]), np.float32)
    for jet in _jets(patient.heart):
        axis = jet.end - jet.start
        span = float(np.linalg.norm(axis))
        axis = (axis / span).astype(np.float32)
        offset = points - jet.start[:, None, None].astype(np.float32)
        along = np.einsum("cdb,c->db", offset, axis)
        aside = np.maximum(np.einsum("cdb,cdb->db", offset, offset) - along**2, 0)
        ends = np.clip((along + 0.5) / 0.9, 0, 1) * np.clip((span + 0.7 - along) / 1.1, 0, 1)
        profile = np.exp(aside / -(jet.width**2)) * ends * -(axis @ beams).astype(np.float32)
        if np.abs(profile).max() > 0.02:
            field += _speed(patient, jet.flow, t)[:, None, None].astype(np.float32) * profile
    return field


def tissue_field(patient: Patient, plane: Plane, points: Array, angles: Array, t: Array) -> Array:
    """Velocity of the muscle towards the probe, m/s, [T, D, B] float32: full at the annulus, none at the apex."""
    share = np.clip(points[2] / patient.heart.length, 0, 1) * plane.beams(angles)[2]
    return (patient.velocity("mitral annulus", t)[:, None, None] * share).astype(np.float32)


def box(plane: Plane, centre: Array, size: float, radii: Array, angles: Array) -> Array:
    """The colour box [D, B]: a trapezoid of half height `size` cm around the projection of `centre`."""
    depth, angle = plane.locate(centre)
    half = size / plane.reach
    width = min(1.05 * half / max(depth, 0.25), 0.5)
    angle = float(np.clip(angle, angles[0] + width, angles[-1] - width))
    return (np.abs(radii - depth) < half)[:, None] & (np.abs(angles - angle) < width)[None, :]


def colours(velocity: Array, nyquist: float = NYQUIST) -> Array:
    """RGB [..., 3] uint8 of velocities in m/s: red to yellow towards, blue to cyan away, aliased beyond `nyquist`."""
    wrapped = (velocity + nyquist) % (2 * nyquist) - nyquist
    strength = np.clip(np.abs(wrapped) / nyquist, 0, 1)
    main = np.clip(90 + 330 * strength, 0, 255)
    second = np.clip(330 * (strength - 0.33), 0, 255)
    towards = wrapped > 0
    red, blue = np.where(towards, main, 0), np.where(towards, 0, main)
    return np.stack([red, second, blue], axis=-1).astype(np.uint8)


def spectrum(
    velocity: Array, mode: str, scale: tuple[float, float], rows: int, quality: Quality, rng: np.random.Generator
) -> Array:
    """The spectral display [rows, columns] of grey levels in [0, 255] for the envelope `velocity` [columns], m/s.

    `mode` is pw (hollow), tdi (hollow, bright, slow) or cw (filled). The outer edge of the spectrum is the envelope.
    """
    low, high = scale
    span = high - low
    axis = np.linspace(high, low, rows)[:, None]
    share = axis / np.where(np.abs(velocity) < 0.02 * span, 1e-6, velocity)[None, :]
    spread = 0.07 + 0.30 * quality["blur"]
    edge = np.clip((1 - share) / 0.05 + 0.5, 0, 1) * (share > 0)
    if mode == "cw":
        body = edge * (0.42 + 0.5 * np.clip(share, 0, 1) ** 2)
    else:
        body = edge * np.exp(-(((1 - np.clip(share, 0, 1)) / (0.24 + spread)) ** 2)) * (1.15 if mode == "tdi" else 0.95)
    if mode == "tdi":
        middle = velocity - np.sign(velocity) * np.minimum(np.abs(velocity), 0.035 * span)
        body = np.maximum(body, 0.75 * np.exp(-(((axis - middle[None, :]) / (0.03 * span)) ** 2)))
    calm = np.exp(-((axis / (0.018 * span)) ** 2)) * 0.9  # slow walls around the baseline
    body = body * (1 - 0.62 * quality["off_axis"]) + calm
    body = body + 0.34 * quality["clutter"] * np.exp(-np.abs(axis) / (0.22 * span)) + 0.12 * quality["clutter"]
    body = body + quality["near_field"] * 0.42 * np.exp(-(((axis - high) / (0.2 * span)) ** 2))
    grain = np.sqrt(rng.exponential(1.0, body.shape)) * 0.62 + 0.38
    noise = 0.06 + 0.10 * quality["near_field"] + 0.06 * quality["off_axis"]
    image = body * grain + noise * rng.exponential(1.0, body.shape)
    image = gaussian_filter1d(image, 0.5 + 1.6 * quality["blur"], axis=0)
    image = gaussian_filter1d(image, 0.5 + 3.0 * quality["blur"], axis=1)
    return np.clip(255 * image, 0, 255)
