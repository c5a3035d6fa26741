"""Which files of a folder are videos: by content, whatever they are called; and every other one with its reason."""

from __future__ import annotations

import csv
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid

from echoviewclip.datasets.intake import find
from echoviewclip.datasets.intake.asked import find_videos
from echoviewclip.datasets.intake.find import find_sources
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.datasets.video.content import HEAD_BYTES, kind_of
from echoviewclip.datasets.video.open import open_video
from echoviewclip.tools import prepare as command
from echoviewclip.utils.errors import UserError, exit_code
from tests.datasets.intake.hospital import write_dicom, write_without_image
from tests.dicom_objects import write_object
from tests.media import frame_numbers, numbered_frames, write_video

CINE = numbered_frames(4, 40, 48)


def write_without_preamble(path: Path, syntax: uid.UID, **elements: object) -> Path:
    """An object as machines of the nineties and some exports leave it: elements alone."""
    whole = write_object(path, CINE.tobytes(), CINE.shape, "RGB", syntax, **elements)
    dataset = pydicom.dcmread(whole)
    del dataset.file_meta
    with path.open("wb") as file:
        pydicom.dcmwrite(
            file, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian, overwrite=True
        )
    return path


def write_gif(path: Path, frames: int = 4) -> Path:
    first, *others = (Image.fromarray(frame[..., 0]) for frame in numbered_frames(frames, 40, 48))
    first.save(path, save_all=True, append_images=others, duration=40)
    return path


@pytest.fixture
def archive(source):
    """Nine videos under names that say nothing or the wrong thing."""
    write_dicom(source / "a.IMA", CINE)
    write_dicom(source / "b.DC3", CINE)
    write_dicom(source / "c.img", CINE)
    write_dicom(source / "study.1/d.2020", CINE, Modality="US")
    write_without_preamble(source / "e", uid.ExplicitVRLittleEndian)
    write_without_preamble(source / "f.ima", uid.ImplicitVRLittleEndian)
    write_gif(source / "g.gif")
    write_video(source / "h.mp4", CINE, codec="libx264").rename(source / "h.export")
    write_video(source / "i.avi", CINE).rename(source / "i.dat")
    return source


VIDEOS = {"a.IMA", "b.DC3", "c.img", "study.1/d.2020", "e", "f.ima", "g.gif", "h.export", "i.dat"}


@pytest.fixture
def junk(archive):
    """What lies beside them, and why it is left out."""
    write_without_image(archive / "report", "ComprehensiveSRStorage")
    write_without_image(archive / "ecg.dcm", "TwelveLeadECGWaveformStorage", Modality="ECG")
    write_without_image(archive / "DICOMDIR", "MediaStorageDirectoryStorage")
    write_without_image(archive / "state.dcm", "GrayscaleSoftcopyPresentationStateStorage", Modality="PR")
    write_dicom(archive / "ct.dcm", CINE[:1], Modality="CT", SOPClassUID=uid.CTImageStorage)
    write_dicom(archive / "dose", CINE, Modality="RTDOSE")
    write_dicom(archive / "still.dcm", CINE[:1], Modality="US")
    Image.fromarray(CINE[0]).save(archive / "photo.JPG")
    write_gif(archive / "logo.gif", frames=1)
    (archive / "notes.txt").write_text("GIF and DICM are words, too")
    (archive / "._a.dcm").write_bytes(b"\0\5\x16\7" + bytes(200))
    zipfile.ZipFile(archive / "more.zip", "w").close()
    os.mkfifo(archive / "pipe")
    (archive / "link").symlink_to("nowhere")
    (archive / "linked").symlink_to("study.1")
    reasons = dict.fromkeys(("report", "ecg.dcm", "DICOMDIR", "state.dcm"), find.NO_IMAGE)
    reasons |= dict.fromkeys(("ct.dcm", "dose"), find.NOT_ULTRASOUND)
    reasons |= dict.fromkeys(("still.dcm", "photo.JPG", "logo.gif"), find.STILL)
    reasons |= dict.fromkeys(("notes.txt", "._a.dcm", "more.zip"), find.UNKNOWN)
    return reasons | dict.fromkeys(("pipe", "link"), find.NO_FILE) | {"linked": find.LINKED_FOLDER}


def test_the_content_says_what_is_a_video(archive, tmp_path):
    records = prepare(archive, tmp_path / "done", Options(crop=False), 0)
    assert {record.source for record in records} == VIDEOS
    assert {record.fault or record.skipped for record in records} == {""}
    for record in records:
        with open_video(tmp_path / "done/videos" / record.name) as video:
            assert frame_numbers(video.frames(range(4))) == [0, 1, 2, 3], record.source


def test_every_other_file_has_its_reason(archive, junk, tmp_path):
    records = prepare(archive, tmp_path / "done", Options(), 0)
    assert {record.source: record.skipped for record in records if record.skipped} == junk
    assert {record.source for record in records if not record.skipped and not record.fault} == VIDEOS
    with (tmp_path / "done-private/names.csv").open(newline="") as lines:
        assert {row["source"]: row["skipped"] for row in csv.DictReader(lines) if row["skipped"]} == junk
    assert not any(name in (tmp_path / "done/manifest.csv").read_text() for name in ("ct.dcm", "report", "photo"))


