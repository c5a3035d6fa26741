"""Files as a hospital has them, made for the tests, and what preparing them leaves."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage
from scipy import ndimage

from echoviewclip.datasets.video.open import open_video

HEIGHT, WIDTH = 240, 320


def sector(height: int = HEIGHT, width: int = WIDTH, top: int = 16) -> np.ndarray:
    """A sector with its apex at the top, bool [H, W]."""
    y, x = np.mgrid[:height, :width]
    return (np.hypot(y - top, x - width / 2) < 0.85 * height) & (np.abs(x - width / 2) < 0.8 * (y - top))


def speckle(frames: int, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Grain that moves over a still anatomy, uint8 [T, H, W]."""
    rng = np.random.default_rng(seed)
    still = ndimage.gaussian_filter(rng.normal(size=(height, width)), 12)
    moving = ndimage.gaussian_filter(rng.normal(size=(frames, height, width)), (1, 2, 2))
    return (110 + 40 * still / still.std() + 30 * moving / moving.std()).clip(20, 255).astype(np.uint8)


def screen(frames: int = 12, moves: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A machine's screen uint8 [T, H, W, 3] with text, where its image is, and where its text is (bool [H, W])."""
    inside = sector()
    grain = speckle(frames)
    picture = np.where(inside, grain if moves else grain[:1].repeat(frames, 0), 0)
    text = np.zeros_like(inside)
    letters = np.kron(np.random.default_rng(1).random((4, 30)) > 0.4, np.ones((2, 3), bool))
    text[4:12, 4:94] = text[224:232, 220:310] = letters
    return np.where(text, 230, picture)[..., None].repeat(3, -1).astype(np.uint8), inside, text


def write_dicom(path: Path, frames: np.ndarray, regions: list[dict] = (), **elements: object) -> Path:
    """A multi-frame ultrasound object with patient data; `regions` hold left, top, right, bottom (inclusive)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4711"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "MRN-0815", "19561204"
    dataset.InstitutionName, dataset.StudyDate = "St Elsewhere", "20240229"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(frames), *frames.shape[1:3]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.FrameTime, dataset.HeartRate = "40", "72"
    dataset.SequenceOfUltrasoundRegions = [_region(**region) for region in regions]
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = frames.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_without_image(path: Path, kind: str, **elements: object) -> Path:
    """An object of a SOP class that has no image, by its keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = getattr(uid, kind)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4712"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "MRN-0815"
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _region(left: int, top: int, right: int, bottom: int, spatial: int = 1, data: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def pixels(path: Path) -> np.ndarray:
    """Brightness of a video, float [T, H, W]."""
    with open_video(path) as video:
        return video.frames(range(len(video))).float().mean(1).numpy()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
