"""The pictures of docs/phantom.md: the heart and its planes, its cycle, the steps of an image, beats and defects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from echoviewclip.phantom.heart.anatomy import Array, Heart
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.pictures.sheet import tile, write_tiles
from echoviewclip.phantom.probe import bmode
from echoviewclip.phantom.probe.planes import PLANES
from echoviewclip.phantom.probe.receiver import Receiver, scan_converter
from echoviewclip.phantom.probe.render import section
from echoviewclip.phantom.probe.shot import Grid, Shot
from echoviewclip.phantom.probe.views import VIEWS
from echoviewclip.phantom.quality import DEFECTS, Quality
from echoviewclip.phantom.study.recording import heart_video
from echoviewclip.utils.files import atomic_path
from echoviewclip.utils.seeding import generator

SIZE = 192
SHOWN = ("apical_four", "long_axis", "short_papillary", "short_aortic", "right_inflow", "vena_cava", "suprasternal")


def _shot(patient: Patient, name: str, times: Array, quality: Quality | None = None, size: int = SIZE) -> Shot:
    return Shot.draw(patient, VIEWS[name], quality or Quality({}), size, times, generator(0, 7))


def planes(patient: Patient) -> Figure:
    """Left the scan planes around the heart, right the structures that they cut at end-diastole."""
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    [[left, right]] = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.15))
    axes = left.add_subplot(projection="3d", computed_zorder=False)
    _solid(axes, patient.heart)
    for name, colour in zip(SHOWN, plt.color_sequences["tab10"], strict=False):
        plane = PLANES[name](patient.heart)
        rim = plane.points(np.array([1.0]), np.linspace(-0.65, 0.65, 24))[:, 0]
        fan = np.concatenate([plane.probe[:, None], rim, plane.probe[:, None]], axis=1)
        axes.plot(*fan, color=colour, linewidth=1.6, label=name.replace("_", " "))
        axes.scatter(*plane.probe, color=colour, s=24)
    axes.legend(loc="lower center", ncols=4, fontsize=8, frameon=False, bbox_to_anchor=(0.5, -0.02))
    axes.set(xlim=(-8, 8), ylim=(-8, 8), zlim=(-3, 19))
    axes.set_box_aspect((16, 16, 20), zoom=1.15)
    axes.set_axis_off()
    axes.view_init(elev=8, azim=70)
    for axis, name in zip(right.subplots(2, 4).flat, [*SHOWN, "right_focus"], strict=True):
        axis.imshow(_tissues(patient, name))
        axis.set_title(name.replace("_", " "), fontsize=8)
        axis.axis("off")
    return figure


def _solid(axes: Axes3D, heart: Heart) -> None:
    """The left ventricle at end-diastole as a wire frame, and the course of the great vessels."""
    z, angle = np.meshgrid(np.linspace(0.02, 1, 14) * heart.length, np.linspace(0, 2 * np.pi, 25))
    centre = 0.7 * heart.length
    radius = heart.radius * np.sqrt(1 - ((z - centre) / centre) ** 2)
    axes.plot_wireframe(radius * np.cos(angle), radius * np.sin(angle), z, color="0.55", linewidth=0.4)
    mark = heart.landmarks
    for colour, names in (
        ("tab:red", ("aortic", "ascending", "arch start", "arch", "arch end", "descending")),
        ("tab:blue", ("right ventricle", "outflow", "pulmonary", "pulmonary artery", "bifurcation")),
        ("navy", ("cava", "right atrium", "tricuspid", "right ventricle")),
        ("firebrick", ("left atrium", "mitral", "mid")),
    ):
        axes.plot(*np.stack([mark[name] for name in names], 1), color=colour, linewidth=2.5, alpha=0.6)


def _tissues(patient: Patient, plane: str) -> Array:
    """Structures in a plane as colours [size, size, 3]: blood, muscle and walls, valves, what lies around."""
    shot = replace(_shot(patient, "Apical 4C 2D", np.zeros(1)), plane=PLANES[plane](patient.heart))
    grid = Grid.of(shot.sector, SIZE)
    scene = section(shot, grid).at(np.zeros(1))
    paint = np.full((*scene.blood.shape, 3), (0.83, 0.83, 0.8))
    paint[scene.outside < 0] = (0.80, 0.45, 0.42)
    paint[scene.blood < 0] = (0.25, 0.05, 0.08)
    for valve in scene.valves:
        paint[valve.window][valve.distance < 0.12] = (1.0, 0.95, 0.4)
    converter = scan_converter(shot.sector, SIZE, *paint.shape[1:3])
    frame = np.ones((SIZE, SIZE, 3))
    pixels = np.stack([converter.pixels(paint[..., c].astype(np.float32))[0] for c in range(3)], -1)
    frame[converter.box] = np.where(converter.mask[converter.box][..., None], pixels, 1)
    return np.clip(frame, 0, 1)


def cycle(patient: Patient) -> Figure:
    """One and a half beats: electrocardiogram, volume, valves, velocities."""
    heart, t = patient.heart, np.linspace(0, 1.5 * patient.heart.cycle.beat, 900)
    figure, rows = plt.subplots(5, 1, figsize=(7, 7), sharex=True, layout="constrained")
    rows[0].plot(t, heart.cycle.electrocardiogram(t), color="k")
    rows[0].set_ylabel("ECG")
    rows[1].plot(t, heart.volume(t), color="firebrick")
    rows[1].set_ylabel("left ventricle, ml")
    rows[2].plot(t, heart.cycle.inflow_opening(t), label="mitral, tricuspid")
    rows[2].plot(t, heart.cycle.outflow_opening(t), label="aortic, pulmonary")
    rows[2].set_ylabel("valves open")
    for flow in ("mitral", "tricuspid", "aortic", "tricuspid regurgitation", "pulmonary regurgitation"):
        rows[3].plot(t, patient.velocity(flow, t), label=flow)
    rows[3].set_ylabel("blood, m/s")
    for flow in ("mitral annulus", "tricuspid annulus"):
        rows[4].plot(t, patient.velocity(flow, t), label=flow)
    rows[4].set(ylabel="tissue, m/s", xlabel="seconds after the R wave")
    for row in rows:
        row.axvline(heart.cycle.end_systole, color="0.7", linewidth=0.8)
        row.spines[["top", "right"]].set_visible(False)
    for row in rows[2:]:
        row.legend(fontsize=7, frameon=False, loc="upper right")
    return figure


def steps(patient: Patient) -> Figure:
    """How one image comes about: strength of scatterers, their sum seen through the point-spread function, the same
    after what stands between heart and screen and log compression, the sector."""
    shot = _shot(patient, "Apical 4C 2D", np.array([0.0]), size=256)
    grid = Grid.of(shot.sector, shot.size)
    cut, depth, rng = section(shot, grid), grid.radii * shot.plane.reach, generator(0, 8)
    scene = cut.at(shot.times)
    index = bmode.lattice(scene)
    medium = bmode.Medium(cut, depth, False, 0.0)
    echo, blood = bmode.reflectivity(scene, bmode.grains().take(index), medium, None)
    amplitude = bmode.envelope(echo, index, blood, shot.times, shot.quality, fine=True)
    receiver = Receiver.draw(1, grid.radii, len(grid.angles), shot.quality, shot.patient.gain, rng)
    grey = receiver.receive(amplitude)
    frame = heart_video(shot, generator(0, 8))[0]
    figure, axes = plt.subplots(1, 5, figsize=(13, 3.4), layout="constrained")
    distance = np.clip(np.minimum(scene.blood, scene.outside + 1.0)[0], -2, 2)
    axes[0].imshow(distance, cmap="RdBu", aspect="auto")
    axes[0].set_title("distance to blood, cm")
    axes[1].imshow(np.log10(echo[0] + 1e-4), cmap="gray", aspect="auto")
    axes[1].set_title("strength of scatterers, log")
    axes[2].imshow(np.log10(amplitude[0] + 1e-4), cmap="gray", aspect="auto")
    axes[2].set_title("envelope, log: speckle")
    axes[3].imshow(grey[0], cmap="gray", aspect="auto", vmin=0, vmax=255)
    axes[3].set_title("compressed")
    axes[4].imshow(frame)
    axes[4].set_title("scan conversion")
    for axis in axes[:4]:
        axis.set(xlabel="beams", ylabel="depth", xticks=[], yticks=[])
    axes[4].axis("off")
    return figure


def beats(patient: Patient) -> list[list[Array]]:
    """Three views at six moments of a beat, rows of tiles."""
    moments, rows = np.arange(6) / 6 * patient.heart.cycle.beat, []
    for name in ("Apical 4C 2D", "Parasternal Long Axis Color", "A4C MCE Flash"):
        frames = heart_video(_shot(patient, name, moments), generator(0, 8))
        rows.append([tile(image, f"{name}, {t:.2f}s") for image, t in zip(frames, moments, strict=True)])
    return rows


def defects(patient: Patient) -> list[list[Array]]:
    """One frame without and with each defect at severity 0.8: rows of tiles for an image and for a spectrum."""
    rows = []
    for name in ("Apical 4C 2D", "Apical 4C MV PW"):
        row = []
        for defect in ("", *DEFECTS):
            shot = _shot(patient, name, np.array([0.55, 0.6]), Quality({defect: 0.8} if defect else {}))
            row.append(tile(heart_video(shot, generator(0, 8))[0], defect.replace("_", " ") or name))
        rows.append(row)
    return rows


FIGURES: dict[str, Callable[[Patient], Figure]] = {"planes": planes, "cycle": cycle, "steps": steps}
TILES: dict[str, Callable[[Patient], list[list[Array]]]] = {"beats": beats, "defects": defects}


def write_figures(folder: Path, seed: int) -> Path:
    """Writes the pictures as `phantom_*.png` to `folder` and returns it."""
    patient = Patient.draw(seed, 4)
    for name, draw in FIGURES.items():
        figure = draw(patient)
        with atomic_path(folder / f"phantom_{name}.png") as temporary:
            figure.savefig(temporary, dpi=90)
        plt.close(figure)
    for name, draw_tiles in TILES.items():
        write_tiles(folder / f"phantom_{name}.png", draw_tiles(patient))
    return folder
