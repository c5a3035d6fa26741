"""A checkpoint from Python answers as predict.py does, about files and about frames in memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import echoviewclip
from echoviewclip import predict as command
from echoviewclip.datasets.video.open import open_video
from echoviewclip.inference.echo_model import EchoModel
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.label_list import read_names
from tests.tiny_data import VIEWS

NUMBERS = ("probability", "second_probability", "score", "tau", "quality_probability", "quality_score")
DOCS = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def checkpoint(tiny_runs) -> Path:
    return tiny_runs["quality"] / "best.pth"


@pytest.fixture(scope="module")
def model(checkpoint) -> EchoModel:
    return echoviewclip.load(checkpoint, "cpu")


@pytest.fixture(scope="module")
def videos(tiny_folder) -> list[str]:
    return sorted(map(str, (tiny_folder / "videos").glob("*.avi")))[:3]


def frames_of(file: str) -> np.ndarray:
    with open_video(file) as video:
        return np.stack(list(video.iterate()))


def test_it_answers_as_the_command_does(model, checkpoint, videos, tmp_path):
    given = [*videos, "--resume", str(checkpoint), "--output", str(tmp_path), "--workers", "0", "--device", "cpu"]
    assert command.main(given) == 0
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    table = model.predict(videos)
    assert [{name: getattr(row, name) for name in table.columns} for row in table] == list(map(json.loads, lines))
    assert list(table.columns) == list(json.loads(lines[0]))
    assert tuple(model.views) == VIEWS and model.grades == read_names("labels/quality.csv")


def test_one_file_and_its_folder_will_do(model, tiny_folder, videos):
    assert [row.file for row in model.predict(Path(videos[0]))] == [videos[0]]
    assert len(model.predict(tiny_folder / "videos")) == len(list((tiny_folder / "videos").iterdir()))


def test_frames_in_memory_get_the_answers_of_their_file(model, videos):
    expected = model.predict(videos)
    arrays = model.predict([frames_of(file) for file in videos])
    mixed = model.predict([videos[0], frames_of(videos[1])])
    assert [row.file for row in arrays] == ["array 0", "array 1", "array 2"]
    assert [row.file for row in mixed] == [videos[0], "array 0"]
    for given, rows in ((arrays, expected), (mixed, expected.rows[:2])):
        for one, other in zip(given, rows, strict=True):
            assert vars(one) | {"file": ""} == vars(other) | {"file": ""}


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 32, 32, 3), np.float32), "float32 [4, 32, 32, 3]"),
        (np.zeros((32, 32, 3), np.uint8), "uint8 [32, 32, 3]"),
        (np.zeros((4, 32, 32), np.uint8), "uint8 [4, 32, 32]"),
        (np.zeros((0, 32, 32, 3), np.uint8), "uint8 [0, 32, 32, 3]"),
    ],
)
def test_arrays_of_another_kind_are_refused(model, array, found):
    with pytest.raises(ValueError, match=re.escape(f"array 0: expected frames uint8 [T, H, W, 3], got {found}")):
        model.predict(array)


def test_what_is_not_there_is_named(model, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        model.predict(tmp_path / "none.avi")
    with pytest.raises(UserError, match="no videos given"):
        model.predict([])
    with pytest.raises(UserError, match="no such checkpoint"):
        echoviewclip.load(tmp_path / "none.pth")


ONE_LOOK = [("TEST.NUM_CLIP", 1), ("TEST.NUM_CROP", 1)]


@pytest.mark.parametrize("stage", ["view", "negation", "quality"])
def test_a_stream_answers_as_predict_does_about_its_window(tiny_runs, videos, stage):
    model = echoviewclip.load(tiny_runs[stage] / "best.pth", "cpu", changes=ONE_LOOK)
    frames, stream = frames_of(videos[1]), model.stream(fps=10, seconds=0.4)
    for end, frame in enumerate(frames, start=1):
        answer = stream.add(frame)
        (expected,) = model.predict(frames[max(0, end - 4) : end], as_is=True)
        assert (answer.view, answer.decision, answer.quality, answer.frame) == (
            *(expected.view, expected.decision, expected.quality, expected.frame),
        )
        numbers = [
            (getattr(row, name) for name in NUMBERS if getattr(row, name) is not None) for row in (answer, expected)
        ]
        assert list(numbers[0]) == pytest.approx(list(numbers[1]), rel=1e-4)
    assert end > 4


def test_each_frame_of_a_stream_passes_the_tower_once(model, videos, monkeypatch):
    seen, encode = [], type(model.predictor.model).encode_frames
    monkeypatch.setattr(
        type(model.predictor.model),
        "encode_frames",
        lambda self, frames, *given: (seen.append(len(frames)), encode(self, frames, *given))[1],
    )
    stream = model.stream(fps=10)
    for frame in frames_of(videos[0]):
        stream.add(frame)
    assert seen == [1] * len(frames_of(videos[0]))


def test_what_is_no_stream_and_no_frame_is_refused(model):
    with pytest.raises(ValueError, match=re.escape("a window of 0.01 s at 10 frames a second holds no frame")):
        model.stream(fps=10, seconds=0.01)
    with pytest.raises(ValueError, match=re.escape("expected a frame uint8 [H, W, 3], got uint8 [8, 8]")):
        model.stream(fps=10).add(np.zeros((8, 8), np.uint8))


def test_features_are_those_that_the_answers_follow_from(model, tiny_folder, videos, tmp_path):
    """Cosines of the video features and the class texts order the views as predict does."""
    (tmp_path / "a.avi").touch()
    found = model.features([*videos, tmp_path / "a.avi"])
    rows = model.predict([*videos, tmp_path / "a.avi"])
    texts = model.predictor.model.encode_texts(("positive",)).positive.detach().numpy()
    best = (found.videos[:3] @ texts.T).argmax(axis=1)
    assert [model.views[view] for view in best] == [row.view for row in rows][:3]
    assert np.isnan(found.videos[3]).all() and np.isnan(found.frames[3]).all()
    assert found.frames.shape[:2] == found.places.shape and found.frames.shape[2] == found.videos.shape[1]


def test_the_table_as_a_data_frame(model, videos, monkeypatch):
    table = model.predict(videos)
    pandas = pytest.importorskip("pandas")
    frame = table.to_frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == list(table.columns)
    assert frame["view"].tolist() == [row.view for row in table]


def test_without_pandas_the_message_says_so(model, videos, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        model.predict(videos[0]).to_frame()


def test_torch_hub_loads_a_clone(checkpoint, videos, model):
    loaded = torch.hub.load(str(DOCS.parents[1]), "echo_model", str(checkpoint), device="cpu", source="local")
    assert loaded.predict(videos[0]).rows == model.predict(videos[0]).rows


def test_the_examples_of_the_documentation_run(checkpoint, tiny_folder, tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
    for file, place in ((checkpoint, "output/demo/quality/best.pth"), (tiny_folder / "videos", "data/phantom/study")):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(file)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("\n") == len(list((tiny_folder / "videos").iterdir())), (
        done.stderr
    )


def test_the_name_alone_is_imported_at_once():
    code = "import sys, echoviewclip; print(sorted({'torch', 'numpy', 'open_clip'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
