"""Recordings of the phantom on wide screens."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from echoviewclip.datasets.video.open import open_video
from echoviewclip.phantom.study.screen import on_screen
from echoviewclip.phantom.study.study import Job, make, shoot
from echoviewclip.tools import phantom
from echoviewclip.utils.errors import UserError


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("screens")
    view = "Apical 4C MV Annulus TDI PW"
    return Job(root, 3, 0, 1, "a.dcm", view, "archive", 96, 2, folder=".", screen=True)


def test_a_recording_lies_whole_on_a_wide_screen(job):
    frames, shot = shoot(job)
    screens = [on_screen(frames, shot.patient.machine.style, np.random.default_rng(seed)) for seed in range(20)]
    for screen, left, top in screens:
        height, width = screen.shape[1:3]
        assert width / height > 1.3 and height % 2 == width % 2 == 0 and 96 / height >= 0.59
        assert (screen[:, top : top + 96, left : left + 96] == frames).all()
        assert screen[0, :, :left].any() or screen[0, :, left + 96 :].any()  # settings
    assert len({screen.shape for screen, *_ in screens}) > 10
    assert any(abs(left + 48 - screen.shape[2] / 2) > 10 for screen, left, _ in screens)


def test_regions_lie_where_the_image_does(job):
    make(job)
    frames, shot = shoot(job)
    with open_video(job.root / "a.dcm") as video:
        sector, strip = video.regions
        left, top = sector.left - shot.regions()[0]["box"][0], sector.top - shot.regions()[0]["box"][1]
        assert video.width > 96 and (strip.left - left, strip.top - top) == shot.regions()[1]["box"][:2]
        shown = video.frames([0])[0].permute(1, 2, 0).numpy()[top : top + 96, left : left + 96]
    assert np.abs(shown.astype(int) - frames[0]).mean() < 5  # of JPEG


def test_screens_are_for_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["phantom.py", str(tmp_path / "a"), "--screens"])
    with pytest.raises(UserError, match="--screens is for an archive"):
        phantom.main()
