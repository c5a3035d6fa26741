"""From a data folder to the files of three stages: what is found, what is chosen, and that they load as they are."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.experiment.choices import choose, choose_arch
from echoviewclip.experiment.fingerprint import Fingerprint, Machine, look_at
from echoviewclip.experiment.stage_files import read_head, write_stage_files
from echoviewclip.experiment.words import describe
from echoviewclip.tools import new
from echoviewclip.utils.config import given_keys, load_config, without_effect
from echoviewclip.utils.errors import UserError, exit_code
from tests.tiny_data import TRAINING, VALIDATION, VIEWS

CPU = Machine("CPU", 16.0, 0, 4)
GPU = Machine("NVIDIA A5000", 24.0, 1, 16)
LISTED = "path,label,patient,quality,score\n"


@pytest.fixture
def found(tiny_folder):
    return look_at(tiny_folder, CPU)


def hospital(machine: Machine, **changes) -> Fingerprint:
    """2,000 videos of 300 patients as a hospital has them."""
    rng = np.random.default_rng(0)
    sets = {"train": 1600, "val": 200, "test": 200}
    found = Fingerprint(
        Path("data/echo"),
        machine,
        lists={name: Path(f"data/echo/{name}.csv") for name in sets},
        videos=sets,
        patients={"train": 240, "val": 30, "test": 30},
        views={f"view {k}": 100 - 8 * k for k in range(12)},
        frames=rng.integers(30, 120, 1600),
        rates=rng.uniform(25, 60, 1600),
        widths=np.full(1600, 340),
        heights=np.full(1600, 256),
    )
    return replace(found, **changes)


def chosen(found: Fingerprint, arch: str = "ViT-B/16", stage: str = "view") -> dict[str, object]:
    return {choice.key: choice.value for choice in choose(found, arch, "output/x")[stage]}


def test_a_folder_is_looked_at(found, tiny_folder):
    assert found.videos == {
        "train": TRAINING,
        "val": VALIDATION,
        "quality_train": TRAINING,
        "quality_val": VALIDATION,
    }
    assert found.label_list == tiny_folder / "labels.csv"
    assert found.views == dict(zip(VIEWS, (3, 2, 2, 2), strict=True))
    assert list(found.grades.values()) == [3, 3, 3] and not found.scored
    assert [path.name for path in found.outsiders] == ["ood_far.txt", "ood_near.txt"]
    assert (found.frames == 6).all() and (found.widths == 64).all() and len(found.frames) == TRAINING
    assert found.seconds == pytest.approx(0.2)


def test_videos_in_shards_are_read_front_to_back(tmp_path):
    for name, lines in (("train", "0.tar/a.avi,0,p,,\n1.tar/b.avi,1,q,,\n"), ("val", "2.tar/c.avi,1,r,,\n")):
        (tmp_path / f"{name}.csv").write_text(LISTED + lines)
    (tmp_path / "manifest.csv").write_text(
        "name,frames,fps,width,height,modality\n0.tar/a.avi,30,25,320,240,2d\n1.tar/b.avi,90,,320,240,color\n"
    )
    found = look_at(tmp_path, CPU)
    assert found.shards == 2 and chosen(found)["DATA.SHUFFLE_BUFFER"] == 1000
    assert "DATA.SHUFFLE_BUFFER" not in chosen(hospital(CPU))


def test_a_manifest_is_read_in_place_of_the_videos(tmp_path):
    (tmp_path / "train.csv").write_text(LISTED + "a.avi,0,p,,\nb.avi,1,q,,\n")
    (tmp_path / "val.csv").write_text(LISTED + "c.avi,1,r,,\n")
    (tmp_path / "manifest.csv").write_text(
        "name,frames,fps,width,height,modality\na.avi,30,25,320,240,2d\nb.avi,90,,320,240,color\nc.avi,9,9,9,9,pw\n"
    )
    found = look_at(tmp_path, CPU)
    assert found.frames.tolist() == [30, 90] and found.seconds == pytest.approx(1.2)
    assert found.kinds == {"2d": 1, "color": 1}
    assert found.patients == {"train": 2, "val": 1}
    assert "quality" not in choose(found, "tiny", "output/x")


@pytest.mark.parametrize(
    ("rows", "graded", "scored"),
    [("a.avi,0,p,good,\n", True, False), ("a.avi,0,p,,0.5\n", True, True), ("a.avi,0,p,,\n", False, False)],
)
def test_lists_of_views_that_have_grades_serve_stage_3(tmp_path, rows, graded, scored):
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(LISTED + rows)
    (tmp_path / "manifest.csv").write_text("name,frames,fps,width,height,modality\na.avi,30,25,320,240,2d\n")
    found = look_at(tmp_path, CPU)
    assert found.scored == scored
    stages = choose(found, "tiny", "output/x")
    assert ("quality" in stages) == graded
    if graded:
        quality = {choice.key: choice.value for choice in stages["quality"]}
        assert quality["DATA.TRAIN_FILE"] == "train.csv"
        assert quality.get("DATA.QUALITY_TARGET") == ("score" if scored else None)


@pytest.mark.parametrize("arch", ["tiny", "ViT-B/16", "ViT-L/14@336px"])
def test_the_files_load_and_say_what_was_chosen(found, tmp_path, arch):
    stages = choose(found, arch, str(tmp_path / "output"))
    files = write_stage_files(tmp_path / "mine", stages, describe(found))
    for file, (stage, choices) in zip(files, stages.items(), strict=True):
        config = load_config(file)
        assert stage == config.STAGE == file.stem
        assert without_effect(config, given_keys(file, ())) == []
        for choice in choices:
            node = config
            for part in choice.key.split("."):
                node = node[part]
            assert node == choice.value, choice.key
    negation, quality = load_config(files[1]), load_config(files[2])
    assert negation.DATA.OOD_FILE == "ood_far.txt,ood_near.txt" and negation.DATA.TRAIN_FILE == "train.txt"
    assert quality.DATA.TRAIN_FILE == "quality_train.txt" and len(VIEWS) == quality.DATA.NUM_CLASSES
    assert read_head(files[0]) == describe(found)
    assert max(len(line) for file in files for line in file.read_text().splitlines()) <= 160
    with pytest.raises(UserError, match=r"view.yaml: is there already, perhaps with edits"):
        write_stage_files(tmp_path / "mine", stages, [])


def test_the_model_follows_from_the_machine():
    assert choose_arch(hospital(CPU)) == "tiny"
    assert choose_arch(hospital(GPU)) == "ViT-B/16"
    assert choose_arch(hospital(replace(GPU, memory=4.0))) == "tiny"


def test_the_batch_follows_from_the_memory_and_a_step_stays_as_published():
    batches = []
    for memory in (8, 12, 24, 80):
        view = chosen(hospital(replace(GPU, memory=float(memory))))
        batches.append(view["TRAIN.BATCH_SIZE"])
        assert view["TRAIN.BATCH_SIZE"] * view["TRAIN.ACCUMULATION_STEPS"] == 64
        assert view["TRAIN.LR"] == 2.2e-5
    assert batches == sorted(batches) and batches[0] < batches[-1] == 16
    large = chosen(hospital(replace(GPU, memory=10.0)), "ViT-L/14")
    assert large["TRAIN.USE_CHECKPOINT"] and large["TRAIN.BATCH_SIZE"] >= 1
    four = chosen(hospital(replace(GPU, accelerators=4)))
    assert four["TRAIN.BATCH_SIZE"] * four["TRAIN.ACCUMULATION_STEPS"] * 4 == 64


def test_few_videos_get_smaller_steps_and_more_epochs():
    few = hospital(GPU, videos={"train": 160, "val": 20, "test": 20})
    small, large = chosen(few), chosen(hospital(GPU))
    assert small["TRAIN.BATCH_SIZE"] * small["TRAIN.ACCUMULATION_STEPS"] < 64
    assert small["TRAIN.LR"] < large["TRAIN.LR"] and small["TRAIN.EPOCHS"] > large["TRAIN.EPOCHS"]


def test_long_videos_are_not_spread_over():
    assert chosen(hospital(GPU))["DATA.SAMPLING"] == "uniform"
    long = hospital(GPU, frames=np.full(100, 600), rates=np.full(100, 30.0))
    assert chosen(long)["DATA.SAMPLING"] == "stride"
    unknown = hospital(GPU, frames=np.full(100, 600), rates=np.full(100, np.nan))
    assert chosen(unknown)["DATA.SAMPLING"] == "uniform"


def test_few_cores_leave_the_resizing_to_the_device():
    assert chosen(hospital(replace(GPU, cores=4)))["DATA.RESIZE"] == "device"
    assert "DATA.RESIZE" not in chosen(hospital(GPU))


def test_the_command_plans_and_says_what_is_next(tiny_folder, tmp_path, monkeypatch, capsys):
    arguments = ["new.py", str(tiny_folder), "--output", str(tmp_path / "mine"), "--arch", "tiny"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert exit_code(new.main) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "train 9 videos of unknown patients, val 7 videos of unknown patients"
    assert shown[-1] == f"next: python tools/run.py {tmp_path}/mine"
    assert load_config(tmp_path / "mine/quality.yaml").MODEL.RESUME == "output/mine/negation/best.pth"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone: no such folder (DATA)"),
        (["."], "holds no train.csv or train.txt; tools/prepare.py --labels-from writes them"),
        ([".", "--arch", "resnet"], "--arch must be one of tiny, ViT-B/32"),
        ([".", "--label-list", "gone.csv"], "gone.csv: no such label list"),
    ],
)
def test_mistakes_are_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["new.py", *arguments])
    assert exit_code(new.main) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
