"""MLflow: a database in the run's own folder, or the place that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import re
import time
from itertools import islice

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from echoviewclip.trainers.trackers.tracker import Line, Run
from echoviewclip.utils.files import make_folder

NAME, PLACE = "mlflow", "MLFLOW_TRACKING_URI"
LINE = "line"  # the metric that counts the lines of metrics.jsonl, so that none is told twice
MOST_PARAMS = 100  # of one request


class Mlflow:
    """A run of MLflow, which its client alone begins: it takes nothing along but what is told here."""

    def __init__(self, run: Run) -> None:
        """Begins the run or goes on with it. Raises what the library raises."""
        place = os.environ.get(PLACE)
        if not place:
            place = f"sqlite:///{(make_folder(run.folder / 'mlflow') / 'mlflow.db').absolute()}"
        self._client = MlflowClient(tracking_uri=place)
        self._id = run.known_as(NAME) or self._begin(run)
        self._client.update_run(self._id, status="RUNNING")
        self.lines = int(self._client.get_run(self._id).data.metrics.get(LINE, -1)) + 1
        where = PLACE if os.environ.get(PLACE) else run.folder / "mlflow"  # an address may hold a password
        self.place = f"run {self._id} of experiment {run.project} in {where}"

    def _begin(self, run: Run) -> str:
        name = self._client.create_run(self._experiment(run.project), run_name=run.name).info.run_id
        params = (Param(key, str(value)) for key, value in run.settings.items())
        while some := list(islice(params, MOST_PARAMS)):
            self._client.log_batch(name, params=some)
        run.keep_id(NAME, name)
        return name

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        own = None if os.environ.get(PLACE) else "mlflow-artifacts:/"
        try:
            return self._client.create_experiment(name, artifact_location=own)
        except MlflowException:  # another run has made it meanwhile
            found = self._client.get_experiment_by_name(name)
            if not found:
                raise
            return found.experiment_id

    def tell(self, line: Line) -> None:
        """Sends the numbers."""
        now = int(1000 * time.time())  # ms
        numbers = {**line.values, LINE: line.number}
        metrics = [Metric(_allowed(name), float(value), now, line.step) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, finished: bool) -> None:
        """Says how the run ended."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


def _allowed(name: str) -> str:
    """A name with the characters that MLflow has for names."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
