"""progress.png: what it shows, when it is drawn, and that it is nobody's business but a picture's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from echoviewclip.trainers import picture as module
from echoviewclip.trainers.picture import ProgressPicture, draw_progress, make_picture
from echoviewclip.utils.config import load_config
from tests.tiny_data import tiny, train

LINES = [
    {"step": 2, "epoch": 0, "train": {"loss": 3.0, "classes": 2.0, "lr": 0.1, "grad_norm": 9.0}},
    {"step": 4, "epoch": 0, "train": {"loss": 2.0, "classes": 1.5, "lr": 0.2, "bad_videos": 3}},
    {"step": 4, "epoch": 0, "val": {"top1": 0.5, "ece": 0.1}},
    {"step": 8, "epoch": 1, "val": {"top1": 0.75}},
    {"step": 12, "epoch": 2, "val": {"top1": 0.75}},
]


def test_curves_stand_at_their_epochs():
    loss, quality, rate = make_picture(LINES, "a $ title", "top1", steps_per_epoch=4, epochs=5).axes
    curves = {line.get_label(): line.get_xydata().tolist() for axes in (loss, quality, rate) for line in axes.lines}
    assert curves.pop("loss") == [[0.5, 3.0], [1.0, 2.0]]
    assert curves.pop("classes") == [[0.5, 2.0], [1.0, 1.5]]
    assert curves.pop("lr") == [[0.5, 0.1], [1.0, 0.2]]
    assert curves.pop("top1") == [[1.0, 0.5], [2.0, 0.75], [3.0, 0.75]]
    assert list(curves.values()) == [[[2.0, 0.75]]]  # the ring around the first of the best
    assert [text.get_text() for text in quality.texts] == ["best 0.7500, epoch 2"]
    assert all(axes.get_xlim() == (0, 5) for axes in (loss, quality, rate))


@pytest.mark.parametrize("content", ["", "no json\n[1]\n{}\n", json.dumps(LINES[2])])
def test_any_history_gives_a_picture(tmp_path, content):
    (tmp_path / "metrics.jsonl").write_text(content)
    draw_progress(tmp_path, "stage view", "top1", 4, 5)
    assert Image.open(tmp_path / "progress.png").size == (1200, 360)


def test_it_is_drawn_when_there_was_time_for_it_and_at_the_end(tiny_runs, monkeypatch):
    now, drawn = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "draw_progress", lambda *given: drawn.append(now[0]))
    picture = ProgressPicture(load_config(tiny_runs["view"] / "config.yaml"), 4)
    for now[0], last in ((1.0, False), (6.0, False), (9.0, False), (10.0, True)):
        picture.draw(1, "top1", last)
    assert drawn == [6.0, 10.0]
    monkeypatch.setattr(module, "is_main", lambda: False)
    picture.draw(1, "top1", last=True)
    assert len(drawn) == 2


def test_a_training_leaves_its_picture_and_an_evaluation_does_not(tiny_folder, tmp_path):
    run = train(tiny(tiny_folder, tmp_path / "run", TRAIN__EPOCHS=2, SAVE_FREQ=0))
    pixels = np.asarray(Image.open(run / "progress.png").convert("RGB")).astype(int)
    red = np.abs(pixels - (0xC2, 0x32, 0x5F)).sum(axis=2) < 30
    assert red[:, 440:900].sum() > 50 and not red[:, 900:].any()  # the figure on validation videos is the middle one
    evaluated = train(tiny(tiny_folder, run, MODEL__RESUME=str(run / "last.pth"), TEST__ONLY_TEST=True))
    assert (evaluated / "metrics.json").is_file() and not (evaluated / "progress.png").exists()
