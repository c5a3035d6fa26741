"""What a checkpoint says about videos: `predict.py PATH… --resume CKPT [--output DIR] [--report FILE] [--sr DIR]`.

`predict.py merge DIR` joins the answers that shares of the videos (--part I/N) have left in the output folder DIR.

A PATH is a video, a DICOM object, a still image, a folder of frames, a folder that is searched for all of these, a list
of them, or a quoted pattern ("archive/**/*.dcm"), on the disk or at a URL.
Prints a table; predictions.csv and predictions.jsonl in the output folder, or predictions.parquet, hold everything.
Exit code 1 if any video could not be read, 75 if it was asked to stop. See docs/prediction.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if not __package__:  # started as a file; other packages have the names of the folders beside it, too
    sys.path[0] = str(Path(__file__).resolve().parent / "src")

if __name__ == "__main__":  # before anything that takes time is imported
    from echoviewclip.utils.huge_pages import start_with_huge_pages

    start_with_huge_pages()

from echoviewclip.utils.config import unknown_option
from echoviewclip.utils.errors import UserError, exit_code


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `changes` are the settings that it changes in the checkpoint's configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="videos, DICOM, images, folders, lists or patterns of them ('archive/**/*.dcm'), URLs",
    )
    parser.add_argument("--resume", required=True, metavar="CKPT", help="checkpoint of any stage")
    parser.add_argument("--output", default="output/predict", metavar="DIR", help="default: output/predict")
    parser.add_argument("--report", metavar="FILE", help="write the page of the study, FILE.html (docs/study.md)")
    parser.add_argument("--protocol", metavar="NAME", help="what the report expects: adult-tte, contrast, a yaml file")
    parser.add_argument("--explain", action="store_true", help="show in the report what spoke for and against a view")
    parser.add_argument(
        "--sr", metavar="DIR", help="write a DICOM structured report of each DICOM study; it names the patient"
    )
    parser.add_argument(
        "--parquet-above",
        type=int,
        metavar="N",
        help="TEST.PARQUET_ABOVE: write predictions.parquet where there are more videos (default: 1000000)",
    )
    parser.add_argument("--part", metavar="I/N", help="answer the I-th of N shares of the videos, for array jobs")
    parser.add_argument(
        "--part-size",
        type=int,
        metavar="N",
        help="write answers N videos at a time (default: 500); a prediction that goes on keeps its own",
    )
    parser.add_argument(
        "--as-is", action="store_true", help="answer raw videos without preparing them as the training videos were"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="DEVICE (default: auto)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="TRAIN.BATCH_SIZE: videos at a time")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="DATA.NUM_WORKERS: reading processes (default: a core each, at most 8)"
    )
    parser.add_argument("-cfg", "--cfg", metavar="FILE", help="yaml file, for checkpoints of the published code only")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="any settings, in pairs")
    given, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise UserError(unknown_option(unknown))
    if given.protocol and not given.report:
        raise UserError("--protocol says what a report expects; add --report study.html")
    if given.explain and not given.report:
        raise UserError("--explain draws on the pictures of a report; add --report study.html")
    if given.part_size is not None and given.part_size < 1:
        raise UserError(f"--part-size must be at least 1, found {given.part_size}")
    given.part = _share(given.part) if given.part else (1, 1)
    for option in ("report", "sr"):
        if given.part != (1, 1) and getattr(given, option):
            raise UserError(f"--{option} needs all videos at once; leave out --part")
    if not given.paths:
        raise UserError("no videos named; give files or folders (PATH), before --opts")
    if len(given.opts) % 2:
        raise UserError(f"--opts takes pairs of KEY VALUE; {given.opts[-1]!r} stands alone")
    named = {
        "DEVICE": given.device,
        "TRAIN.BATCH_SIZE": given.batch_size,
        "DATA.NUM_WORKERS": given.workers,
        "TEST.PARQUET_ABOVE": given.parquet_above,
    }
    workers = min(os.cpu_count() or 1, 8)
    # Not of the machine that trained.
    machine = [("DEVICE", "auto"), ("DATA.NUM_WORKERS", workers), ("DATA.DOWNLOAD_FOLDER", "")]
    pairs = list(zip(given.opts[::2], given.opts[1::2], strict=True))
    given.changes = machine + pairs + [(key, value) for key, value in named.items() if value is not None]
    return given


def _share(text: str) -> tuple[int, int]:
    """I/N as two numbers."""
    place, _, of = text.partition("/")
    if not (place.isascii() and place.isdigit() and of.isascii() and of.isdigit() and 1 <= int(place) <= int(of)):
        raise UserError(f"--part takes I/N with 1 ≤ I ≤ N, e.g. 3/8, not {text!r}")
    return int(place), int(of)


def merge(arguments: Sequence[str]) -> int:
    """`predict.py merge DIR`: joins the answers of all shares, without the checkpoint and the videos."""
    parser = argparse.ArgumentParser(prog="predict.py merge", description=merge.__doc__)
    parser.add_argument("folder", metavar="DIR", help="the --output of the shares")
    parser.add_argument("--parquet-above", type=int, metavar="N", help="as for predict.py (default: 1000000)")
    given = parser.parse_args(arguments)

    from echoviewclip.evaluation.prediction_files import check_can_be_saved
    from echoviewclip.inference.answers import draw_table, write_answers
    from echoviewclip.inference.shares import join_shares
    from echoviewclip.utils.config import default_config

    above = default_config().TEST.PARQUET_ABOVE if given.parquet_above is None else given.parquet_above
    parts = join_shares(given.folder)
    check_can_be_saved(given.folder, parts.total, above)
    answers = write_answers(given.folder, parts.columns(), parts.rows(), parquet=parts.total > above)
    parts.remove()
    print(draw_table(answers))
    return 1 if answers.counts.unanswered else 0


@contextmanager
def _says_if_stopped(kept: str) -> Iterator[None]:
    """Says on the main process what is `kept` of a prediction that is asked to stop."""
    from echoviewclip.utils.distributed import is_main
    from echoviewclip.utils.stopping import Stopped

    try:
        yield
    except Stopped:
        if is_main():
            print(f"stopped: {kept}", file=sys.stderr)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses, loads, answers, writes."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["merge"]:
        return merge(arguments[1:])
    given = parse(arguments)

    # Here, so that neither --help nor a mistake in the command line waits for what computes.
    from echoviewclip.datasets.intake.asked import is_searched, iterate_videos
    from echoviewclip.datasets.intake.find import summary
    from echoviewclip.datasets.reading import end_readers
    from echoviewclip.datasets.strings import GrowingStrings
    from echoviewclip.evaluation.prediction_files import check_can_be_saved
    from echoviewclip.inference.answers import draw_table, write_answers
    from echoviewclip.inference.echo_model import EchoModel
    from echoviewclip.inference.parts import SIZE, AnswerParts, question_of
    from echoviewclip.inference.predictor import load_predictor
    from echoviewclip.inference.shares import note_share
    from echoviewclip.utils.distributed import is_main, processes
    from echoviewclip.utils.files import check_writable
    from echoviewclip.utils.stopping import Stop
    from echoviewclip.utils.urls import shown

    predictor = load_predictor(given.resume, given.cfg, given.changes)
    left_out: dict[str, str] = {}
    found = iterate_videos(given.paths, left_out)
    searched = is_searched(given.paths) and not (given.report or given.sr)
    videos = found if searched else GrowingStrings().extend(found).freeze()
    above = predictor.config.TEST.PARQUET_ABOVE
    if isinstance(videos, Sequence):
        check_can_be_saved(given.output, len(videos), above)
    check_writable(given.output)
    report = structured = None
    if given.sr:
        from echoviewclip.study.structured_reports import StructuredReports

        structured = StructuredReports(given.sr, list(videos), given.resume)
    if given.report:
        from echoviewclip.study.report import StudyReport

        report = StudyReport(given.report, given.protocol, list(map(shown, given.paths)), predictor, given.explain)
    question = question_of(given.resume, given.changes, given.cfg, given.as_is)
    parts = AnswerParts(given.output, question, videos, given.part_size or SIZE)
    try:
        with (
            processes(predictor.config.DEVICE, predictor.config.TRAIN.TIMEOUT) as device,
            Stop(predictor.config.TRAIN.TIMEOUT) as stop,
        ):
            model = EchoModel(predictor, device)
            if report:  # its pictures come with the answers, so all have to come at once
                with _says_if_stopped("nothing is kept"):
                    table = model.predict_files(list(videos), as_is=given.as_is, watch=report.watch, stop=stop)
                    report.gather()
            else:
                parts.settle_size()
                if is_main() and (parts.total is None or parts.total > parts.size):
                    print(f"answers come to {parts.folder}, {parts.size} videos at a time", file=sys.stderr)
                with _says_if_stopped(f"the same command goes on from {parts.folder}"):
                    model.predict_in_parts(parts, as_is=given.as_is, share=given.part, stop=stop)
            if not is_main():
                return 0
    finally:
        end_readers()
    if given.part[1] > 1:
        note_share(parts, *given.part)
        said = f"share {given.part[0]} of {given.part[1]} is in {parts.folder}"
        print(f"{said}; when all are: predict.py merge {given.output}")
        return 0
    written = parts.written
    columns, rows = (table.columns, table) if report else (written.columns(), written.rows())
    answers = write_answers(given.output, columns, rows, parquet=(parts.total or 0) > above)
    reported = structured.write(table if report else written.rows()).summary() if structured else ""
    written.remove()
    pages = report.write(table) if report else []
    print(draw_table(answers, pages[:3]))
    print("".join(f"left out: {line}\n" for line in summary(left_out.values())), end=reported)
    return 1 if answers.counts.unanswered else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
