"""Twenty steps of each stage are those that are stored: whatever changes what training computes has to say so.

Where a change is meant to: `PYTHONPATH=src python -m tests.loss_curve` renews tests/data/loss_curves.json.
"""

from __future__ import annotations

import json

import pytest

from tests.loss_curve import STORED, curve, write_arrays
from tests.tiny_data import STAGES

# Other libraries, threads and processors move a term by up to a thousandth of its largest value (of the gradients'
# norm), and the norm of the weights by a few parts in 10⁹.
TERM, WEIGHTS = 0.01, 2e-7

# Defaults that take effect in the pinned runs, each changed by itself.
CHANGED = {
    "SEED": 7,
    "MODEL.POOLING": "mean",
    "MODEL.QUALITY_HEAD": "corn",
    "MODEL.QUALITY_VIEWS": True,
    "MODEL.DROP_PATH_RATE": 0.1,
    "MODEL.FIX_TEXT": True,
    "TRAINER.ViFi_CLIP.PROMPT_MODEL": True,
    "TRAINER.ViFi_CLIP.CTX_INIT": "a frame of",
    "TRAINER.ViFi_CLIP.CTX_INIT_NO": "no frame of",
    "TRAINER.ViFi_CLIP.ZS_EVAL": True,
    "TRAIN.WEIGHT_DECAY": 0.002,
    "TRAIN.ACCUMULATION_STEPS": 2,
    "TRAIN.LR_SCHEDULER": "constant",
    "TRAIN.OPTIMIZER": "sgd",
    "TRAIN.CLIP_GRAD": 5.0,
    "TRAIN.EMA_DECAY": 0.9,
    "TRAIN.OPPOSITE_WEIGHT": 0.5,
    "TRAIN.NEGATION_LOSS": "class",
    "TRAIN.OUTLIER_WEIGHT": 0.4,
    "TRAIN.ORDINAL_LOSS": "score",
    "TRAIN.ORDINAL_WEIGHT": 0.9,
    "AUG.LABEL_SMOOTH": 0.0,
    "AUG.MIXUP": 0.5,
    "AUG.CUTMIX": 0.5,
    "AUG.MIXUP_SWITCH_PROB": 0.2,
    "AUG.COLOR_JITTER": 0.2,
    "AUG.GRAY_SCALE": 0.2,
    "AUG.FLIP": 0.2,
    "AUG.ERASING": 0.2,
    "AUG.OUTLIERS": ["mixed"],
    "AUG.SCALES": [1.0, 0.9],
}


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Trains a stage on the arrays, from the stored configuration's run of the stage before; keeps what was trained."""
    folder = tmp_path_factory.mktemp("curves")
    data, known = write_arrays(folder / "data"), {}

    def run(stage: str, name: str = "as stored", **changes) -> dict:
        if (stage, name) not in known:
            earlier = STAGES[STAGES.index(stage) - 1] if stage != "view" else None
            if earlier:
                run(earlier)
            resume = folder / earlier / "as stored" / "run" if earlier else None
            known[stage, name] = curve(data, folder / stage / name, stage, resume, **changes)
        return known[stage, name]

    return run


def difference(given: dict, stored: dict) -> str:
    """What is not as stored; empty where all is."""
    if given.keys() != stored.keys():
        return f"terms {', '.join(given)}"
    for name, values in stored.items():
        allowed = {"weights": WEIGHTS, "lr": 1e-9}.get(name, TERM) * max(map(abs, values))
        if len(given[name]) != len(values):
            return f"{len(given[name])} steps"
        for step, (one, other) in enumerate(zip(given[name], values, strict=True)):
            if not abs(one - other) <= allowed:
                return f"{name} at step {step}: {one} instead of {other}, which may differ by {allowed}"
    return ""


@pytest.mark.parametrize("stage", STAGES)
def test_the_loss_curve_is_the_stored_one(grown, stage):
    stored = json.loads(STORED.read_text())[stage]
    assert len(stored["loss"]) == 20
    assert difference(grown(stage), stored) == ""


@pytest.mark.parametrize("stage", [STAGES[0], *(pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES[1:])])
def test_the_loss_curve_is_the_same_to_the_bit_whatever_the_number_of_workers(grown, stage):
    expected = grown(stage)  # without workers
    for workers in (2, 4):
        assert grown(stage, f"{workers} workers", DATA__NUM_WORKERS=workers) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_default_changes_the_curve(grown, name):
    stored, change = json.loads(STORED.read_text()), {name.replace(".", "__"): CHANGED[name]}
    assert any(difference(grown(stage, name, **change), stored[stage]) for stage in STAGES)
