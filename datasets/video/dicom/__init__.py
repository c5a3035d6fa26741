"""DICOM objects as videos: pixels in the right colours, frame times, heart rate and ultrasound regions."""

from echoviewclip.datasets.video.dicom.reader import DicomVideo

__all__ = ["DicomVideo"]