def test_the_command_ends_with_counts_by_reason(archive, junk, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(archive), str(tmp_path / "done"), "--workers", "0"])
    assert exit_code(command.main) == 0  # nothing of this is a fault
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0]
        == f"{len(VIDEOS) + len(junk)} files: {len(VIDEOS)} videos prepared, {len(junk)} left out, 0 unreadable"
    )
    counts = {find.NO_IMAGE: 4, find.STILL: 3, find.UNKNOWN: 3, find.NOT_ULTRASOUND: 2, find.NO_FILE: 2}
    assert lines[1:6] == [f"left out: {count} {reason}" for reason, count in counts.items()]
    assert lines[6] == f"left out: 1 {find.LINKED_FOLDER}"


def test_any_modality_and_stills_are_taken_on_demand(archive, junk, tmp_path):
    records = prepare(archive, tmp_path / "done", Options(any_modality=True, stills=True), 0)
    taken = {record.source for record in records if not record.skipped}
    assert taken == VIDEOS | {"ct.dcm", "dose", "still.dcm", "photo.JPG", "logo.gif"}
    assert not any(record.fault for record in records)


def test_what_is_not_ultrasound_is_left_out_also_where_it_cannot_be_read(source, tmp_path):
    write_dicom(source / "cine.dcm", CINE)
    write_dicom(source / "mask.dcm", CINE, Modality="SEG", BitsAllocated=1, BitsStored=1, HighBit=0)
    write_dicom(source / "dose.dcm", CINE, Modality="RTDOSE", BitsAllocated=64, BitsStored=64, HighBit=63)
    write_object(source / "cut.dcm", CINE.tobytes()[:7], CINE.shape, "NOTHING KNOWN", Modality="CT")
    write_object(source / "damaged.dcm", CINE.tobytes(), CINE.shape, "NOTHING KNOWN", Modality="US")
    write_object(source / "unsaid.dcm", CINE.tobytes(), CINE.shape, "NOTHING KNOWN")
    others = {"mask.dcm", "dose.dcm", "cut.dcm"}
    records = prepare(source, tmp_path / "done", Options(), 0)
    assert {record.source for record in records if record.skipped == find.NOT_ULTRASOUND} == others
    assert {record.source for record in records if record.fault} == {"damaged.dcm", "unsaid.dcm"}
    every = prepare(source, tmp_path / "every", Options(any_modality=True), 0)
    assert {record.source for record in every if record.fault} == others | {"damaged.dcm", "unsaid.dcm"}
    left_out: dict[str, str] = {}
    found = find_videos([source], left_out)
    assert {Path(path).name for path in found} == {"cine.dcm", "damaged.dcm", "unsaid.dcm"}
    assert {Path(path).name: why for path, why in left_out.items()} == dict.fromkeys(others, find.NOT_ULTRASOUND)


def test_a_suffix_of_videos_makes_damage_a_fault(source, tmp_path):
    (source / "a.dcm").write_bytes(b"not DICOM")
    (source / "b.mp4").touch()
    (source / "c.avi").symlink_to("nowhere")
    write_object(source / "d", CINE.tobytes()[:500], CINE.shape, "RGB")
    (source / "e.dcm").write_bytes(bytes(128) + b"DICM")
    (source / "f.png").write_bytes(b"\x89NPG")
    records = prepare(source, tmp_path / "done", Options(), 0)
    assert [record.source for record in records if record.fault] == ["a.dcm", "b.mp4", "c.avi", "d", "e.dcm", "f.png"]


def test_an_image_object_cut_short_before_its_image_is_a_fault(source, tmp_path):
    whole = write_dicom(source / "a.dcm", CINE).read_bytes()
    (source / "a.dcm").write_bytes(whole[: whole.index(b"Doe^Jane")])
    (record,) = prepare(source, tmp_path / "done", Options(), 0)
    assert record.fault and not record.skipped


def test_a_folder_that_cannot_be_listed_is_a_fault(archive, tmp_path, monkeypatch):
    listed = os.scandir

    def scandir(folder):
        if str(folder).endswith("study.1"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    faults = [record.source for record in prepare(archive, tmp_path / "done", Options(), 0) if record.fault]
    assert faults == ["study.1"]


def test_nothing_but_other_files_is_said_with_their_number(source, tmp_path):
    (source / "notes.txt").write_text("a")
    with pytest.raises(UserError, match=r"holds no DICOM or video files among its 1 files \(SRC\)"):
        find_sources(source)


def test_results_within_the_source_are_not_searched(archive):
    for _ in range(2):
        records = prepare(archive, archive / "done", Options(), 0)
        assert {record.source for record in records} == VIDEOS


def test_prediction_finds_the_same_files(archive, junk):
    left_out: dict[str, str] = {}
    found = find_videos([archive], left_out)
    stills = {"still.dcm", "photo.JPG", "logo.gif"}  # one frame has an answer, too
    assert found == sorted(str(archive / name) for name in VIDEOS | stills)
    assert left_out == {str(archive / name): why for name, why in junk.items() if name not in stills}
    assert find_videos([archive / "ct.dcm"]) == [str(archive / "ct.dcm")]  # named by itself


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypisom", "video"),
        (b"\0\0\0\x20ftypheic", ""),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"RIFF\0\0\0\0WAVEfmt ", ""),
        (b"Google Compute Engine", ""),
        ((b"G" + bytes(187)) * 3, "video"),
        (b"BM are letters, too", ""),
        (b"\x08\0\x05\0are no elements of DICOM", ""),
        (b"", ""),
    ],
)
def test_first_bytes(head, kind):
    assert kind_of(head[:HEAD_BYTES]) == kind


def test_random_bytes_are_of_no_kind():
    random = np.random.default_rng(0)
    kinds = [kind_of(b"\x08\0" + random.bytes(HEAD_BYTES - 2)) for _ in range(2000)]
    assert kinds.count("") > 1995
