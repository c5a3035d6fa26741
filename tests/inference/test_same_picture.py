"""Prediction sees raw videos as training saw prepared ones, and every difference is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

import echoviewclip
from echoviewclip.datasets.intake.preparation import VERSION, Preparation, preparation_of
from echoviewclip.datasets.intake.prepare import prepare
from echoviewclip.datasets.intake.records import Options
from echoviewclip.evaluation.calibration import at_temperature
from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.predict import main
from echoviewclip.utils.checkpoint import load_checkpoint, save_checkpoint
from echoviewclip.utils.errors import UserError
from tests.datasets.intake.hospital import manifest, sector, speckle, write_dicom
from tests.inference.predicted import changed, read
from tests.tiny_data import DEVICE, VIEWS, configure, tiny_options, train

TRAINING, VALIDATION = 6, 3
SAYS = {"size": 64, "crop": True, "jpeg_quality": 3, "version": VERSION}


def write_recordings(folder: Path) -> None:
    """Small screens with writing beside the sector; brightness tells the class; some state no rate."""
    for number in range(TRAINING + VALIDATION):
        inside = sector(120, 160, top=12)
        grain = speckle(9, 120, 160, seed=number) * (0.4 + 0.15 * (number % 4))
        frames = np.where(inside, grain, 0).astype(np.uint8)[..., None].repeat(3, -1)
        frames[:, 4:9, 4:40] = 230
        rate = {"FrameTime": None} if number % 2 else {}
        write_dicom(folder / f"{number}.dcm", frames, HeartRate=str(60 + number), **rate)


def write_lists(folder: Path) -> None:
    rows = [f"{number}.avi {number % 4}\n" for number in range(TRAINING + VALIDATION)]
    for stage in ("", "quality_"):
        (folder / f"{stage}train.txt").write_text("".join(rows[:TRAINING]))
        (folder / f"{stage}val.txt").write_text("".join(rows[TRAINING:]))
    (folder / "labels.csv").write_text("id,name\n" + "".join(f"{k},{name}\n" for k, name in enumerate(VIEWS)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`raw` recordings, prepared as `data` and otherwise as `other`, and a stage `view` trained on `data`."""
    root = tmp_path_factory.mktemp("same")
    write_recordings(root / "raw")
    for name, options in (
        ("data", Options(64, keep_names=True, crop=True)),
        ("other", Options(48, keep_names=True, crop=False)),
    ):
        prepare(root / "raw", root / name, options, 0)
        write_lists(root / name)
    train(settings(root, root / "view"))
    return root


def settings(root: Path, output: Path, data: str = "data", stage: str = "view", **changes):
    """A tiny training on prepared videos that samples by seconds, so that frame rates count."""
    changes = {"TRAIN__OPT_LEVEL": "O0", "DATA__SAMPLING": "stride", "TEST__SCORE": "msp", **changes}
    options = tiny_options(root / data, output, stage, **changes)
    return configure(f"configs/ultracls/{stage}.yaml", [*options, ("DATA.OOD_FILE", "")])


@pytest.fixture
def answers(root, tmp_path, caplog):
    """Answers of predict.py about videos by their number, and what it says beside."""

    def answers(paths, *arguments, resume=root / "view/last.pth"):
        caplog.clear()
        arguments = ["--workers", "0", "--device", DEVICE, *arguments]
        main([*map(str, paths), "--resume", str(resume), "--output", str(tmp_path / "out"), *arguments])
        return {int(Path(row.pop("file")).stem): row for row in read(tmp_path / "out")}, caplog.messages

    return answers


def videos(folder: Path, suffix: str) -> list[Path]:
    return [folder / f"{number}.{suffix}" for number in range(TRAINING, TRAINING + VALIDATION)]


def numbers(rows: dict[int, dict]) -> dict[int, dict]:
    return {k: {name: value for name, value in row.items() if name != "warnings"} for k, row in rows.items()}


