"""An archive as a hospital has it: recordings of every make in every coding, names everywhere, and other files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageDraw
from pydicom import uid
from scipy import ndimage

from echoviewclip.datasets.intake import find
from echoviewclip.phantom import machine
from echoviewclip.phantom.patient import Patient
from echoviewclip.phantom.probe.shot import Shot
from echoviewclip.phantom.probe.views import VIEWS
from echoviewclip.phantom.quality import Quality
from echoviewclip.phantom.study.recording import dress, heart_video, image_mask
from echoviewclip.utils.seeding import generator
from tests.datasets.intake.hospital import write_without_image
from tests.dicom_objects import (
    jpeg,
    jpeg_2000,
    jpeg_ls,
    lossless_jpeg,
    run_lengths,
    to_ybr,
    to_ybr_422,
    write_object,
)
from tests.media import write_video

SIZE, FRAMES = 192, 8
# No part is so short that it stands in compressed pixels by chance.
PATIENTS = ("Dorn^Jane", "Rohn^Richard", "Mustermann^Erika", "Okafor^Chidi", "Larsen^Ingrid", "Moreau^Leon")
SHOWN = ["Apical 4C 2D", "Parasternal Long Axis 2D", "Apical 2C 2D", "Parasternal Papillary Muscle Short Axis 2D"]
PLACES = ("top left", "top right", "bottom left", "bottom right")


@dataclass
class Made:
    """One recording: what it is, and where its planted name stands."""

    make: str
    coding: str
    place: str
    image: np.ndarray  # bool [H, W], the truth
    letters: np.ndarray  # bool [H, W], of the planted name


@dataclass
class Archive:
    """The folder, its recordings by name, and why each other file is left out (empty: a fault)."""

    root: Path
    recordings: dict[str, Made] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=64)
def _screen(number: int) -> tuple[np.ndarray, Shot]:
    """A moving recording with its machine's screen."""
    random = generator(7, number)
    patient = Patient.draw(7, number % 12)
    times = random.uniform(0, 1) + np.arange(FRAMES) * 0.12
    view = VIEWS[SHOWN[number % len(SHOWN)]]
    shot = Shot.draw(patient, view, Quality.draw(random), SIZE, times, random)
    return dress(heart_video(shot, random), shot, random), shot


def recording(number: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, str, Shot]:
    """Frames with a name in one of the corners; the image, the name's letters, the corner."""
    frames, shot = _screen(number % 48)
    image = image_mask(shot)
    free = ~ndimage.binary_dilation(image, iterations=4)
    picture = Image.new("L", (SIZE, SIZE))
    font = machine.font(11)
    width, height = round(font.getlength(name)), 12
    for place in (*PLACES[number % 4 :], *PLACES[: number % 4]):
        x = 3 if place.endswith("left") else SIZE - width - 3
        y = 12 if place.startswith("top") else SIZE - height - 14
        if free[y : y + height, max(x, 0) : x + width].all():
            break
    ImageDraw.Draw(picture).text((x, y), name, fill=255, font=font)
    letters = (np.asarray(picture) > 100) & free
    frames = np.where(letters[None, ..., None], 230, frames).astype(np.uint8)
    return frames, image, letters, place, shot


def _gray(frames: np.ndarray) -> np.ndarray:
    return frames.mean(-1).astype(np.uint8)


OBJECTS: dict[str, tuple[Callable, str, uid.UID]] = {  # pixels of frames [T, H, W, 3], what they mean, syntax
    "RGB": (np.ndarray.tobytes, "RGB", uid.ExplicitVRLittleEndian),
    "implicit": (np.ndarray.tobytes, "RGB", uid.ImplicitVRLittleEndian),
    "YBR": (lambda f: to_ybr(f).tobytes(), "YBR_FULL", uid.ExplicitVRLittleEndian),
    "YBR 4:2:2": (to_ybr_422, "YBR_FULL_422", uid.ExplicitVRLittleEndian),
    "grey": (lambda f: _gray(f).tobytes(), "MONOCHROME2", uid.ExplicitVRLittleEndian),
    "JPEG": (lambda f: [jpeg(frame) for frame in f], "YBR_FULL_422", uid.JPEGBaseline8Bit),
    "JPEG-LS": (lambda f: [jpeg_ls(frame) for frame in f], "RGB", uid.JPEGLSLossless),
    "lossless JPEG": (lambda f: [lossless_jpeg(frame) for frame in f], "YBR_FULL", uid.JPEGLosslessSV1),
    "JPEG 2000": (lambda f: [jpeg_2000(frame, "YBR_RCT") for frame in f], "YBR_RCT", uid.JPEG2000Lossless),
    "RLE": (lambda f: [run_lengths(frame) for frame in f], "RGB", uid.RLELossless),
    "no preamble": (np.ndarray.tobytes, "RGB", uid.ExplicitVRLittleEndian),
}
CODINGS = (*OBJECTS, "AVI", "MP4", "GIF")
SUFFIXES = {"AVI": ".avi", "MP4": ".mp4", "GIF": ".gif", "no preamble": ".ima"}


