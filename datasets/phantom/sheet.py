"""The contact sheet: one frame of each view, of each outsider, and one view through the three grades."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from datasets.phantom.anatomy import Array
from datasets.phantom.machine import font
from datasets.phantom.outsiders import FAR
from datasets.phantom.patient import Patient
from datasets.phantom.quality import Quality
from datasets.phantom.recording import dress, heart_video
from datasets.phantom.shot import Shot
from datasets.phantom.views import NEAR, VIEWS, View
from utils.files import atomic_path
from utils.seeding import generator

COLUMNS = 8
GRADED = ("Apical 4C 2D", "Parasternal Long Axis Color", "Apical 4C MV PW")


def _still(patient: Patient, name: str, quality: Quality, size: int, seed: int) -> Array:
    view = VIEWS.get(name) or NEAR.get(name) or View("apical_four", "far")
    rng = generator(seed, patient.number, len(name), size)
    beat = patient.heart.cycle.beat
    start = _moment(patient, name)
    times = start + np.arange(8) / 8 * beat
    shot = Shot.draw(patient, view, quality, size, times, rng)
    frames = FAR[name](shot, rng) if name in FAR else heart_video(shot, rng)
    return dress(frames, shot, rng)[1 if view.mode == "flash" else 0]


def _moment(patient: Patient, name: str) -> float:
    """When a view shows what it is named for: outlets in ejection, inlets in early filling, the rest in diastole."""
    cycle = patient.heart.cycle
    if "Outflow" in name or "Long Axis Color" in name or name == "suprasternal colour":
        return 0.2
    if "Color" in name or "colour" in name or "Mitral Valve" in name:
        return cycle.end_systole + 0.15
    return cycle.beat - 0.2


def _tile(image: Array, title: str) -> Array:
    size = len(image)
    bar = max(14, size // 12)
    tile = Image.new("RGB", (size + 4, size + bar + 4), (24, 26, 30))
    letters = font(max(9, size // 16))
    while letters.getlength(title) > size - 4:
        title = title[:-2].rstrip(" .") + "."
    ImageDraw.Draw(tile).text((3, 0), title, fill=(240, 240, 240), font=letters)
    tile.paste(Image.fromarray(image), (2, bar + 2))
    return np.array(tile)


def write_sheet(path: Path, seed: int, size: int) -> Path:
    """Writes the contact sheet as an image file and returns its path."""
    patients = [Patient.draw(seed, k) for k in range(6)]
    tiles = []
    for k, name in enumerate([*VIEWS, *NEAR, *FAR]):
        title = name.replace("Parasternal", "PS").replace("Right Ventricular", "RV").replace("Outflow Tract", "OT")
        tiles.append(_tile(_still(patients[k % 6], name, Quality({}), size, seed), title))
    for name in GRADED:
        for grade, defects in enumerate(_examples(seed)):
            score = Quality(defects).score
            title = f"{('very bad', 'not good', 'good')[grade]} ({score:.2f}): {name}"
            tiles.append(_tile(_still(patients[0], name, Quality(defects), size, seed), title))
    while len(tiles) % COLUMNS:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.concatenate(tiles[k : k + COLUMNS], axis=1) for k in range(0, len(tiles), COLUMNS)]
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary)
    return path


def _examples(seed: int) -> list[dict[str, float]]:
    """Defects of one recording of each grade, drawn as the data set draws them."""
    rng, found = generator(seed, 99), {}
    while len(found) < 3:
        quality = Quality.draw(rng)
        found.setdefault(quality.grade, quality.defects)
    return [found[grade] for grade in range(3)]
