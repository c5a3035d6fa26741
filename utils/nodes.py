"""How many machines a run has, which one this is, where they meet: by NNODES, NODE_RANK, RDZV_ENDPOINT or by Slurm.

What the user sets is taken first; where it contradicts Slurm, nothing is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from echoviewclip.utils.errors import UserError, quoted

PORTS = range(20000, 30000)  # below those that systems hand out by themselves
SPECIAL_STEPS = 0xFFFFFF00  # from here on Slurm numbers batch scripts and the shells of allocations (slurm.h)
NODES, NUMBER, ENDPOINT = "NNODES", "NODE_RANK", "RDZV_ENDPOINT"


@dataclass(frozen=True)
class Nodes:
    """The machines of a run: how many, the number of this one from 0, host and port of number 0, where they meet."""

    count: int
    number: int
    host: str
    port: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Nodes | None:
        """What the environment says; None where this machine is the only one.

        Raises UserError where it contradicts itself, or names several machines without saying which this is or where
        they meet.
        """
        count = _agreed(environment, NODES, "SLURM_NNODES", "SLURM_JOB_NUM_NODES")
        _check_tasks(environment, count or 1)
        if count is None:
            for name in (NUMBER, ENDPOINT):
                if environment.get(name, "0") not in ("", "0"):
                    raise UserError(
                        f"{name} is {quoted(environment[name])}, but {NODES} is missing; set it, or neither"
                    )
        if count in (None, 1):
            return None
        number = _agreed(environment, NUMBER, "SLURM_NODEID")
        if number is None:
            raise UserError(f"{NODES} is {count}, but {NUMBER} is missing: on each node its number, 0 to {count - 1}")
        if number >= count:
            raise UserError(f"{NUMBER} is {number}, but {NODES} is {count}; nodes have the numbers 0 to {count - 1}")
        return cls(count, number, *_endpoint(environment))


def _agreed(environment: Mapping[str, str], own: str, *slurm: str) -> int | None:
    """The number that the user's variable says, or else the first of Slurm's; None where there is none."""
    said = {name: _number(name, environment[name]) for name in (own, *slurm) if environment.get(name)}
    if not said:
        return None
    name, value = next(iter(said.items()))
    other = next((theirs for theirs in slurm if theirs in said), name)
    # One machine of many may be used alone.
    if said[other] != value and not (own == NODES and value == 1):
        raise UserError(f"{name} is {value}, but {other} is {said[other]}; leave {name} out under Slurm")
    return value


def _number(name: str, text: str) -> int:
    least = 1 if name in (NODES, "SLURM_NNODES", "SLURM_JOB_NUM_NODES") else 0
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name} must be a whole number, at least {least}; found {quoted(text)}")
    return int(text)


def _check_tasks(environment: Mapping[str, str], count: int) -> None:
    """Raises UserError where Slurm has started the script more than once on a node."""
    if not in_step(environment) or not environment.get("SLURM_NTASKS", "").isdecimal():
        return
    if int(environment["SLURM_NTASKS"]) > count:
        raise UserError(
            f"srun has started {environment['SLURM_NTASKS']} tasks on {count} node{'s' * (count > 1)}, and the script "
            "itself starts a process for each GPU; ask for one task a node (--ntasks-per-node=1)"
        )


def in_step(environment: Mapping[str, str]) -> bool:
    """Whether srun has started this process.

    In a batch script itself, and in the shell of an allocation, the variables say what srun would start.
    """
    step = environment.get("SLURM_STEP_ID", "")
    return int(step) < SPECIAL_STEPS if step.isdecimal() else "SLURM_JOB_ID" not in environment


def _endpoint(environment: Mapping[str, str]) -> tuple[str, int]:
    given = environment.get(ENDPOINT, "")
    if given:
        host, _, port = given.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")  # of an IPv6 address
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UserError(f"{ENDPOINT} must be HOST:PORT, a host on which node 0 runs; found {quoted(given)}")
        return host, int(port)
    host = first_host(environment.get("SLURM_JOB_NODELIST", ""))
    job = environment.get("SLURM_JOB_ID", "")
    if not host or not job.isdecimal():
        raise UserError(f"{ENDPOINT} is missing: HOST:PORT of node 0, the same on all nodes")
    return host, port_of(job)


def first_host(hosts: str) -> str:
    """The first host of a list as Slurm writes them, such as `gpu[03-05,9],big1`; empty where there is none."""
    first = re.split(r",(?![^\[]*\])", hosts)[0].strip()
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first)


def port_of(job: str) -> int:
    """A port that all processes of a job derive alike from its number."""
    return PORTS[int(job) % len(PORTS)]