def write_recording(path: Path, frames: np.ndarray, coding: str, **elements: object) -> None:
    """Writes a recording; `elements` are DICOM's."""
    if coding in ("AVI", "MP4"):
        write_video(path, frames, codec={"AVI": "mjpeg", "MP4": "libx264"}[coding], fps=25)
    elif coding == "GIF":
        first, *others = (Image.fromarray(frame).quantize(128) for frame in frames)
        first.save(path, save_all=True, append_images=others, duration=40)
    else:
        pixels, meaning, syntax = OBJECTS[coding]
        shape = _gray(frames).shape if coding == "grey" else frames.shape
        write_object(path, pixels(frames), shape, meaning, syntax, FrameTime="40", Modality="US", **elements)
        if coding == "no preamble":
            dataset = pydicom.dcmread(path)
            del dataset.file_meta
            with path.open("wb") as file:
                pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=True, overwrite=True)


def _patient_tags(name: str, number: int) -> dict[str, object]:
    return {
        "PatientName": name,
        "PatientID": f"MRN-{number % len(PATIENTS):04}",
        "PatientBirthDate": "19561204",
        "InstitutionName": "Mercy Hospital",
        "ReferringPhysicianName": "House^Gregory",
    }


def _junk(folder: Path, number: int, name: str) -> tuple[Path, str]:
    """One of the files that are no recordings, and why it is left out."""
    elements = _patient_tags(name, number)
    still = np.zeros((1, 40, 48, 3), np.uint8)
    image = Image.new("RGB", (40, 30))
    kinds: list[tuple[str, str, Callable[[Path], object]]] = [
        ("report.dcm", find.NO_IMAGE, lambda p: write_without_image(p, "ComprehensiveSRStorage", **elements)),
        ("ecg", find.NO_IMAGE, lambda p: write_without_image(p, "TwelveLeadECGWaveformStorage", **elements)),
        ("state.dcm", find.NO_IMAGE, lambda p: write_without_image(p, "GrayscaleSoftcopyPresentationStateStorage")),
        ("ct", find.NOT_ULTRASOUND, lambda p: write_object(p, still.tobytes(), still.shape, "RGB", Modality="CT")),
        ("still.dcm", find.STILL, lambda p: write_object(p, still.tobytes(), still.shape, "RGB", **elements)),
        ("photo.jpg", find.STILL, image.save),
        ("logo.gif", find.STILL, image.save),
        ("notes.txt", find.UNKNOWN, lambda p: p.write_text(name)),
        ("more.zip", find.UNKNOWN, lambda p: zipfile.ZipFile(p, "w").close()),
        ("._a.dcm", find.UNKNOWN, lambda p: p.write_bytes(b"\0\5\x16\7" + bytes(200))),
        ("empty.dcm", "", lambda p: p.touch()),
        ("damaged.dcm", "", lambda p: p.write_bytes(bytes(128) + b"DICM" + name.encode())),
        ("cut.mp4", "", lambda p: p.write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))),
    ]
    file, why, write = kinds[number % len(kinds)]
    path = folder / f"{number}" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return path, why


def make_archive(root: Path, recordings: int = 220, others: int = 80) -> Archive:
    """Writes the archive; names of patients are in folders, files, tags and pixels."""
    archive = Archive(root)
    for number in range(recordings):
        name, coding = PATIENTS[number % len(PATIENTS)], CODINGS[number % len(CODINGS)]
        frames, image, letters, place, shot = recording(number, name.replace("^", " ").upper())
        folder = root / name.replace("^", "_") / f"study {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name.split('^')[0]}-{number:03}{SUFFIXES.get(coding, '.dcm')}"
        write_recording(path, frames, coding, **_patient_tags(name, number))
        made = Made(shot.patient.machine.style, coding, place, image, letters)
        archive.recordings[str(path.relative_to(root))] = made
    for number in range(others):
        path, why = _junk(root / "export", number, PATIENTS[number % len(PATIENTS)])
        archive.others[str(path.relative_to(root))] = why
    return archive
