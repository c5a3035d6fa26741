"""DICOM structured reports: written, and read again by highdicom and pydicom."""

from __future__ import annotations

import hashlib
import logging
import stat
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.sr.codedict import codes

from echoviewclip import __version__
from echoviewclip.datasets.video.dicom.reader import DicomVideo
from echoviewclip.inference.prediction import Prediction
from echoviewclip.study import structured_reports
from echoviewclip.study.structured_reports import StructuredReports, checkpoint_hash
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.yaml_text import read_yaml_file
from tests.dicom_objects import CINE, write_object
from tests.media import write_video

highdicom = pytest.importorskip("highdicom", reason="requirements-sr.txt is not installed")
from echoviewclip.study.codes import SCHEME, private  # noqa: E402  (needs highdicom)

NAME = "Müller^Änne"
PATIENT = {"PatientID": "P-77", "PatientName": NAME, "SpecificCharacterSet": "ISO_IR 100", "AccessionNumber": "ACC-9"}
ACCEPTED = {"decision": "accepted", "score": 1.5, "tau": 1.25, "score_name": "msp"}
REJECTED = ACCEPTED | {"decision": "rejected", "score": 0.5}
GOOD = {"quality": "good", "quality_probability": 0.8, "quality_score": 0.75}


def recorded(file, study="1.2.3", **elements):
    """A cine of a study, and its path."""
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": uid.generate_uid()}
    return str(write_object(file, CINE.tobytes(), CINE.shape, "RGB", Modality="US", **PATIENT | uids | elements))


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "best.pth").write_bytes(b"weights")
    return tmp_path / "best.pth"


def written(folder, rows, checkpoint):
    return StructuredReports(folder, [row.file for row in rows], checkpoint).write(rows)


def concept(item):
    """A code as (value, scheme)."""
    return item[0x0008_0100].value, item.CodingSchemeDesignator


def contents(group):
    """What a group says: codes and numbers by the meaning of their names, and the images that it refers to."""
    said, images = {}, []
    for item in group.ContentSequence:
        name = item.ConceptNameCodeSequence[0]
        if item.ValueType == "CODE":
            said.setdefault(name.CodeMeaning, []).append(concept(item.ConceptCodeSequence[0]))
        elif item.ValueType == "NUM":
            value = item.MeasuredValueSequence[0]
            said[name.CodeMeaning] = float(value.NumericValue), value.MeasurementUnitsCodeSequence[0].CodeValue
        elif item.ValueType == "IMAGE":
            assert concept(name) == ("121112", "DCM")  # Source of Measurement
            reference = item.ReferencedSOPSequence[0]
            images.append((reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID))
    return said, images


def test_answers_come_back_with_their_references_codes_and_numbers(tmp_path, checkpoint):
    files = [recorded(tmp_path / f"{number}.dcm") for number in range(3)]
    rows = [
        Prediction(files[0], "Apical 4C MV PW", 0.9, **ACCEPTED, **GOOD),
        Prediction(files[1], "Apical 5C AV CW", 0.7, **ACCEPTED),
        Prediction(files[2], "Apical 2C 2D", 0.4, **REJECTED),
    ]
    done = written(tmp_path / "sr", rows, checkpoint)
    assert done.files == [tmp_path / "sr" / "001.dcm"] and done.without == {}
    report = highdicom.sr.srread(done.files[0])
    headers = [pydicom.dcmread(file) for file in files]
    groups = report.content.get_image_measurement_groups()
    found = [contents(group[0]) for group in groups]

    assert [images for _, images in found] == [[(one.SOPClassUID, one.SOPInstanceUID)] for one in headers]
    listed = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert listed.StudyInstanceUID == "1.2.3"
    instances = [item for series in listed.ReferencedSeriesSequence for item in series.ReferencedSOPSequence]
    assert {item.ReferencedSOPInstanceUID for item in instances} == {one.SOPInstanceUID for one in headers}

    first, second, third = (said for said, _ in found)
    assert first["Image View"] == [("399214001", "SCT")] and first["Image mode (observable entity)"] == [
        ("261199008", "SCT")
    ]
    assert first["View by the label list"] == [concept(private("view", "Apical 4C MV PW"))]
    assert first["Certainty of Finding"] == (90, "%") and first["Image Quality Rating"] == (75, "1")
    assert first["Score that decides: msp"] == (1.5, "1") and first["Least score that is accepted"] == (1.25, "1")
    assert first["Shows a known view"] == [concept(private("answer", "accepted"))]
    assert first["Image Quality"] == [concept(private("grade", "good"))]
    # A view without a standard code is named by a private one, and no grade is said where none was given.
    assert second["Image View"] == second["View by the label list"] == [concept(private("view", "Apical 5C AV CW"))]
    assert "Image Quality" not in second and "Image Quality Rating" not in second
    # A rejected video is not said to show a view.
    assert "Image View" not in third and third["Most similar view"] == [concept(private("view", "Apical 2C 2D"))]
    assert third["Shows a known view"] == [concept(private("answer", "rejected"))]


def test_it_says_who_answered_and_that_it_is_not_for_diagnosis(tmp_path, checkpoint):
    row = Prediction(recorded(tmp_path / "a.dcm"), "Apical 4C 2D", 0.9)
    (file,) = written(tmp_path / "sr", [row], checkpoint).files
    report = pydicom.dcmread(file)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert (report.ContentQualification, report.VerificationFlag) == ("RESEARCH", "UNVERIFIED")
    assert (report.PreliminaryFlag, report.CompletionFlag) == ("PRELIMINARY", "PARTIAL")
    assert "not for diagnosis" in report.SeriesDescription
    texts = {item.ConceptNameCodeSequence[0].CodeMeaning: item for item in report.ContentSequence}
    assert "Not for diagnosis" in texts["Comment"].TextValue
    assert texts["Observer Type"].ConceptCodeSequence[0].CodeMeaning == "Device"
    assert texts["Device Observer Name"].TextValue == "EchoViewCLIP"
    assert texts["Device Observer Model Name"].TextValue == f"EchoViewCLIP {__version__}"
    assert texts["Device Observer Serial Number"].TextValue == report.DeviceSerialNumber == digest
    assert f"2.25.{int(digest[:32], 16)}" == texts["Device Observer UID"].UID
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert [item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence] == [SCHEME]


