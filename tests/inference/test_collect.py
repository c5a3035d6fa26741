"""What is kept of a list of videos, and that scoring them as they come changes no digit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoviewclip.datasets.configured import evaluation_batches, read_list
from echoviewclip.datasets.transforms import DeviceTransform
from echoviewclip.evaluation.feature_statistics import DistanceStream
from echoviewclip.inference.collect import collect
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.predictor import load_predictor
from echoviewclip.inference.scoring import to_predictions

CPU = torch.device("cpu")


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_videos_scored_as_they_come_have_every_digit_of_those_scored_together(tiny_folder, tiny_runs, batch):
    with (tiny_folder / "val.txt").open(encoding="utf-8") as file:
        lines = [*file, "lost.avi 0\n"]
    (tiny_folder / "val_lost.txt").write_text("".join(lines), encoding="utf-8")
    predictor = load_predictor(
        tiny_runs["negation"] / "last.pth",
        changes=[("TRAIN.BATCH_SIZE", batch), ("DATA.ROOT", str(tiny_folder))],
    )
    config, model = predictor.config, predictor.model
    videos = read_list(config, "val_lost.txt")
    loader, precision = evaluation_batches(config, videos), Precision("O0", model, CPU, trains=False)
    given = (model, loader, DeviceTransform(train=False), precision, "test")
    kept, *_ = collect(*given, features=True)
    together = predictor.fitted.scores(kept.intermediates)
    streamed, *_ = collect(*given, fitted=predictor.fitted)
    assert streamed.failed.sum() == 1
    for name, values in streamed.distances._asdict().items():
        np.testing.assert_array_equal(values, np.where(kept.failed, np.nan, together[name]))
    scores = to_predictions(streamed, videos, "in").scores
    assert set(together) < set(scores)
    assert to_predictions(kept, videos, "in").scores.keys() == scores.keys() - together.keys()


def test_features_are_kept_only_where_they_are_asked_for(tiny_folder, tiny_runs, monkeypatch):
    predictor = load_predictor(
        tiny_runs["quality"] / "last.pth", changes=[("TRAIN.BATCH_SIZE", 2), ("DATA.ROOT", str(tiny_folder))]
    )
    config, model = predictor.config, predictor.model
    loader = evaluation_batches(config, read_list(config, "quality_val.txt"))
    given = (model, loader, DeviceTransform(train=False), Precision("O0", model, CPU, trains=False), "test")
    parts = []
    add = DistanceStream.add
    monkeypatch.setattr(
        DistanceStream, "add", lambda self, features: (parts.append(len(features)), add(self, features))
    )
    answers, *_ = collect(*given, fitted=predictor.fitted)
    assert parts == [2, 2, 2, 1]  # as the batches come
    assert answers.intermediates is None
    assert answers.positive.features is None and answers.negative.features is None
    assert answers.positive.logits is not None and answers.quality is not None
    assert all(isinstance(values, np.ndarray) for values in answers.quality._replace(defects=answers.quality.score))
    assert answers.quality.defects is None  # of a model that knows none
    asked, *_ = collect(*given, features=True)
    assert asked.distances is None
    assert asked.intermediates is not None and asked.positive.features is not None