def test_a_raw_video_gets_the_answer_that_its_prepared_file_gets_in_the_evaluation(root, tmp_path, answers):
    test = train(settings(root, tmp_path, MODEL__RESUME=str(root / "view/last.pth"), TEST__ONLY_TEST=True))
    expected = read_predictions(test / "predictions.csv")
    raw, said = answers(videos(root / "raw", "dcm"), "--batch-size", "2", "--workers", "2")
    assert said == []
    prepared, said = answers(videos(root / "data/videos", "avi"), "--batch-size", "2")
    assert said == []
    assert numbers(raw) == numbers(prepared)  # to the last digit
    temperature = load_checkpoint(root / "view/last.pth")["calibration"]["temperature"]
    probabilities = at_temperature(expected.probabilities, temperature)
    for name, chances, frames in zip(expected.path, probabilities, expected.frames, strict=True):
        row = raw[int(Path(name).stem)]
        assert row["view"] == VIEWS[chances.argmax()] and row["frame"] in frames
        assert row["probability"] == pytest.approx(chances.max(), rel=1e-5)
    kept = {int(row["name"].removesuffix(".avi")): row["warnings"] or None for row in manifest(root / "data")}
    assert {number: row["warnings"] for number, row in raw.items()} == {number: kept[number] for number in raw}
    assert any(row["warnings"] for row in raw.values())


def test_frames_in_memory_are_prepared_as_their_file_is(root):
    """As pydicom, not this program, decodes them."""
    model = echoviewclip.load(root / "view/last.pth", "cpu")
    for file in videos(root / "raw", "dcm"):
        source = pydicom.dcmread(file)
        assert source.PhotometricInterpretation == "RGB"
        milliseconds = source.get("FrameTime")  # not in all of them
        (array,) = model.predict(source.pixel_array, fps=1000 / float(milliseconds) if milliseconds else None)
        (expected,) = model.predict(file)
        assert vars(array) | {"file": "", "warnings": ""} == vars(expected) | {"file": "", "warnings": ""}


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (3, 1, 400, 3), (2, 64, 64, 3), (1, 300, 200, 3)])
def test_frames_in_memory_of_any_size_get_a_row(root, shape):
    """One that cannot be prepared is named in its own row, beside the others."""
    model = echoviewclip.load(root / "view/last.pth", "cpu")
    odd, file = np.full(shape, 7, np.uint8), videos(root / "raw", "dcm")[0]
    rows = model.predict([odd, file, np.zeros(shape, np.uint8)])
    assert [row.file for row in rows] == ["array 0", str(file), "array 1"]
    assert rows[1].view is not None and all((row.view is None) == (row.error is not None) for row in rows)


def test_as_is_leaves_preparing_out_and_says_so(root, answers):
    raw, _ = answers(videos(root / "raw", "dcm"))
    as_is, (said,) = answers(videos(root / "raw", "dcm"), "--as-is")
    assert numbers(as_is) != numbers(raw)
    assert said == (
        "3 of 3 videos were not prepared, the training videos were prepared with size 64, crop True, jpeg_quality 3, "
        f"version {VERSION}"
    )


def test_videos_prepared_otherwise_are_read_as_they_are_and_named(root, answers):
    raw, prepared = videos(root / "raw", "dcm")[:1], videos(root / "other/videos", "avi")[1:]
    both, (said,) = answers([*raw, *prepared])
    assert (
        said == "2 of 3 videos were prepared otherwise than the training videos: size 48, not 64; crop False, not True"
    )
    assert numbers(answers(raw)[0])[6] == numbers(both)[6]
    assert numbers(answers(prepared, "--as-is")[0]) == {k: row for k, row in numbers(both).items() if k > 6}


def test_another_version_of_preparing_is_named(root, tmp_path, answers):
    resume = changed(root / "view/last.pth", tmp_path / "a.pth", preparation=SAYS | {"version": 99})
    _, said = answers(videos(root / "raw", "dcm"), resume=resume)
    assert said == [
        "the training videos were prepared by version 99 of preparing, and this program has "
        f"version {VERSION}, which may give other pixels"
    ]
    _, said = answers(videos(root / "data/videos", "avi"), resume=resume)
    assert said == [f"3 of 3 videos were prepared otherwise than the training videos: version {VERSION}, not 99"]


@pytest.mark.parametrize("note", [None, {}], ids=["earlier checkpoint", "trained on raw videos"])
def test_a_checkpoint_without_a_note_answers_videos_as_they_are(root, tmp_path, answers, note):
    content = load_checkpoint(root / "view/last.pth")
    del content["preparation"], content["format"]
    save_checkpoint(tmp_path / "a.pth", content if note is None else content | {"preparation": note})
    raw, said = answers(videos(root / "raw", "dcm"), resume=tmp_path / "a.pth")
    assert said == [] and numbers(raw) == numbers(answers(videos(root / "raw", "dcm"), "--as-is")[0])
    _, (said,) = answers([*videos(root / "raw", "dcm")[:2], root / "data/videos/8.avi"], resume=tmp_path / "a.pth")
    assert said == (
        f"1 of 3 videos were prepared with size 64, crop True, jpeg_quality 3, version {VERSION}, and the checkpoint "
        "does not say that its training videos were"
    )
    _, said = answers(videos(root / "raw", "dcm"), "--as-is", resume=tmp_path / "a.pth")
    assert said == ["--as-is changes nothing: the checkpoint does not say that its training videos were prepared"]


