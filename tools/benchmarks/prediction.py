"""From video files to answers, as predict.py gives them: reading, the model, and both together."""

from __future__ import annotations

import tempfile
from pathlib import Path

from echoviewclip.datasets.annotations import Annotations
from echoviewclip.datasets.configured import evaluation_batches
from echoviewclip.datasets.reading import read
from echoviewclip.inference.calibration import Calibration
from echoviewclip.inference.precision import Precision
from echoviewclip.inference.predictor import Predictor, predict
from echoviewclip.phantom.study.files import write_video
from echoviewclip.tools.benchmarks.cases import LABELS, ROOT, Setting, build
from echoviewclip.tools.benchmarks.clips import LENGTH, SIDE, speckle
from echoviewclip.tools.benchmarks.forward import PARTS, answer
from echoviewclip.tools.benchmarks.result import Measured, measure
from echoviewclip.tools.benchmarks.timing import Form
from echoviewclip.utils.label_list import read_names


def benchmark_predict(setting: Setting, repeats: int, side: int = SIDE, length: int = LENGTH) -> list[Measured]:
    """A batch of videos H.264 of `side` pixels and `length` frames, read by this process, in several forms."""
    config = setting.config("quality", "ours").clone()
    config.defrost()
    config.DATA.NUM_WORKERS = 0
    model = build(setting, "quality", "ours").eval().requires_grad_(False)
    names = read_names(LABELS), read_names(ROOT / "labels/quality.csv")
    predictor = Predictor(config, model, *names, calibration=Calibration(), fitted=None, preparation=None)
    precision = Precision(config.TRAIN.OPT_LEVEL, model, setting.device, trains=False)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, f"{number}.mp4")) for number in range(setting.batch)]
        video = speckle(length, side)
        for file in files:
            write_video(Path(file), video, fps=30)
        loader = evaluation_batches(config, Annotations.of_paths(files))
        forms: dict[str, Form] = {
            "singly": lambda: [predict(predictor, [file], setting.device) for file in files],
            "batch": lambda: predict(predictor, files, setting.device),
            "reading": lambda: list(read(loader)),
            "model": answer(setting, model, precision, PARTS["quality"], plain=False),
        }
        computes = dict.fromkeys(forms, precision)
        return measure(f"predict, {len(files)} videos", forms, computes, model, setting, repeats)
