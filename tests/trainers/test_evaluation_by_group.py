"""TEST.GROUPS from the columns of the lists to metrics.json, predictions.csv and the log."""

from __future__ import annotations

import shutil

import pytest

from echoviewclip.evaluation.prediction_files import read_predictions
from echoviewclip.tools.check_data import read_lists
from echoviewclip.utils.errors import UserError
from tests.tiny_data import OUTSIDE, VALIDATION, metrics, tiny, train


@pytest.fixture
def data(tiny_folder, tmp_path):
    """The tiny folder with lists of tables that name sites."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    lines = (folder / "val.txt").read_text().splitlines()
    rows = [[*line.rsplit(" ", 1), ("North", " South  Wing ", "")[i % 3]] for i, line in enumerate(lines)]
    (folder / "val.csv").write_text("path,label,Site\n" + "".join(f"{','.join(row)}\n" for row in rows))
    names = (folder / "ood_near.txt").read_text().split("\n")[:-1]
    (folder / "ood_near.csv").write_text("path,site\n" + "".join(f"{name},North\n" for name in names))
    return folder


def evaluated(data, tiny_runs, tmp_path, **changes):
    lists = {"DATA__VAL_FILE": "val.csv", "DATA__OOD_FILE": "ood_near.csv", "TEST__GROUPS": ["site"]}
    test = {"MODEL__RESUME": str(tiny_runs["negation"] / "last.pth"), "TEST__ONLY_TEST": True}
    return train(tiny(data, tmp_path / "run", "negation", **lists | test | changes))


def test_figures_are_given_by_the_columns_that_are_named(data, tiny_runs, tmp_path):
    run = evaluated(data, tiny_runs, tmp_path)
    (site,) = metrics(run)["by_group"]
    counts = {group["name"]: group["videos"] for group in site["groups"]}
    assert counts == {
        "North": (VALIDATION + 2) // 3 + OUTSIDE,
        "South Wing": (VALIDATION + 1) // 3,
        "(none)": VALIDATION // 3,
    }
    assert "rejected" in site["groups"][0]["metrics"]
    found = read_predictions(run)
    assert sorted(set(found.groups["site"].tolist())) == ["", "North", "South Wing"]
    assert "by site, 3 groups: " in (run / "log.txt").read_text()
    assert "<h2>By group</h2>" in (run / "report.html").read_text()


@pytest.mark.parametrize("changes", [{"TEST__GROUPS": ["vendor"]}, {"DATA__OOD_FILE": "ood_near.txt"}])
def test_a_column_that_a_list_lacks_ends_the_run_before_it_begins(data, tiny_runs, tmp_path, changes):
    says = r"val.csv: has no column 'vendor'; its columns are path, label, site"
    if "TEST__GROUPS" not in changes:
        says = r"ood_near.txt: has no column 'site'; a list of lines has none"
    with pytest.raises(UserError, match=says):
        evaluated(data, tiny_runs, tmp_path, **changes)
    assert not (tmp_path / "run").exists()


def test_a_column_of_many_values_is_no_column_of_groups(data, tiny_runs, tmp_path):
    rows = "".join(f"clip 9.avi,0,{number}\n" for number in range(51))
    (data / "val.csv").write_text("path,label,site\n" + rows)
    with pytest.raises(UserError, match=r"the column 'site' of TEST.GROUPS has 52 values, more than the 50 groups"):
        evaluated(data, tiny_runs, tmp_path)


@pytest.mark.parametrize("column", ["patient", " Path"])
def test_patients_are_no_groups(data, tmp_path, column):
    with pytest.raises(UserError, match=r"TEST\.GROUPS must name neither path nor patient"):
        tiny(data, tmp_path, TEST__GROUPS=[column])


def test_check_data_reads_the_columns_of_evaluated_lists(data, tmp_path):
    config = tiny(
        data, tmp_path, DATA__VAL_FILE="val.csv", TEST__GROUPS=["site"], DATA__LABEL_LIST=str(data / "labels.csv")
    )
    (_, training), (_, validation) = read_lists(config)[0]
    assert not training.groups and validation.groups["site"][0] == "North"
    with pytest.raises(UserError, match="has no column 'site'"):
        read_lists(tiny(data, tmp_path, TEST__GROUPS=["site"]))
