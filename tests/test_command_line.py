"""main.py: its options, and one line with exit code 2 for whatever the user can correct."""

from __future__ import annotations

import subprocess
import sys

import pytest

from echoviewclip import main, predict
from echoviewclip.utils.errors import UserError, exit_code
from tests.tiny_data import tiny_options, undisturbed_logging

VIEW = "configs/phantom/view.yaml"


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs main.py's `main` in this process: exit code and what it said on standard error."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        with undisturbed_logging():
            code = exit_code(main.main)
        return code, capsys.readouterr().err

    return run


def words(folder, output, **changes) -> list[str]:
    return ["--opts", *(str(word) for pair in tiny_options(folder, output, **changes) for word in pair)]


@pytest.mark.parametrize("program", ["main.py", "predict.py"])
def test_help_waits_for_nothing_that_computes(program):
    told = subprocess.run([sys.executable, "-X", "importtime", program, "--help"], capture_output=True, text=True)
    assert told.returncode == 0 and told.stdout.startswith("usage: ")
    loaded = {line.rsplit("|")[-1].strip() for line in told.stderr.splitlines()}
    assert not loaded & {"torch", "numpy", "open_clip", "sklearn", "av", "pydicom"}


def test_the_options_are_settings_and_win_over_opts(monkeypatch):
    arguments = "-cfg a.yaml --output o --resume r --pretrained p --only_test --explain --overwrite --batch-size 3"
    arguments += " --accumulation-steps 4"
    monkeypatch.setattr(sys, "argv", ["main.py", *arguments.split(), "--opts", "OUTPUT", "x", "TRAIN.LR", "1e-3"])
    given = main.parse()
    assert (given.cfg, given.default_cfg, given.overwrite) == ("a.yaml", None, True)
    assert dict(given.changes) == {
        "TRAIN.LR": "1e-3",
        "OUTPUT": "o",
        "MODEL.RESUME": "r",
        "MODEL.PRETRAINED": "p",
        "TEST.ONLY_TEST": True,
        "TEST.EXPLAIN": True,
        "TRAIN.BATCH_SIZE": 3,
        "TRAIN.ACCUMULATION_STEPS": 4,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--epochs 5", "no option --epochs; the setting is --opts TRAIN.EPOCHS 5"),
        ("--lr=1e-4", "no option --lr; the setting is --opts TRAIN.LR 1e-4"),
        ("--num-frames", "no option --num-frames; the setting is --opts DATA.NUM_FRAMES VALUE"),
        ("--arch tiny --epochs 5", "no option --arch; the setting is --opts MODEL.ARCH tiny"),
        ("--colour red", "no option --colour; --help lists them"),
        ("--explain", "--explain shows why a checkpoint decided as it did: evaluate one, --only_test --resume CKPT"),
        ("mine.yaml", "'mine.yaml' belongs to no option; --help lists them"),
    ],
)
def test_an_option_that_is_not_there_names_the_setting(command, arguments, message):
    assert command("-cfg", VIEW, *arguments.split()) == (2, f"error: {message}\n")


def test_predict_names_the_setting_too(capsys):
    arguments = ["a.avi", "--resume", "b.pth", "--num-clip", "4"]
    assert exit_code(lambda: predict.main(arguments)) == 2
    assert capsys.readouterr().err == "error: no option --num-clip; the setting is --opts TEST.NUM_CLIP 4\n"


def test_options_that_are_not_given_set_nothing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "--cfg", "a.yaml"])
    given = main.parse()
    assert (given.cfg, given.default_cfg, given.changes, given.overwrite) == ("a.yaml", None, [], False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-cfg", "no.yaml"], "no.yaml: no such configuration file (-cfg, or BASE of another file)"),
        (["-cfg", VIEW, "--opts", "TRAIN.LR"], "--opts takes pairs of KEY VALUE; 'TRAIN.LR' stands alone"),
        (["-cfg", VIEW, "--opts", "TRAIN.LRR", "1"], "command line: unknown key TRAIN.LRR; did you mean TRAIN.LR?"),
        (["-cfg", VIEW, "--opts", "SEED", "x"], "command line: SEED must be a whole number, found 'x'"),
        (["-cfg", VIEW, "--batch-size", "0"], "TRAIN.BATCH_SIZE must be at least 1; found 0"),
        (
            ["-cfg", VIEW, "--opts", "DATA.NUM_CLASSES", "5"],
            "DATA.NUM_CLASSES is 5, but labels/ultracls.csv names 38; make them agree",
        ),
        (
            ["-cfg", VIEW, "--opts", "DATA.NUM_QUALITIES", "5"],
            "DATA.NUM_QUALITIES is 5, but labels/quality.csv names 3; make them agree",
        ),
        (
            ["-cfg", VIEW, "--opts", "DATA.LABEL_LIST", "no.csv"],
            "no.csv: no such label list (DATA.LABEL_LIST, DATA.QUALITY_LIST)",
        ),
        (
            ["-cfg", VIEW, "--only_test"],
            "--only_test evaluates a checkpoint: name it with --resume CKPT (MODEL.RESUME)",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(command, arguments, message):
    assert command(*arguments) == (2, f"error: {message}\n")


def test_files_that_are_missing_are_named(command, tiny_folder, tmp_path):
    options = words(tiny_folder, tmp_path, DATA__VAL_FILE="")
    assert command("-cfg", VIEW, *options) == (
        2,
        "error: DATA.VAL_FILE is empty: name a list of videos (path label per line)\n",
    )
    options = words(tiny_folder, tmp_path, DATA__TRAIN_FILE="no.txt")
    assert command("-cfg", VIEW, *options) == (
        2,
        f"error: no such list of videos: no.txt nor {tiny_folder}/no.txt (DATA.TRAIN_FILE, VAL_FILE, OOD_FILE)\n",
    )
    options = words(tiny_folder, tmp_path)
    assert command("-cfg", VIEW, "--only_test", "--resume", "no.pth", *options) == (
        2,
        "error: no.pth: no such checkpoint (--resume, MODEL.RESUME)\n",
    )


def test_as_a_process_it_ends_with_code_2_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "main.py", "-cfg", VIEW, "--opts", "TRAIN.LEARNING_RATE", "1"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "error: command line: unknown key TRAIN.LEARNING_RATE; docs/config.md lists every key\n",
    )


def test_the_configuration_must_be_named(command, capsys):
    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 2
    assert "the following arguments are required: -cfg/--cfg" in capsys.readouterr().err


def test_exit_codes(capsys):
    def mistake():
        raise UserError("what to do")

    def interrupt():
        raise KeyboardInterrupt

    assert (exit_code(lambda: None), exit_code(lambda: 3), exit_code(mistake), exit_code(interrupt)) == (0, 3, 2, 130)
    assert capsys.readouterr().err == "error: what to do\ninterrupted\n"
