"""Compares ways to reject: python tools/rejection.py CKPT [--root DATA] [--output DIR]

CKPT is a checkpoint of stage negation. Prints how well each score parts the test videos from the outsiders of
DATA.OOD_FILE, near, far and by what they show (the phantom's annotations.csv): the scores there are, NegLabel on names
that are none of the views, residuals, single depths, and logistic regressions of distance and text that were fitted on
validation videos and synthetic outliers alone. Training videos fit, validation videos calibrate, test videos and
outsiders judge. --output writes rejection.csv and rejection.json. See docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch

if not __package__:  # started as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from echoviewclip.evaluation.rejection import ALL, Figure, combinations, figures_of
from echoviewclip.inference.predictor import Changes
from echoviewclip.tools.rejection_inputs import (
    Asker,
    Judge,
    MadeOutliers,
    groups_of,
    load,
    read_kinds,
    read_lists,
    texts_of,
)
from echoviewclip.utils.config.choices import SCORES
from echoviewclip.utils.errors import UserError, exit_code
from echoviewclip.utils.files import atomic_path, write_text
from echoviewclip.utils.label_list import read_names
from echoviewclip.utils.seeding import generator

OTHERS = "labels/other_views.csv"
DISTANCE = "relative_mahalanobis"  # what the others are compared with
WITH_DISTANCE = "distance + "


def compare(
    file: str, changes: Changes = (), *, test: str = "", others: str = OTHERS, most: int = 0
) -> tuple[list[Figure], dict[str, int]]:
    """Every figure, and how many videos there were of each use.

    `changes` are settings, (key, value) each; `test` is the list of test videos, `others` a label list of names that
    are none of the views, `most` the training videos to fit to (0: all). Raises UserError.
    """
    checkpoint, predictor = load(file, changes)
    config = predictor.config
    lists, kinds = read_lists(config, test), read_kinds(config.DATA.ROOT)
    names = other_names(others, predictor.views)
    texts = texts_of(checkpoint, predictor, names)
    asker = Asker(predictor, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    chosen = np.flatnonzero(lists.training.labels >= 0)
    if 0 < most < len(chosen):
        chosen = np.sort(generator(config.SEED).permutation(chosen)[:most])
    training = asker.ask(lists.training, "training videos", chosen)
    judge = Judge(predictor, texts, training, lists.training.labels[training.place])
    made = MadeOutliers(asker)
    labelled = [np.flatnonzero(listed.labels >= 0) for listed in (lists.validation, lists.test)]
    known = judge.scores(asker.ask(lists.validation, "validation videos", labelled[0], made))
    outliers = judge.scores(made.answers())
    inside = judge.scores(asker.ask(lists.test, "test videos", labelled[1]))
    answers = [asker.ask(listed, f"{kind} outsiders") for kind, listed in lists.outsiders]
    parts = [judge.scores(one) for one in answers]
    outside = {name: np.concatenate([part[name] for part in parts]) for name in inside}
    mixes = mixtures(list(inside))
    inside |= combinations(known, outliers, inside, mixes)
    outside |= combinations(known, outliers, outside, mixes)
    found = figures_of(inside, outside, groups_of(lists, [one.place for one in answers], kinds), DISTANCE)
    counts = {
        "training": len(training.place),
        "validation": len(known[DISTANCE]),
        "synthetic outliers": len(outliers[DISTANCE]),
        "test": len(inside[DISTANCE]),
        "outsiders": len(outside[DISTANCE]),
        "other names": len(names),
    }
    return found, counts


def other_names(file: str, views: Sequence[str]) -> list[str]:
    """Names of a label list. Raises UserError where one is a view."""
    names = read_names(file)
    known = {view.casefold() for view in views}
    if wrong := [name for name in names if name.casefold() in known]:
        raise UserError(f"{file}: {wrong[0]!r} is one of the views; take it out")
    return names


def mixtures(scores: Sequence[str]) -> dict[str, list[str]]:
    """What is put together with the distance: each score that reads text, each residual, all that read text."""
    text = [name for name in scores if name in SCORES or name.startswith("neglabel")]
    single = [*text, *(name for name in scores if name.startswith(("residual", "mars")))]
    mixed = {f"{WITH_DISTANCE}{name}": [DISTANCE, name] for name in single}
    return mixed | {f"{WITH_DISTANCE}all that read text": [DISTANCE, *text]}


def tables(found: Sequence[Figure]) -> str:
    """The figures as two Markdown tables: by list, and AUROC by what the outsiders show, where that is known."""
    scores = sorted(dict.fromkeys(one.score for one in found), key=lambda name: name != DISTANCE)
    by = {(one.score, one.against): one for one in found}
    listed = [group for group in ("near", "far", ALL) if (DISTANCE, group) in by]
    head = ["score", *(f"AUROC {group}" for group in listed), *(f"added {group}" for group in listed)]
    rows = [
        [
            name,
            *(f"{by[name, group].auroc:.3f}" for group in listed),
            *("–" if name == DISTANCE else f"{by[name, group].added:+.3f}" for group in listed),
            *(f"{by[name, group].fpr95:.3f}" for group in listed),
        ]
        for name in scores
    ]
    text = _table([*head, *(f"FPR95 {group}" for group in listed)], rows)
    shown = [one for one in found if one.score == DISTANCE and one.against not in ("near", "far", ALL)]
    if not shown:
        return text
    legend = "; ".join(f"{number} {one.against} ({one.outsiders})" for number, one in enumerate(shown, 1))
    rows = [[name, *(f"{by[name, one.against].auroc:.3f}" for one in shown)] for name in scores]
    return f"{text}\n\nAUROC by what the outsiders show: {legend}.\n\n" + _table(
        ["score", *(str(number) for number in range(1, len(shown) + 1))], rows
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def write(folder: Path, found: Sequence[Figure], counts: dict[str, int]) -> None:
    """Writes rejection.csv, a row a score and group, and rejection.json, the same with the numbers of videos."""
    with atomic_path(folder / "rejection.csv") as file, file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [field.name for field in fields(Figure)])
        table.writeheader()
        table.writerows(map(asdict, found))
    content = {"videos": counts, "figures": [asdict(one) for one in found]}
    write_text(folder / "rejection.json", json.dumps(content, indent=1) + "\n")


def main() -> int:
    """Parses the command line, compares, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint of stage negation")
    parser.add_argument("--root", metavar="DATA", help="the data's folder, in place of the checkpoint's (DATA.ROOT)")
    parser.add_argument(
        "--test", metavar="LIST", default="", help="list of test videos (default: test.csv of the data)"
    )
    parser.add_argument("--others", metavar="CSV", default=OTHERS, help=f"names that are no views (default: {OTHERS})")
    parser.add_argument("--most", metavar="N", type=int, default=0, help="training videos to fit to (default: all)")
    parser.add_argument("--output", metavar="DIR", type=Path, help="folder for rejection.csv and rejection.json")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    a = parser.parse_args()
    if len(a.opts) % 2:
        raise UserError(f"--opts takes pairs of KEY VALUE; {a.opts[-1]!r} stands alone")
    if a.most < 0 or a.most == 1:
        raise UserError(f"--most must be at least 2, or 0 for all, found {a.most}")
    changes = [*([("DATA.ROOT", a.root)] if a.root else []), *zip(a.opts[::2], a.opts[1::2], strict=True)]
    found, counts = compare(a.checkpoint, changes, test=a.test, others=a.others, most=a.most)
    print(", ".join(f"{count} {name}" for name, count in counts.items()), tables(found), sep="\n\n")
    if a.output:
        write(a.output, found, counts)
        print(f"\n{a.output / 'rejection.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
