"""A validation list that no figure can come from is one line that says so, not nan and exit code 0."""

from __future__ import annotations

import shutil

import pytest

from echoviewclip.utils.errors import UserError
from tests.tiny_data import VALIDATION, tiny, train


@pytest.fixture
def blank(tiny_folder, tmp_path):
    """A list of the validation videos without labels."""
    file = tmp_path / "blank.csv"
    names = [line.rsplit(" ", 1)[0] for line in (tiny_folder / "val.txt").read_text().splitlines()]
    file.write_text("path,quality,score\n" + "".join(f"{name},,\n" for name in names))
    return file


@pytest.mark.parametrize("stage", ["view", "negation", "quality"])
def test_a_validation_list_without_labels_stops_before_training(tiny_folder, tiny_runs, tmp_path, blank, stage):
    before = {"negation": "view", "quality": "negation"}.get(stage)
    resume = {"MODEL__RESUME": str(tiny_runs[before] / "last.pth")} if before else {}
    with pytest.raises(UserError) as caught:
        train(tiny(tiny_folder, tmp_path / "run", stage, DATA__VAL_FILE=str(blank), **resume))
    what = "grade or score" if stage == "quality" else "label"
    assert str(caught.value) == (
        f"{blank}: none of its {VALIDATION} videos has a {what}, so there is nothing to validate on; "
        "give them one, or name another list (DATA.VAL_FILE)"
    )
    assert not (tmp_path / "run" / "last.pth").exists() and not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_quality_list_may_have_scores_alone(tiny_folder, tiny_runs, tmp_path):
    lists = {"DATA__TRAIN_FILE": "score_train.txt", "DATA__VAL_FILE": "score_val.txt", "DATA__QUALITY_TARGET": "score"}
    train(tiny(tiny_folder, tmp_path, "quality", **lists, MODEL__RESUME=str(tiny_runs["negation"] / "last.pth")))
    assert (tmp_path / "best.pth").is_file()


@pytest.fixture
def unreadable(tiny_folder, tmp_path):
    """A folder of data whose labelled validation videos are damaged; one outsider in the list is not."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    for line in (folder / "val.txt").read_text().splitlines():
        (folder / "videos" / line.rsplit(" ", 1)[0]).write_bytes(b"no video")
    with (folder / "val.txt").open("a") as file:
        file.write("near 0.avi\n")
    return folder


@pytest.mark.parametrize("training", [True, False])
def test_an_evaluation_without_a_readable_video_is_one_line(unreadable, tiny_runs, tmp_path, training):
    test = {} if training else {"TEST__ONLY_TEST": True, "MODEL__RESUME": str(tiny_runs["view"] / "last.pth")}
    with pytest.raises(UserError) as caught:
        train(tiny(unreadable, tmp_path / "run", **test))
    assert str(caught.value) == (
        f"{unreadable}/val.txt: none of the {VALIDATION} videos to evaluate on could be read (the log says why); "
        "correct DATA.ROOT or the list DATA.VAL_FILE: tools/check_data.py checks them"
    )
    assert not list((tmp_path / "run").rglob("metrics.json"))
    assert (tmp_path / "run" / "last.pth").exists() == training  # the trained weights are kept