def test_each_study_of_each_patient_has_a_file_of_its_own_for_its_owner_alone(tmp_path, checkpoint):
    files = [
        recorded(tmp_path / "a.dcm", "1.2.3"),
        recorded(tmp_path / "b.dcm", "1.2.4", PatientID="P-78", PatientName="Yamada^Tarou", PatientSex="M"),
        recorded(tmp_path / "c.dcm", "1.2.3"),
    ]
    done = written(tmp_path / "sr", [Prediction(file, "Apical 4C 2D", 0.9) for file in files], checkpoint)
    assert [file.name for file in done.files] == ["001.dcm", "002.dcm"]
    assert done.summary() == f"2 structured reports, with the names of patients: {done.files[0]} to 002.dcm\n"
    reports = [pydicom.dcmread(file) for file in done.files]
    assert [str(report.PatientName) for report in reports] == [NAME, "Yamada^Tarou"]
    assert [report.PatientID for report in reports] == ["P-77", "P-78"]
    assert [report.AccessionNumber for report in reports] == ["ACC-9", "ACC-9"]
    assert [report.StudyInstanceUID for report in reports] == ["1.2.3", "1.2.4"]
    assert [len(highdicom.sr.srread(file).content.get_image_measurement_groups()) for file in done.files] == [2, 1]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in done.files)


def test_what_headers_lack_or_hold_wrongly_is_counted_and_quoted_nowhere(tmp_path, checkpoint, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "Secret^Name=x=y=z=w"
    files = [
        recorded(tmp_path / "a.dcm", "1.2.3", PatientName=secret, PatientBirthDate="yesterday"),
        str(write_object(tmp_path / "b.dcm", CINE.tobytes(), CINE.shape, "RGB", PatientName=secret)),
        recorded(tmp_path / "c.dcm", "1.2.5", PatientName=secret, without=("PatientID",)),
        recorded(tmp_path / "d.dcm", "1.2.6"),
    ]
    rows = [Prediction(file, "Apical 4C 2D", 0.9) for file in files[:3]] + [Prediction(files[3], error="is damaged")]
    done = written(tmp_path / "sr", rows, checkpoint)
    assert done.without == {
        "have no answer": 1,
        "do not say which study they are of": 1,
        "have headers that are not as DICOM wants them": 1,
    }
    assert len(done.files) == 1 and pydicom.dcmread(done.files[0]).StudyInstanceUID == "1.2.5"
    assert [file.name for file in (tmp_path / "sr").iterdir()] == ["001.dcm"]
    said = capsys.readouterr()
    assert "Secret" not in said.out + said.err + caplog.text + done.summary() and "yesterday" not in caplog.text


def test_what_is_not_dicom_a_used_folder_and_a_missing_library_are_refused(tmp_path, checkpoint, monkeypatch):
    dicom = recorded(tmp_path / "a.dcm")
    films = [str(tmp_path / name) for name in ("b.avi", "c.avi")]
    for film in films:
        write_video(Path(film), np.zeros((3, 16, 16, 3), np.uint8))
    with pytest.raises(UserError) as refused:
        StructuredReports(tmp_path / "sr", [dicom, *films], checkpoint)
    assert (
        str(refused.value) == f"--sr is for DICOM studies, and {films[0]} and 1 more is no DICOM object: leave that out"
    )
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "001.dcm").touch()
    with pytest.raises(
        UserError, match="used: name a new or empty folder, so that reports of other studies stay apart"
    ):
        StructuredReports(tmp_path / "used", [dicom], checkpoint)
    monkeypatch.setattr(structured_reports, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"--sr needs highdicom, which is not installed: pip install -r requirements-sr"
    ):
        StructuredReports(tmp_path / "sr", [dicom], checkpoint)


def test_the_codes_are_those_of_the_standard_and_private_ones_follow_from_their_names():
    lists = ("ultracls", "ev9v", "tmed2", "echonet_pediatric")
    names = {name for one in lists for name in read_names(f"labels/{one}.csv")}
    planes, modes = dir(codes.cid12226), dir(codes.cid12224)
    table = read_yaml_file(Path("labels/dicom.yaml"))
    for view, (plane, *recorded_in) in table.items():
        assert view in names and plane in planes and set(recorded_in) <= set(modes), view
    own = [private("view", name) for name in read_names("labels/ultracls.csv")]
    assert len({code.value for code in own}) == 38 and all(len(code.value) <= 16 for code in own)
    assert private("view", "A") == private("view", "A") and len(private("view", 100 * "x").meaning) == 64


def test_a_checkpoint_is_known_by_its_hash_as_a_file_and_as_a_folder(tmp_path, checkpoint):
    assert checkpoint_hash(checkpoint) == hashlib.sha256(b"weights").hexdigest()
    folder = tmp_path / "exported"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / name).write_text(name)
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in "ab")
    assert checkpoint_hash(folder) == hashlib.sha256(lines.encode()).hexdigest()


def test_a_report_refers_to_what_was_read(tmp_path):
    file = recorded(tmp_path / "a.dcm")
    with DicomVideo(file) as video:
        header = structured_reports.read_header(file)
        assert header.SOPInstanceUID == video.dataset.SOPInstanceUID and "PixelData" not in header
