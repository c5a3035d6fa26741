"""Recordings on disk: MJPEG in AVI, H.264 in MP4, and DICOM ultrasound multi-frame images with JPEG baseline frames.

One thread and no time stamps, so that the same frames give the same bytes.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage, generate_uid

from echoviewclip.phantom.probe.shot import Region

CODECS: dict[str, tuple[Literal["mjpeg", "libx264"], str, dict[str, str]]] = {
    ".avi": ("mjpeg", "yuvj420p", {"qmin": "3", "qmax": "3", "huffman": "default"}),
    ".mp4": ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}),
}


def write_video(path: Path, frames: np.ndarray, fps: float) -> None:
    """Writes RGB `frames` [T, H, W, 3] uint8 with even H and W as `.avi` (MJPEG) or `.mp4` (H.264)."""
    codec, pixels, options = CODECS[path.suffix]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def _item(region: Region) -> Dataset:
    """One item of Sequence of Ultrasound Regions (0018,6011)."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = region["kind"], region["data"], 0
    x0, y0, x1, y1 = region["box"]
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = region["units"]
    item.ReferencePixelX0, item.ReferencePixelY0 = 0, region["zero"]
    item.ReferencePixelPhysicalValueX = item.ReferencePixelPhysicalValueY = 0.0
    item.PhysicalDeltaX, item.PhysicalDeltaY = (float(value) for value in region["delta"])
    return item


def write_dicom(
    path: Path, frames: np.ndarray, fps: float, heart_rate: float, regions: list[Region], key: tuple[int, ...]
) -> None:
    """Writes RGB `frames` [T, H, W, 3] uint8 as a DICOM cine with a neutral identity.

    `key` makes the identifiers unique and reproducible.
    """

    def uid(*part: object) -> UID:
        return generate_uid(entropy_srcs=["echo phantom", *map(str, part)])

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = uid("instance", *key)
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    cine = Dataset()
    cine.file_meta = meta
    cine.SOPClassUID, cine.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    cine.StudyInstanceUID, cine.SeriesInstanceUID = uid("study", *key[:2]), uid("series", *key[:2])
    cine.Modality, cine.Manufacturer = "US", "Echo phantom"
    cine.PatientName, cine.PatientID = f"Phantom^{key[1]:03d}", f"PHANTOM{key[1]:03d}"
    cine.PatientBirthDate = cine.PatientSex = cine.StudyDate = cine.StudyTime = ""
    cine.StudyID = cine.AccessionNumber = cine.ReferringPhysicianName = ""
    cine.SeriesNumber, cine.InstanceNumber = 1, key[2] + 1
    cine.NumberOfFrames, cine.Rows, cine.Columns = len(frames), *frames.shape[1:3]
    cine.SamplesPerPixel, cine.PlanarConfiguration, cine.PhotometricInterpretation = 3, 0, "YBR_FULL_422"
    cine.BitsAllocated = cine.BitsStored = 8
    cine.HighBit, cine.PixelRepresentation = 7, 0
    cine.FrameTime = f"{1000 / fps:.3f}"
    cine.FrameIncrementPointer = 0x00181063
    cine.CineRate, cine.RecommendedDisplayFrameRate = round(fps), round(fps)
    cine.HeartRate = round(heart_rate)
    cine.LossyImageCompression, cine.LossyImageCompressionMethod = "01", "ISO_10918_1"
    cine.SequenceOfUltrasoundRegions = Sequence([_item(region) for region in regions])
    cine.PixelData = encapsulate([_jpeg(image) for image in frames])
    cine.save_as(path, enforce_file_format=True)


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=1)
    return buffer.getvalue()
