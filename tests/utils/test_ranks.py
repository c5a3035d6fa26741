"""A process finds its place among others by what started it: the launcher, torchrun, MPI, Slurm, or nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from echoviewclip.utils.distributed import _device_number, processes
from echoviewclip.utils.errors import UserError
from echoviewclip.utils.nodes import PORTS
from echoviewclip.utils.ranks import Place, processes_here

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "MASTER_ADDR": "gpu1",
    "MASTER_PORT": "29500",
}
PMI = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MASTER_ADDR": "fd00::1", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_PROCID": "6",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "2",
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "gpu[3-4]",
}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, Place()),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Place()),
        (TORCHRUN, Place(3, 8, 1, "env://")),
        (MPI, Place(5, 8, 1, "tcp://gpu1:29500")),
        (PMI, Place(2, 4, 0, "tcp://[fd00::1]:29500")),
        (SLURM | {"MASTER_ADDR": "gpu3-ib", "MASTER_PORT": "29500"}, Place(6, 8, 2, "tcp://gpu3-ib:29500")),
        (TORCHRUN | MPI | PMI | SLURM, Place(3, 8, 1, "env://")),  # the launcher knows best
        (MPI | SLURM | {"SLURM_PROCID": "0"}, Place(5, 8, 1, "tcp://gpu1:29500")),  # mpirun in a job of Slurm's
    ],
)
def test_a_place_among_processes(environment, place):
    assert Place.of(environment) == place


def test_where_they_meet_is_derived_from_the_job():
    place, other = Place.of(SLURM), Place.of(SLURM | {"SLURM_PROCID": "0"})
    assert (place.rank, other.rank, place.meeting) == (6, 0, other.meeting)
    host, port = place.meeting.removeprefix("tcp://").split(":")
    assert host == "gpu3" and int(port) in PORTS
    next_step = Place.of(SLURM | {"SLURM_STEP_ID": "1"})
    assert next_step.meeting != place.meeting  # which may begin before the first has let go of its port
    here = MPI | {
        "OMPI_COMM_WORLD_LOCAL_SIZE": "8",
        "PMIX_NAMESPACE": "prterun-1",
        "MASTER_ADDR": "",
        "MASTER_PORT": "",
    }
    assert Place.of(here).meeting.startswith("tcp://127.0.0.1:")


def test_an_mpi_without_a_local_number_takes_slurm_s():
    without = {name: value for name, value in PMI.items() if name != "MPI_LOCALRANKID"}
    assert Place.of(without | {"SLURM_LOCALID": "3", "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}).local == 3
    with pytest.raises(UserError, match="MPI_LOCALRANKID is missing"):
        Place.of(without)


def test_a_batch_script_itself_is_alone_whatever_srun_would_start():
    for step in ({}, {"SLURM_STEP_ID": str(0xFFFFFFFB)}):
        script = {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"} | step
        assert Place.of(script | {"SLURM_PROCID": "0"}) == Place()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "RANK must be a whole number beside RANK; it is missing"),
        (TORCHRUN | {"RANK": "8"}, "RANK is 8, but WORLD_SIZE is 8; processes count from 0"),
        (SLURM | {"SLURM_NTASKS": "x"}, "SLURM_NTASKS must be a whole number beside SLURM_PROCID; found 'x'"),
        (
            MPI | {"MASTER_ADDR": ""},
            "MASTER_ADDR is missing, and OMPI_COMM_WORLD_RANK alone does not say where process 0 runs; set it on all "
            "nodes",
        ),
        (
            MPI | {"MASTER_PORT": ""},
            "MASTER_PORT is missing: a free port of MASTER_ADDR, the same for all processes",
        ),
        (
            MPI | {"MASTER_PORT": "http"},
            "MASTER_PORT must be a port, the same for all processes; found 'http'",
        ),
    ],
)
def test_what_is_missing_or_contradicts_is_one_line(environment, message):
    with pytest.raises(UserError) as caught:
        Place.of(environment)
    assert str(caught.value) == message


PROGRAM = """
from echoviewclip.utils.distributed import gather, processes
with processes("cpu", 60):
    print(gather("a share"), flush=True)
"""


@pytest.mark.parametrize(("devices", "number"), [(1, 0), (8, 2)])
def test_a_process_that_sees_its_own_device_alone_takes_that(monkeypatch, devices, number):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert _device_number(Place.of(SLURM)) == number
    assert _device_number(Place.of(TORCHRUN)) == 1  # the launcher's see all


def test_a_port_that_is_taken_is_a_mistake(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        variables = SLURM | {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match="MASTER_PORT is taken"), processes("cpu", 5):
            pass


def test_processes_that_slurm_starts_work_together():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = SLURM | {"SLURM_NTASKS": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | variables | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for child in children:
        said, errors = child.communicate()
        lines = [line for line in said.splitlines() if not line.startswith("[Gloo]")]  # PyTorch 2.9 says that it begins
        assert (lines, child.returncode) == (["['a share', 'a share']"], 0), errors


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, 1),
        ({"LOCAL_WORLD_SIZE": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, 3),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 2),
        ({"MPI_LOCALNRANKS": "4"}, 4),
        ({"MPI_LOCALNRANKS": "0"}, 1),
        ({"MPI_LOCALNRANKS": "many"}, 1),
    ],
)
def test_processes_of_a_machine_share_its_cores(environment, count):
    assert processes_here(environment) == count
