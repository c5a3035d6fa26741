"""Wrong labels that were planted are found, shown and corrected."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from echoviewclip.datasets.annotations import read_annotations
from echoviewclip.experiment.corrections import apply_corrections
from echoviewclip.experiment.noise import contradicted, probe
from echoviewclip.tools import check_labels
from echoviewclip.utils.errors import UserError, exit_code
from tests.tiny_data import TRAINING, VIEWS


def clusters(videos: int = 400, classes: int = 5, wrong: float = 0.08, seed: int = 0):
    """Features in clusters, labels of which some are wrong, the true ones, and patients of eight videos."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=videos)
    features = 2.5 * np.eye(classes)[truth] @ rng.normal(size=(classes, 16)) + rng.normal(size=(videos, 16))
    labels = truth.copy()
    planted = rng.choice(videos, round(wrong * videos), replace=False)
    labels[planted] = (truth[planted] + rng.integers(1, classes, len(planted))) % classes
    return features.astype(np.float32), labels, truth, np.arange(videos) // 8


@pytest.mark.parametrize("seed", range(3))
def test_planted_labels_are_found_and_the_right_ones_suggested(seed):
    features, labels, truth, patients = clusters(seed=seed)
    found = contradicted(probe(features, labels, patients, 5), labels)
    wrong = {i for i in range(len(labels)) if labels[i] != truth[i]}
    hits = [(i, other) for i, other in found if i in wrong]
    assert len(hits) >= 0.8 * len(wrong)  # recall
    assert len(hits) >= 0.95 * len(found)  # precision
    assert sum(i in wrong for i, _ in found[:20]) >= 19  # the most confident first
    assert np.mean([other == truth[i] for i, other in hits]) >= 0.9


def test_right_labels_are_left_alone():
    features, labels, _, patients = clusters(wrong=0.0)
    assert len(contradicted(probe(features, labels, patients, 5), labels)) <= 0.02 * len(labels)


def test_no_model_sees_the_patients_that_it_judges():
    """Features that name the patient and nothing else tell nothing of the label."""
    rng = np.random.default_rng(0)
    patients = np.arange(200) // 10
    labels = rng.integers(2, size=20)[patients]  # every patient has one label
    probabilities = probe(np.eye(20)[patients], labels, patients, 2)
    assert (probabilities.argmax(1) == labels).mean() < 0.8
    seen = probe(np.eye(20)[patients], labels, np.arange(200), 2)
    assert (seen.argmax(1) == labels).mean() == 1.0


def test_what_is_not_known_is_not_judged():
    features, labels, _, patients = clusters(videos=80)
    features[3], labels[5] = np.nan, -1
    probabilities = probe(features, labels, patients, 6)  # the last class has no video
    assert np.isnan(probabilities[[3, 5]]).all() and np.isfinite(np.delete(probabilities, [3, 5], 0)).all()
    assert not {3, 5} & {i for i, _ in contradicted(probabilities, labels)}
    with pytest.raises(UserError, match="the videos of one patient alone"):
        probe(features, labels, np.zeros(80, int), 6)


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def check(tiny_runs, monkeypatch, capsys):
    """Runs the command on the tiny run of stage view; returns exit code, output and errors."""

    def check(*arguments, run=tiny_runs["view"]):
        monkeypatch.setattr(sys, "argv", ["check_labels.py", str(run), *map(str, arguments)])
        return exit_code(check_labels.main), *capsys.readouterr()

    return check


