"""The launchers of several machines find each other by torchrun's rendezvous (c10d), over one port of node 0.

Each round of it begins the run's processes anew, so a machine that was lost and is started again joins the next round.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echoviewclip.utils.errors import UserError, quoted
from echoviewclip.utils.nodes import ENDPOINT, NODES, NUMBER, Nodes

if TYPE_CHECKING:
    from torch.distributed.elastic.rendezvous import RendezvousInfo

SECONDS = 600.0  # for all nodes to come, as torchrun waits
TIMEOUT = "RDZV_TIMEOUT"  # seconds, in place of SECONDS


@dataclass(frozen=True)
class Outcome:
    """Why a node has ended the run: its number, the exit code, and the line that it printed, which may be empty."""

    node: int
    code: int
    message: str


class Ended(Exception):
    """Another node has ended the run."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True)
class Round:
    """A beginning of the run's processes: how often they have begun before, this node's first rank, and all of them."""

    attempt: int
    first: int
    world: int


class Meeting:
    """This node among those of a run. Importing torch starts threads, so signals have to be blocked before."""

    def __init__(self, nodes: Nodes, run: str = "echoviewclip") -> None:
        """`run` is a name that all nodes give. Raises UserError where RDZV_TIMEOUT is no number of seconds."""
        self.nodes, self._run = nodes, run
        text = os.environ.get(TIMEOUT, "") or str(SECONDS)
        try:
            self._seconds = int(float(text))
        except (ValueError, OverflowError):
            self._seconds = 0
        if self._seconds < 1:
            raise UserError(f"{TIMEOUT} must be a number of seconds, at least 1; found {quoted(text)}")
        # The processes meet in the store of node 0's launcher, too: one port is enough, and none is looked for twice.
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        for name in ("TORCH_CPP_LOG_LEVEL", "LOGLEVEL"):  # each attempt to connect would be a warning
            os.environ.setdefault(name, "ERROR")
        self._handler: Any = None
        self._store: Any = None
        self._met = False  # all nodes have, once

    def join(self, processes: int, attempt: int) -> Round:
        """Waits for all nodes; `processes` this one starts, for the `attempt`-th time.

        Raises Ended where a node has ended the run, and UserError where not all come in time or they contradict.
        """
        from torch.distributed import DistError
        from torch.distributed.elastic import rendezvous

        until = time.monotonic() + self._seconds
        while True:
            try:
                if self._handler is None:
                    self._connect()
                return self._agree(self._handler.next_rendezvous(), processes, attempt)
            except (rendezvous.RendezvousClosedError, rendezvous.RendezvousGracefulExitError):
                raise Ended(self._outcome()) from None
            except rendezvous.RendezvousConnectionError:
                self._handler = None  # node 0 has not begun, or was lost
                if self.nodes.number == 0:
                    raise UserError(
                        f"{ENDPOINT} {self._shown}: node 0 cannot listen there; name a host of its own and a free port"
                    ) from None
            except rendezvous.RendezvousTimeoutError:
                until = -1.0
            except DistError:
                pass  # a node was lost just now
            if time.monotonic() > until:
                raise UserError(
                    f"not all of {self.nodes.count} nodes ({NODES}) have met at {ENDPOINT} {self._shown} within "
                    f"{self._seconds} s ({TIMEOUT}); start the same command on each, and let this port through"
                )

    @property
    def _shown(self) -> str:
        return f"{self.nodes.host}:{self.nodes.port}"

    def _connect(self) -> None:
        """Raises UserError where another node counts them differently."""
        from torch.distributed.elastic.rendezvous import RendezvousParameters, c10d_rendezvous_backend
        from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

        count = self.nodes.count
        parameters = RendezvousParameters(
            "c10d",
            self._shown if ":" not in self.nodes.host else f"[{self.nodes.host}]:{self.nodes.port}",
            self._run,
            count,
            count,
            local_addr=socket.gethostname(),
            is_host=self.nodes.number == 0,
            join_timeout=self._seconds,
            read_timeout=min(60, self._seconds),
        )
        backend, self._store = c10d_rendezvous_backend.create_backend(parameters)
        self._handler = create_handler(self._store, backend, parameters)
        first = self._store.compare_set("nodes", "", str(count)).decode()
        if first != str(count):
            self._met = True
            raise UserError(f"{NODES} is {count} on node {self.nodes.number}, but {first} on another")

    def _agree(self, info: RendezvousInfo, processes: int, attempt: int) -> Round:
        """Numbers the processes by node. Raises UserError where two nodes have one number."""
        self._met = True
        info.store.set(f"node/{info.rank}", json.dumps([self.nodes.number, processes, attempt]))
        rows = sorted(json.loads(info.store.get(f"node/{rank}")) for rank in range(info.world_size))
        numbers, each, attempts = zip(*rows, strict=True)
        if list(numbers) != list(range(len(rows))):
            raise UserError(
                f"{NUMBER} is {', '.join(map(str, numbers))} on the {len(rows)} nodes; each has its own, from 0"
            )
        return Round(max(attempts), sum(each[: self.nodes.number]), sum(each))

    def lost(self) -> bool:
        """Whether the processes of this round are of no use: a node waits to begin them anew, or node 0 is gone."""
        from torch.distributed.elastic.rendezvous import RendezvousError

        try:
            return self._handler.num_nodes_waiting() > 0
        except RendezvousError:
            return True

    def ended(self) -> bool:
        """Whether a node has ended the run."""
        from torch.distributed.elastic.rendezvous import RendezvousError

        try:
            return self._handler.is_closed()
        except RendezvousError:
            return False

    def _outcome(self) -> Outcome:
        from torch.distributed import DistError

        try:
            return Outcome(**json.loads(self._store.get("outcome")))
        except (DistError, ValueError, TypeError):
            return Outcome(-1, 1, "a node has ended the run")

    def leave(self, code: int, message: str, patience: float) -> None:
        """Tells the others why this node ends; node 0, which they hear it from, waits so many seconds for them."""
        from torch.distributed import DistError
        from torch.distributed.elastic.rendezvous import RendezvousError

        until = time.monotonic() + patience
        try:
            if not self._met:
                return
            if code:
                self._store.set("outcome", json.dumps(asdict(Outcome(self.nodes.number, code, message))))
                self._handler.set_closed()
            left = self._store.add("left", 1)
            while self.nodes.number == 0 and left < self.nodes.count and time.monotonic() < until:
                time.sleep(0.05)
                left = self._store.add("left", 0)
        except (RendezvousError, DistError):
            pass  # node 0 is gone, and with it whoever would ask
