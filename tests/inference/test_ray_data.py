"""Prediction by Ray: batches of paths become batches of answers, in one process and by the actors of a local Ray."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.inference.ray_data import RayPredictor
from echoviewclip.predict import main
from tests.inference.predicted import read

ROOT = Path(__file__).parents[2]


@pytest.fixture
def videos(runs, elsewhere) -> list[str]:
    Path("broken.avi").write_bytes(b"RIFF")
    return [*sorted(map(str, (runs / "data" / "videos").iterdir()))[:4], "broken.avi"]


def test_a_batch_gets_the_answers_of_predict_py(runs, videos):
    checkpoint = str(runs / "quality" / "last.pth")
    main([*videos, "--resume", checkpoint, "--workers", "0"])
    expected = {row["file"]: row for row in read()}
    paths = np.array([*videos, videos[0]])  # one of them twice
    batch = RayPredictor(checkpoint)({"path": paths, "site": np.arange(6)})
    assert list(batch) == ["path", "site", *(name for name in expected[videos[0]] if name != "file")]
    assert batch["path"] is paths and batch["site"].tolist() == list(range(6))
    for place, path in enumerate(paths):
        for name, value in expected[path].items():
            found = batch[name][place] if name != "file" else path
            if value is None:
                assert found in ("", -1) or math.isnan(found), name
            else:
                assert found == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), name
    assert batch["error"][4] and not batch["error"][0]
    assert [batch[name].dtype.kind for name in ("view", "score", "frame", "error")] == ["U", "f", "i", "U"]


@pytest.mark.slow
def test_the_example_of_the_docs_answers_on_a_local_ray(runs, videos, monkeypatch):
    ray = pytest.importorskip("ray")
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    videos = [str(Path(video).resolve()) for video in videos]
    Path("archive.csv").write_text("path\n" + "".join(f"{video}\n" for video in videos))
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    example = re.search(r"^    import ray\n(?:(?:    .*)?\n)+", page, re.MULTILINE)[0]
    example = (
        re.sub(r"^    ", "", example, flags=re.MULTILINE)
        .replace("size=4", "size=1")
        .replace("num_gpus=1", "num_gpus=0")
    )
    environment = {"env_vars": {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env=environment, object_store_memory=2**27)
    try:
        exec(example.replace("output/quality/best.pth", str(runs / "quality" / "last.pth")), {})
    finally:
        ray.shutdown()
    rows = []
    for file in Path("answers").glob("*.csv"):
        with file.open(newline="") as stream:
            rows += csv.DictReader(stream)
    main([*videos, "--resume", str(runs / "quality" / "last.pth"), "--workers", "0"])
    expected = {row["file"]: row for row in read()}
    assert sorted(row["path"] for row in rows) == sorted(videos)
    assert all(row["view"] == (expected[row["path"]]["view"] or "") for row in rows)
    assert all(bool(row["error"]) == row["path"].endswith("broken.avi") for row in rows)