def test_the_command_writes_a_page_and_a_table_of_the_same_videos(check, tiny_runs):
    code, out, _ = check()
    folder = tiny_runs["view"] / "labels"
    assert code == 0 and f"of {TRAINING} labels are contradicted by a cross-validated linear probe" in out
    with (folder / "corrections.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    page = (folder / "index.html").read_text()
    shown = json.loads(re.search(r'id="rows">(.*?)</script>', page, re.S)[1])
    assert [card["path"] for card in shown["cards"]] == [row["path"] for row in rows]
    assert page.count("data:image/jpeg;base64,") == len(rows) == page.count("<article")
    assert all(row["label"] in VIEWS and row["suggested"] in VIEWS and not row["decision"] for row in rows)


def test_the_folds_judge_where_they_were_run(check, tiny_runs, tmp_path):
    folder = tmp_path / "output"
    (folder / "view").mkdir(parents=True)
    (folder / "view/best.pth").symlink_to(tiny_runs["view"] / "last.pth")
    listed = [f"clip {k}.avi" for k in range(TRAINING)]
    for part in (1, 2):
        (folder / f"fold{part}/view").mkdir(parents=True)
        lines = ["path,set,label,failed,p_0,p_1,p_2,p_3"]
        for k, name in enumerate(listed):
            if k % 2 == part - 1:
                says = (k + (k == 4)) % 4  # of one video another label than its own
                p = ["0.91" if says == view else "0.03" for view in range(4)]
                lines.append(",".join([name, "in", str(k % 4), "0", *p]))
        (folder / f"fold{part}/view/predictions.csv").write_text("\n".join(lines) + "\n")
    code, out, _ = check(run=folder / "view")
    assert code == 0 and out.startswith(f"1 of {TRAINING} labels are contradicted by models of 2 folds")
    assert (folder / "view/labels/corrections.csv").read_text().splitlines()[1:] == [
        f"clip 4.avi,{VIEWS[0]},{VIEWS[1]},0.0300,0.9100,"
    ]


def test_runs_that_cannot_be_checked_are_named(check, tiny_runs, tmp_path):
    assert "is a run of stage quality; name that of stage view" in check(run=tiny_runs["quality"])[2]
    assert "holds no best.pth or last.pth" in check(run=tmp_path)[2]
    assert "no such file" in check("--apply", run=tmp_path)[2]


# ── Decisions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def decide(tmp_path):
    """Applies decisions by path to a list of five videos."""
    lines = ["path,label,patient,score", *(f"{name}.avi,{VIEWS[k % 4]},P{k},0.5" for k, name in enumerate("abcde"))]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")

    def decide(**decisions) -> tuple[Path, Counter]:
        rows = [f"{name}.avi,x,{VIEWS[3]},0.1,0.9,{decision}" for name, decision in decisions.items()]
        file = tmp_path / "corrections.csv"
        file.write_text("\r\n".join(["path,label,suggested,p_label,p_suggested,decision", *rows]), encoding="utf-8-sig")
        return apply_corrections(file, "train.csv", str(tmp_path), VIEWS)

    return decide


def test_decisions_become_a_new_list(decide, tmp_path):
    before = (tmp_path / "train.csv").read_text()
    target, counts = decide(a="suggested", b="remove", c="keep", d=VIEWS[2].lower(), e="")
    assert counts == {"suggested": 1, "remove": 1, "keep": 1, "another label": 1, "": 1}
    listed = read_annotations(target, label_names=VIEWS)
    assert [(listed.name(i), int(listed.labels[i])) for i in range(4)] == [
        ("a.avi", 3),
        ("c.avi", 2),
        ("d.avi", 2),
        ("e.avi", 0),
    ]
    assert listed.patient(1) == "P2" and listed.scores[0] == 0.5
    assert target.name == "train.corrected.csv" and (tmp_path / "train.csv").read_text() == before


def test_decisions_that_are_none_are_named_with_their_line(decide):
    with pytest.raises(UserError, match=r"corrections.csv:3: a decision is keep, suggested, remove or a name of the"):
        decide(a="keep", b="perhaps")
    with pytest.raises(UserError, match=r"corrections.csv:2: .*train.csv names no such video"):
        decide(z="keep")


def test_decisions_are_not_overwritten(check, tiny_runs):
    check()
    file = tiny_runs["view"] / "labels/corrections.csv"
    if len(file.read_text().splitlines()) == 1:
        file.write_text(file.read_text() + f"clip 0.avi,{VIEWS[0]},{VIEWS[1]},0.1,0.9,\n")
    first, *rest = file.read_text().splitlines()[1:]
    file.write_text("\n".join(["path,label,suggested,p_label,p_suggested,decision", f"{first}keep", *rest]))
    code, _, err = check()
    assert code == 2 and "holds decisions; apply them (--apply), or remove it to check anew" in err
    file.unlink()