def test_a_video_that_preparing_rejects_has_the_reason_in_place_of_an_answer(root, tmp_path, answers):
    data = (root / "raw/6.dcm").read_bytes()
    (tmp_path / "6.dcm").write_bytes(data[:-1000])
    prepare(tmp_path / "6.dcm", tmp_path / "done", Options(), 0)
    rows, _ = answers([tmp_path / "6.dcm", root / "raw/7.dcm"])
    assert rows[6]["error"] and rows[6]["view"] is None and rows[7]["view"]


# ── Training and evaluation ───────────────────────────────────────────────────────────────────────────────────────────


def logged(output: Path) -> list[str]:
    """Warnings of preparing in the log of a run, without the time."""
    lines = next(iter(output.rglob("log.txt"))).read_text().splitlines()
    return [line.split(" W ", 1)[1] for line in lines if " W " in line and "prepared" in line]


def test_a_checkpoint_keeps_how_its_training_videos_were_prepared(root):
    assert load_checkpoint(root / "view/last.pth")["preparation"] == SAYS
    assert load_predictor(root / "view/last.pth").preparation == Preparation(64, crop=True)
    assert preparation_of(root / "data/videos/0.avi") == Preparation(64, crop=True)
    assert logged(root / "view") == []


def test_an_evaluation_of_videos_prepared_otherwise_says_so(root, tmp_path):
    resume = {"MODEL__RESUME": str(root / "view/last.pth"), "TEST__ONLY_TEST": True}
    train(settings(root, tmp_path, "other", **resume))
    wrong = "3 of 3 videos were prepared otherwise than the training videos: size 48, not 64; crop False, not True"
    assert logged(tmp_path) == [f"{root}/other/val.txt: {wrong}"]


def test_a_later_stage_keeps_its_own_note_and_says_where_it_differs(root, tmp_path):
    earlier = root / "view/last.pth"
    train(settings(root, tmp_path, "other", "negation", MODEL__RESUME=str(earlier)))
    assert load_checkpoint(tmp_path / "last.pth")["preparation"] == SAYS | {"size": 48, "crop": False}
    wrong = (
        "its training videos were prepared otherwise than the training videos: size 64, not 48; crop True, not False"
    )
    assert logged(tmp_path) == [f"{earlier}: {wrong}"]


def test_lists_that_mix_preparations_are_named_and_most_videos_count(root, tmp_path):
    for folder in ("data", "other"):
        shutil.copytree(root / folder, tmp_path / "all" / folder)
    shutil.copytree(root / "raw", tmp_path / "all/raw")
    kinds = ["data/videos/{}.avi"] * 3 + ["other/videos/{}.avi"] * 2 + ["raw/{}.dcm"]
    rows = [f"{kind.format(k)} {k % 4}\n" for k, kind in enumerate(kinds)]
    write_lists(tmp_path / "all")
    (tmp_path / "all/train.txt").write_text("".join(rows))
    (tmp_path / "all/val.txt").write_text("raw/6.dcm 2\n")
    train(settings(tmp_path, tmp_path / "run", "all"))
    assert load_checkpoint(tmp_path / "run/last.pth")["preparation"] == SAYS
    file, most = tmp_path / "all/train.txt", "most training videos"
    known = f"{most} were prepared with size 64, crop True, jpeg_quality 3, version {VERSION}"
    assert logged(tmp_path / "run") == [
        f"{file}: 2 of 6 videos were prepared otherwise than {most}: size 48, not 64; crop False, not True",
        f"{file}: 1 of 6 videos were not prepared, {known}",
        f"{tmp_path}/all/val.txt: 1 of 1 videos were not prepared, {known}",
    ]


def test_a_damaged_note_ends_a_training_in_one_line(root, tmp_path):
    shutil.copytree(root / "data", tmp_path / "data")
    (tmp_path / "data/prepared.json").write_text("{}")
    with pytest.raises(UserError, match=r"data/prepared.json: damaged"):
        train(settings(tmp_path, tmp_path / "run"))
