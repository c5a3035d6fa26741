"""The contact sheet: one frame of each view, of each outsider, and three views through the three grades."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from echoviewclip.phantom.heart.anatomy import Array
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.pictures.tiles import tile, write_tiles
from echoviewclip.phantom.probe.shot import Shot
from echoviewclip.phantom.probe.views import NEAR, VIEWS, View
from echoviewclip.phantom.quality import Quality
from echoviewclip.phantom.study.outsiders import FAR
from echoviewclip.phantom.study.recording import dress, heart_video
from echoviewclip.phantom.study.study import draw_patient
from echoviewclip.phantom.variety.setting import Setting
from echoviewclip.utils.seeding import generator

COLUMNS = 9
GRADED = ("Apical 4C 2D", "Parasternal Long Axis Color", "Apical 4C MV PW")


def _still(patient: Patient, name: str, quality: Quality, size: int, seed: int) -> Array:
    view = VIEWS.get(name) or NEAR.get(name) or View("apical_four", "far")
    rng = generator(seed, patient.number, len(name), size)
    beat = patient.heart.cycle.beat
    start = _moment(patient, name)
    times = start + np.arange(8) / 8 * beat
    setting = Setting.draw(patient.look, generator(seed, patient.number, len(name), 2)) if patient.look else None
    shot = Shot.draw(patient, view, quality, size, times, rng, setting)
    frames = dress(FAR[name](shot, rng) if name in FAR else heart_video(shot, rng), shot, rng)
    return _with_inset(frames[3], frames[1]) if view.mode == "flash" else frames[0]


def _with_inset(image: Array, other: Array) -> Array:
    """`image` with `other` small in the corner beside the sector: what follows a flash, and the flash."""
    size = len(image)
    small = Image.fromarray(other).resize((size // 3, size // 3), Image.Resampling.BOX)
    sheet = Image.fromarray(image)
    sheet.paste(small, (size - size // 3 - 1, size // 12))
    return np.array(sheet)


def _moment(patient: Patient, name: str) -> float:
    """When a view shows what it is named for: outlets in ejection, inlets in early filling, the rest in diastole."""
    cycle = patient.heart.cycle
    if "Outflow" in name or "Long Axis Color" in name or name == "suprasternal colour":
        return 0.2
    if "Color" in name or "colour" in name or "Mitral Valve" in name:
        return cycle.end_systole + 0.15
    return cycle.beat - 0.2


def write_sheet(path: Path, seed: int, size: int, variety: str = "plain") -> Path:
    """Writes the contact sheet as an image file and returns its path; varied studies are of another patient each."""
    count = 6 if variety == "plain" else 54
    patients = [draw_patient(seed, k, variety) for k in range(count)]
    tiles = []
    for k, name in enumerate([*VIEWS, *NEAR, *FAR]):
        tiles.append(tile(_still(patients[k % count], name, Quality({}), size, seed), name))
    for name in GRADED:
        for grade, defects in enumerate(_examples(seed)):
            score = Quality(defects).score
            title = f"{('very bad', 'not good', 'good')[grade]} ({score:.2f}): {name}"
            tiles.append(tile(_still(patients[0], name, Quality(defects), size, seed), title))
    write_tiles(path, [tiles[k : k + COLUMNS] for k in range(0, len(tiles), COLUMNS)])
    return path


def _examples(seed: int) -> list[dict[str, float]]:
    """Defects of one recording of each grade, drawn as the data set draws them."""
    rng = generator(seed, 99)
    found: dict[int, dict[str, float]] = {}
    while len(found) < 3:
        quality = Quality.draw(rng)
        found.setdefault(quality.grade, quality.defects)
    return [found[grade] for grade in range(3)]
