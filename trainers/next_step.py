"""What comes after a training: the command for it, with the paths of this run, tried out as far as lists go."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

import echoviewclip
from echoviewclip.trainers.data import check_targets, check_validation, read_list
from echoviewclip.trainers.folder import holds_run
from echoviewclip.trainers.saving import BEST, LAST
from echoviewclip.utils.config import load_config
from echoviewclip.utils.config.choices import STAGES
from echoviewclip.utils.distributed import world
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.files import find_own

PACKAGE = Path(echoviewclip.__file__).parent
STARTED_IN = "STARTED_IN"  # the folder of whoever called the script that went to this one (utils/launch.sh)
LISTS = ("DATA.TRAIN_FILE", "DATA.VAL_FILE", "DATA.OOD_FILE")
LIST_FORMATS = (".csv", ".json", ".txt")
# What a user set for one stage that the next shares: the data, the model, the machine. The recipe is each stage's own.
SHARED = (
    *("DEVICE", "SEED", "TRAIN.BATCH_SIZE", "TRAIN.ACCUMULATION_STEPS", "TRAIN.GLOBAL_BATCH"),
    *("TRAIN.OPT_LEVEL", "TRAIN.TIMEOUT"),
)


@dataclass(frozen=True)
class Call:
    """How a training was called: the yaml file, and the settings over it."""

    file: str
    changes: Sequence[tuple[str, Any]] = ()


def next_command(config: CfgNode, call: Call) -> str:
    """The command to paste after a training of `config`; empty where nothing that it would need is there.

    Stage view is followed by stage negation, that by an evaluation on the test list or, where there is none, by stage
    quality, and stage quality by predictions.
    """
    checkpoint = trained_checkpoint(config)
    words = None
    if config.STAGE == "view":
        words = _next_stage(config, call, checkpoint)
    elif config.STAGE == "negation":
        words = _test(config, checkpoint) or _next_stage(config, call, checkpoint)
    words = words or _predictions(config, checkpoint)
    elsewhere = os.environ.get(STARTED_IN, os.getcwd()) != os.getcwd()
    return f"{shlex.join(['cd', os.getcwd()])} && " * elsewhere + shlex.join(words) if words else ""


def trained_checkpoint(config: CfgNode) -> Path:
    """The best checkpoint of a run, or the last where no evaluation has chosen one."""
    best = Path(config.OUTPUT) / BEST
    return best if best.is_file() else best.with_name(LAST)


def _next_stage(config: CfgNode, call: Call, checkpoint: Path) -> list[str] | None:
    stage = STAGES[STAGES.index(config.STAGE) + 1]
    shared = [(key, value) for key, value in call.changes if key in SHARED or key.startswith(("DATA.", "MODEL."))]
    shared = [(key, value) for key, value in shared if key != "MODEL.RESUME"]
    own_lists = [(key, value) for key, value in shared if key not in LISTS]
    # The lists of a stage that learns from others are named in its file; those of the first serve where none are there.
    for file, extra in _files_of(stage, Path(call.file), config):
        for carried in (own_lists, shared) if stage == "quality" else (shared,):
            output = _free_folder(config, file, stage, carried, given=any(key == "OUTPUT" for key, _ in call.changes))
            options = [*carried, *extra, ("OUTPUT", output), ("MODEL.RESUME", checkpoint)]
            with suppress(UserError):
                _check_lists(load_config(file, [(key, _plain(value)) for key, value in options]))
                return [*_main(), "-cfg", str(file), "--opts", *(word for pair in options for word in map(_word, pair))]
    return None


def _files_of(stage: str, file: Path, config: CfgNode) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """Configurations of a stage, each with settings over it: that beside the run's own, or the run's own made over."""
    with suppress(OSError):
        for beside in sorted(find_own(file).parent.glob("*.yaml")):
            with suppress(UserError):
                if stage == load_config(beside).STAGE:
                    yield file.parent / beside.name, []
    yield Path(config.OUTPUT) / "config.yaml", [("STAGE", stage)]


def _free_folder(config: CfgNode, file: Path, stage: str, carried: Sequence[tuple[str, Any]], given: bool) -> Path:
    """Where the stage's run goes: as its file says, or, where this run's was given, beside that; one without a run."""
    output = Path(config.OUTPUT)
    folder = output.with_name(stage if output.name == config.STAGE else f"{output.name}-{stage}")
    if not given and find_own(file).parent != output:
        with suppress(UserError):
            folder = Path(load_config(file, carried).OUTPUT)
    free, number = folder, 1
    while holds_run(free):
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _check_lists(config: CfgNode) -> None:
    """Raises UserError where a run could not read its lists, or not learn from them."""
    train = read_list(config, config.DATA.TRAIN_FILE, "DATA.TRAIN_FILE")
    check_targets(train, score=config.STAGE == "quality" and config.DATA.QUALITY_TARGET == "score")
    check_validation(read_list(config, config.DATA.VAL_FILE, "DATA.VAL_FILE"), config)
    for file in filter(None, map(str.strip, config.DATA.OOD_FILE.split(","))):
        read_list(config, file, "DATA.OOD_FILE", outsiders=True)


def _test(config: CfgNode, checkpoint: Path) -> list[str] | None:
    """The evaluation on the list `test` of the data, where it is there and is not the validation list."""
    names = [f"test{suffix}" for suffix in LIST_FORMATS]
    found = next((name for name in names if (Path(config.DATA.ROOT) / name).is_file()), None)
    if found is None or Path(config.DATA.VAL_FILE).name == found:
        return None
    tested = config.clone()
    tested.defrost()
    tested.DATA.VAL_FILE = found
    with suppress(UserError):
        check_validation(read_list(tested, found, "DATA.VAL_FILE"), tested)
        return [*_main(), "--only_test", "--resume", str(checkpoint), "--opts", "DATA.VAL_FILE", found]
    return None


def _predictions(config: CfgNode, checkpoint: Path) -> list[str] | None:
    videos = Path(config.DATA.ROOT) / "videos"
    folder = videos if videos.is_dir() else videos.parent
    return [*_program("predict"), str(folder), "--resume", str(checkpoint)] if folder.is_dir() else None


def _main() -> list[str]:
    """main.py on as many processes of this machine as now."""
    words = _program("main")
    if world() == 1:
        return words
    search = f"PYTHONPATH={_shown(PACKAGE.parent)}"
    return [search, words[0], "-m", "echoviewclip.utils.launch", _processes_here(), *words[1:]]


def _processes_here() -> str:
    return os.environ.get("LOCAL_WORLD_SIZE") or str(world())


def _program(name: str) -> list[str]:
    """How to start main.py or predict.py as this process was started: a file of a clone, or an installed command."""
    started = Path(sys.argv[0])
    if started.name == "echoview-train" and world() == 1:
        return [f"echoview-{'train' if name == 'main' else name}"]
    folder = started.parent if started.name == "main.py" else PACKAGE
    found = shutil.which("python")
    same = found is not None and os.path.abspath(found) == os.path.abspath(sys.executable)
    return ["python" if same else _shown(Path(sys.executable)), _shown(folder / f"{name}.py")]


def _shown(path: Path) -> str:
    """A path as a person in this folder writes it."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _word(value: Any) -> str:
    """A setting as `--opts` reads it."""
    return str(_plain(value))
