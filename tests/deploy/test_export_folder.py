"""An exported folder answers as its checkpoint does: read again, and by its graphs alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import echoviewclip
from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.cropping import clips_on
from echoviewclip.deploy import hub
from echoviewclip.deploy.folder import export_folder
from echoviewclip.deploy.formats import FORMATS, trace, write_onnx
from echoviewclip.deploy.graph import Graph
from echoviewclip.deploy.measure import compare, open_graph
from echoviewclip.inference import hub as reading_hub
from echoviewclip.inference.checkpoint import read_file
from echoviewclip.inference.predictor import load_predictor, open_videos, predict
from echoviewclip.main import main
from echoviewclip.utils.checkpoint import load_checkpoint
from echoviewclip.utils.errors import UserError

ROOT = Path(__file__).parents[2]
needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="requirements-export.txt is not installed"
)


@pytest.fixture(scope="module")
def checkpoint(tiny_runs) -> Path:
    return tiny_runs["quality"] / "best.pth"


@pytest.fixture(scope="module")
def videos(tiny_folder) -> list[str]:
    return sorted(map(str, (tiny_folder / "videos").glob("*.avi")))[:5]


@pytest.fixture(scope="module", params=[1, 2])
def predictor(request, checkpoint):
    """With one clip a video, and with two of three crops each."""
    several = [("TEST.NUM_CLIP", 2), ("TEST.NUM_CROP", 3)] if request.param == 2 else []
    return load_predictor(checkpoint, changes=[("DATA.NUM_WORKERS", 0), ("TRAIN.OPT_LEVEL", "O0"), *several])


def clips_of(predictor, videos) -> torch.Tensor:
    """uint8 [B, V, T, 3, S, S]."""
    loader = open_videos(predictor, Annotations.of_paths(videos))
    return torch.cat([clips_on(torch.device("cpu"), batch, predictor.config.DATA.INPUT_SIZE) for batch in loader])


def assert_answers(outputs, rows, views, grades) -> None:
    """What a graph gives against the rows of `predict`."""
    answers = dict(zip(*outputs, strict=True))
    for i, row in enumerate(rows):
        view, grade = answers["view_probabilities"][i], answers["quality_probabilities"][i]
        assert (views[view.argmax()], grades[grade.argmax()]) == (row.view, row.quality)
        assert view.max() == pytest.approx(row.probability, abs=1e-4)
        assert grade.max() == pytest.approx(row.quality_probability, abs=1e-4)
        assert answers["quality_score"][i] == pytest.approx(row.quality_score, abs=1e-4)
        assert answers["score"][i] == pytest.approx(row.score, rel=1e-4)
        assert ("accepted" if answers["accepted"][i] else "rejected") == row.decision


def test_a_graph_answers_as_the_prediction_does(predictor, videos):
    graph, rows = Graph(predictor), predict(predictor, videos, torch.device("cpu"))
    outputs = [part.numpy() for part in graph(clips_of(predictor, videos))]
    assert_answers((graph.outputs, outputs), rows, predictor.views, predictor.grades)


@pytest.mark.parametrize("score", ["negation", "agreeing_to_differ", "msp", "knn", "mahalanobis"])
def test_a_graph_decides_by_the_score_that_is_asked_for(checkpoint, videos, score):
    changes = [("DATA.NUM_WORKERS", 0), ("TRAIN.OPT_LEVEL", "O0"), ("TEST.SCORE", score)]
    predictor = load_predictor(checkpoint, changes=changes)
    graph, rows = Graph(predictor), predict(predictor, videos, torch.device("cpu"))
    answers = dict(zip(graph.outputs, graph(clips_of(predictor, videos)), strict=True))
    np.testing.assert_allclose(answers["score"], [row.score for row in rows], rtol=1e-4, atol=1e-6)
    assert answers["accepted"].tolist() == [row.decision == "accepted" for row in rows]


@pytest.mark.parametrize(
    ("stage", "outputs"),
    [
        ("view", ["view_probabilities", "attention"]),
        ("negation", ["view_probabilities", "attention", "score", "accepted"]),
    ],
)
def test_a_graph_gives_what_its_stage_answers(tiny_runs, stage, outputs):
    graph = Graph(load_predictor(tiny_runs[stage] / "best.pth"))
    assert graph.outputs == outputs and len(graph(graph.example(3))) == len(outputs)


@pytest.fixture(scope="module")
def traced(checkpoint):
    """A predictor in float32, its graph and what torch.export makes of it."""
    predictor = load_predictor(checkpoint, changes=[("DATA.NUM_WORKERS", 0), ("TRAIN.OPT_LEVEL", "O0")])
    graph = Graph(predictor)
    return predictor, graph, trace(graph)


def test_a_traced_graph_takes_any_number_of_videos(traced, tmp_path):
    _, graph, program = traced
    FORMATS["torch"][1](program, graph, tmp_path / "model.pt2")
    run = open_graph("torch", tmp_path / "model.pt2")
    for count in (1, 3):
        for ours, theirs in zip(graph(graph.example(count)), run(graph.example(count)), strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-5, atol=1e-6)


@needs_onnx
def test_onnx_alone_answers_as_the_prediction_does(traced, videos, tmp_path):
    predictor, graph, program = traced
    rows, clips = predict(predictor, videos, torch.device("cpu")), clips_of(predictor, videos)
    write_onnx(program, graph, tmp_path / "model.onnx")
    run = open_graph("onnx", tmp_path / "model.onnx")
    assert_answers((graph.outputs, run(clips)), rows, predictor.views, predictor.grades)
    for whole, alone in zip(run(clips), run(clips[:1]), strict=True):  # any number of videos
        np.testing.assert_allclose(alone[0], whole[0], rtol=1e-4, atol=1e-6)


@needs_onnx
@pytest.mark.slow
def test_the_command_measures_what_8_bit_integers_lose(tiny_runs, tmp_path):
    checkpoint, folder = str(tiny_runs["negation"] / "best.pth"), str(tmp_path / "out")
    command = [sys.executable, "tools/export.py", checkpoint, folder, "--formats", "onnx,int8", "--measure", "val.txt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("onnx: same answers on") and lines[0].endswith("view 1.000, decision 1.000")
    assert lines[1].startswith("int8: same answers on")
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "| onnx | val.txt" in card and "| int8 | val.txt" in card
    sizes = [(tmp_path / "out" / FORMATS[name][0]).stat().st_size for name in ("onnx", "int8")]
    assert sizes[1] < sizes[0]


def test_a_folder_is_a_checkpoint(checkpoint, videos, tmp_path):
    export_folder(read_file(checkpoint), tmp_path / "out")
    ours = echoviewclip.load(checkpoint, "cpu").predict(videos)
    assert echoviewclip.from_pretrained(tmp_path / "out", device="cpu").predict(videos).rows == ours.rows


def test_a_folder_in_16_bit_numbers_is_half_the_size_and_answers_the_same(checkpoint, videos, tmp_path):
    export_folder(read_file(checkpoint), tmp_path / "whole")
    export_folder(read_file(checkpoint), tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert 0.45 < sizes[1] / sizes[0] < 0.65  # the statistics stay as they are
    rows, told = (echoviewclip.load(one).predict(videos) for one in (checkpoint, tmp_path / "half"))
    for one, other in zip(rows, told, strict=True):
        assert one.view == other.view and one.probability == pytest.approx(other.probability, abs=5e-3)


def test_a_weight_beyond_16_bit_numbers_is_refused(checkpoint, tmp_path):
    found = read_file(checkpoint)
    name = next(iter(found.weights))
    large = replace(found, weights=found.weights | {name: found.weights[name] * 0 + 7e4})
    with pytest.raises(UserError, match=f"^{name} is too large for 16-bit numbers; export without --half$"):
        export_folder(large, tmp_path / "half", half=True)


def test_a_folder_of_something_else_is_left_alone_and_old_graphs_go(tiny_runs, checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"holds the config\.yaml of something else, a run perhaps"):
        export_folder(read_file(checkpoint), tiny_runs["view"])
    export_folder(read_file(tiny_runs["view"] / "best.pth"), tmp_path)
    (tmp_path / "model.onnx").touch()  # of the checkpoint that is there
    export_folder(read_file(checkpoint), tmp_path)
    assert not (tmp_path / "model.onnx").exists()
    assert echoviewclip.load(tmp_path, "cpu").grades


def test_the_card_says_what_the_run_found(tiny_runs, tmp_path):
    checkpoint = read_file(tiny_runs["view"] / "last.pth")
    export_folder(checkpoint, tmp_path / "out")
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert f"| Top-1 accuracy | {checkpoint.metrics['top1']:.3f} |" in card
    assert "Not a medical device" in card and str(tiny_runs["view"]) not in card


def test_the_card_has_the_figures_of_each_group(tiny_runs, tiny_folder, tmp_path, monkeypatch):
    rows = (tiny_folder / "val.txt").read_text().splitlines()
    lines = [
        f"{line.rsplit(' ', 1)[0]},{line.rsplit(' ', 1)[1]},{'north|1' if n % 2 else 'south'}"
        for n, line in enumerate(rows)
    ]
    (tiny_folder / "sites.csv").write_text("\n".join(["path,label,site", *lines]) + "\n")
    shutil.copytree(tiny_runs["view"], tmp_path / "run")
    options = ["DATA.VAL_FILE", "sites.csv", "TEST.GROUPS", "['site']", "DATA.NUM_WORKERS", "0", "DATA.OOD_FILE", ""]
    words = ["main.py", "--only_test", "--resume", str(tmp_path / "run/last.pth"), "--output", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", [*words, "--opts", *options])
    main()
    export_folder(read_file(tmp_path / "run/last.pth"), tmp_path / "out")
    card = (tmp_path / "out/MODEL_CARD.md").read_text()
    groups = json.loads((tmp_path / "run/evaluation/sites/metrics.json").read_text())["by_group"][0]["groups"]
    assert [group["name"] for group in groups] == ["north|1", "south"] and "By `site`:" in card
    for group, cell in zip(groups, ("north\\|1", "south"), strict=True):
        assert f"| {cell} | {group['videos']} | Top-1 accuracy | {group['metrics']['top1']:.3f} |" in card


def test_a_checkpoint_and_its_card_say_which_version_trained_it(checkpoint, tmp_path):
    found = read_file(checkpoint)
    assert found.origin.program == load_checkpoint(checkpoint)["program"] == echoviewclip.__version__
    for version, said in (("7.6.5", "7.6.5"), ("", "of an earlier version")):
        folder = tmp_path / (version or "none")
        export_folder(replace(found, origin=replace(found.origin, program=version)), folder)
        assert f"EchoViewCLIP framework {said}," in (folder / "MODEL_CARD.md").read_text()
        assert read_file(folder).origin.program == version


def test_agreements_are_those_of_hand_computation():
    ours = {"view_probabilities": np.array([[0.9, 0.1], [0.6, 0.4]]), "score": np.array([0.0, 10.0])}
    ours["accepted"] = np.array([True, False])
    theirs = {"view_probabilities": np.array([[0.8, 0.2], [0.3, 0.7]]), "score": np.array([0.0, 10.9])}
    theirs["accepted"] = np.array([True, True])
    agreement = compare("val.txt", ours, theirs, {"view": np.array([0, -1])})
    assert agreement.same == {"view": 0.5, "decision": 0.5} and agreement.accuracy == {"view": (1.0, 1.0)}
    assert agreement.differences["view_probabilities"] == pytest.approx(0.3)
    assert agreement.differences["score"] == pytest.approx(0.9 / 9)  # from the 5 % to the 95 % quantile


def test_a_name_that_is_no_folder_is_looked_for_on_the_hub(monkeypatch, tmp_path, checkpoint):
    import huggingface_hub

    export_folder(read_file(checkpoint), tmp_path)
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.update(name=name, **options) or tmp_path
    )
    assert reading_hub.find_bundle("owner/name", "v1") == tmp_path
    assert (asked["name"], asked["revision"]) == ("owner/name", "v1")
    with pytest.raises(UserError, match="no such folder, and no name of a repository"):
        monkeypatch.undo()
        reading_hub.find_bundle("not/a/name/of/a/repository")


def test_a_checkpoint_is_uploaded_as_a_folder(monkeypatch, checkpoint):
    import huggingface_hub

    seen = {}

    class Hub:
        def create_repo(self, name, private, exist_ok):
            seen["private"] = private
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{name}")

        def upload_folder(self, folder_path, repo_id, commit_message):
            seen["files"], seen["name"] = sorted(file.name for file in Path(folder_path).iterdir()), repo_id

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert echoviewclip.push_to_hub(checkpoint, "owner/name").endswith("owner/name")
    assert seen["private"] is True and seen["name"] == "owner/name"
    assert seen["files"] == ["MODEL_CARD.md", "config.yaml", "model.json", "model.safetensors"]
    monkeypatch.setattr(Hub, "create_repo", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no token")))
    with pytest.raises(UserError, match="owner/name: not uploaded: no token"):
        hub.upload_folder(".", "owner/name")
