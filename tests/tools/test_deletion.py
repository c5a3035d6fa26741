"""The explained places count: black there takes more from the view that was named than black elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.datasets.video.arrays import ArrayVideo
from echoviewclip.inference.calibration import Calibration
from echoviewclip.inference.echo_model import EchoModel
from echoviewclip.inference.predictor import Predictor
from echoviewclip.models.build import build_model, configured_towers
from echoviewclip.phantom import view_names
from echoviewclip.phantom.study.study import Job, shoot
from echoviewclip.tools.deletion import Deletion, Falls, main
from echoviewclip.utils.errors import exit_code
from tests.tiny_data import VIEWS, configure, tiny_model


@pytest.fixture(scope="module")
def model() -> EchoModel:
    """What learned on other phantom patients, as it is in weights/, without further training."""
    config = configure("configs/phantom/view.yaml", [("DATA.NUM_WORKERS", 0)])
    views = view_names()
    network = build_model(config, views, configured_towers(config)).eval().requires_grad_(False)
    return EchoModel(Predictor(config, network, views, [], Calibration(), None, None))


def test_black_at_the_marked_places_takes_more_than_at_random_ones_and_least_at_the_least_marked(model):
    jobs = [Job(Path(), 0, 1, video, "", view, "test", 128, 4) for video, view in enumerate(view_names())][::2]
    arrays = {job.kind: ArrayVideo(job.kind, shoot(job)[0], None) for job in jobs}
    deletion = Deletion(model, draws=4)
    model.predict_files(list(arrays), arrays=arrays, watch=deletion)
    falls = deletion.result()
    assert len(falls.before) == 19
    marked, random, least = (falls.fall(kind).mean() for kind in ("marked", "random", "least marked"))
    assert marked > random > least


def test_a_share_of_what_is_not_black_is_painted_where_the_map_is_largest(model):
    clip = torch.full((2, 3, 112, 112), 100, dtype=torch.uint8)
    clip[..., :56] = 0
    field = torch.zeros(28, 28)
    field[:14, 20:] = 1
    black = (Deletion(model, share=0.25).painted(clip, field) == 0).all(dim=(0, 1))
    assert black[:, :54].all()  # it was
    image = black[:, 54:]  # the margin of two pixels belongs to it
    assert int(image[:, 2:].sum()) + int((~black[:, 54:56]).sum()) <= round(0.25 * 58 * 112)
    assert black[:50, 84:].all() and not black[62:, 58:].any()


def test_the_command_says_what_was_measured(tiny_runs, tiny_folder, monkeypatch, capsys):
    videos = [str(tiny_folder / "videos" / f"clip {number}.avi") for number in range(3)]
    words = ["deletion.py", *videos, "--resume", str(tiny_runs["view"] / "last.pth"), "--draws", "2"]
    monkeypatch.setattr("sys.argv", words)
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 videos, mean probability of the named view 0.")
    found = [
        re.fullmatch(r"(marked|random|least marked) +(-?0\.\d{3}) ± 0\.\d{3} +0\.\d{3}", line) for line in lines[2:5]
    ]
    assert [match and match[1] for match in found] == ["marked", "random", "least marked"]
    marked, random = (float(match[2]) for match in found[:2] if match)
    assert float(lines[5].split(" by ")[1].split(" ± ")[0]) == pytest.approx(marked - random, abs=2e-3)


def test_falls_are_positive_where_the_probability_falls():
    falls = Falls(np.array([0.9, 0.5]), {"marked": np.array([0.4, 0.6])})
    assert falls.fall("marked").tolist() == pytest.approx([0.5, -0.1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--share", "1.5"], "--share must be between 0 and 1, found 1.5"),
        (["--share", "nan"], "--share must be between 0 and 1, found nan"),
        (["--draws", "0"], "--draws must be at least 1, found 0"),
        ([], "1 videos could be read; a mean needs two at least"),
    ],
)
def test_mistakes_are_one_line(tiny_runs, tiny_folder, monkeypatch, capsys, options, said):
    words = [str(tiny_folder / "videos/clip 0.avi"), "--resume", str(tiny_runs["view"] / "last.pth")]
    monkeypatch.setattr("sys.argv", ["deletion.py", *words, *options])
    assert exit_code(main) == 2
    assert capsys.readouterr().err.strip().endswith(said)


def test_black_that_is_painted_is_left_out_where_the_model_leaves_black_out():
    config, network = tiny_model("view", MODEL__ARCH="ViT-tiny/16", DATA__INPUT_SIZE=64, MODEL__DROP_BLACK=True)
    network.eval().requires_grad_(False)
    deletion = Deletion(EchoModel(Predictor(config, network, VIEWS, [], Calibration(), None, None)))
    deletion._texts = network.encode_texts(("positive",))
    clip = torch.randint(1, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    clip[..., :32] = 0
    lit = np.zeros((1, 64, 64), bool)
    lit[..., 32:] = True
    logits = network(DeviceTransform(train=False)(clip), ("positive",), deletion._texts, lit).positive.logits
    torch.testing.assert_close(deletion._probabilities(clip), logits.softmax(dim=-1))
