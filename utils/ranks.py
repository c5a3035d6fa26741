"""This process among those of a run, as whatever started it says: utils.launch, torchrun, MPI or Slurm."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from echoviewclip.utils.errors import UserError, quoted
from echoviewclip.utils.nodes import PORTS, first_host, in_step

# Set by utils.launch on several machines: where in the store of node 0's launcher the processes meet. It outlives them,
# so that those that begin again need another place than those before, whose addresses it still holds.
STORE = "RUN_STORE_PREFIX"

# Rank, processes, number on its machine; in the order in which they are believed. MPI's processes also have the
# variables of the Slurm job in which mpirun runs, and the launcher's those of both.
STARTERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)
# How many of them run on this machine; Slurm binds tasks to their share of the cores instead.
TOGETHER = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
# What is the same for all processes of a job, and another for the next.
JOBS = ("SLURM_JOB_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_ess_jobid", "PMI_JOBID")


@dataclass(frozen=True)
class Place:
    """This process: its number of how many, its number on its machine, and where they meet.

    `meeting` is an `init_method` of torch.distributed; empty where the process is alone.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    meeting: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """What the environment says. Raises UserError where variables are missing or contradict each other."""
        for rank, world, local in STARTERS:
            if world == "SLURM_NTASKS" and not in_step(environment):
                continue
            if environment.get(world, "1") != "1":
                numbers = [_number(environment, name, rank) for name in (rank, world)]
                number, count = numbers
                if number >= count:
                    raise UserError(f"{rank} is {number}, but {world} is {count}; processes count from 0")
                own = _number(environment, local, rank) if local in environment else 0
                if local not in environment and rank != "RANK":
                    own = _local(environment, local)
                return cls(number, count, own, _meeting(environment, rank))
        return cls(local=int(environment.get("LOCAL_RANK", 0)))


def processes_here(environment: Mapping[str, str]) -> int:
    """How many of the run's processes share this machine, as far as their starter says it; else 1."""
    said = (environment.get(name, "") for name in TOGETHER)
    return next((int(text) for text in said if text.isdecimal() and int(text)), 1)


def _number(environment: Mapping[str, str], name: str, of: str) -> int:
    text = environment.get(name, "")
    if not text.isdecimal():
        found = f"found {quoted(text)}" if text else "it is missing"
        raise UserError(f"{name} must be a whole number beside {of}; {found}")
    return int(text)


def _local(environment: Mapping[str, str], name: str) -> int:
    """Process managers that say PMI_RANK do not all say the number on the machine; Slurm does, where it is one."""
    if environment.get("SLURM_LOCALID", "").isdecimal() and in_step(environment):
        return int(environment["SLURM_LOCALID"])
    raise UserError(f"{name} is missing: the number of this process on its machine, which chooses its GPU")


def _meeting(environment: Mapping[str, str], rank: str) -> str:
    """Where the processes meet: MASTER_ADDR and MASTER_PORT, or what the job's own variables say."""
    if rank == "RANK":
        return "env://"
    host = environment.get("MASTER_ADDR") or first_host(
        environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    )
    if not host and environment.get("OMPI_COMM_WORLD_LOCAL_SIZE") == environment.get("OMPI_COMM_WORLD_SIZE", ""):
        host = "127.0.0.1"  # all on this machine
    if not host:
        raise UserError(
            f"MASTER_ADDR is missing, and {rank} alone does not say where process 0 runs; set it on all nodes"
        )
    port = environment.get("MASTER_PORT") or _port(environment)
    if not re.fullmatch(r"\d{1,5}", port):
        raise UserError(f"MASTER_PORT must be a port, the same for all processes; found {quoted(port)}")
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _port(environment: Mapping[str, str]) -> str:
    job = next((environment[name] for name in JOBS if environment.get(name)), None)
    if job is None:
        raise UserError("MASTER_PORT is missing: a free port of MASTER_ADDR, the same for all processes")
    return str(PORTS[zlib.crc32(f"{job}.{environment.get('SLURM_STEP_ID', '')}".encode()) % len(PORTS)])
