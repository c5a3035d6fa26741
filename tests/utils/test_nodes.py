"""Which machines a run has: by NNODES, NODE_RANK and RDZV_ENDPOINT, or by Slurm's variables; mistakes are one line."""

from __future__ import annotations

import pytest

from echoviewclip.utils.errors import UserError
from echoviewclip.utils.nodes import PORTS, Nodes, first_host, port_of

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_NODEID": "2",
    "SLURM_JOB_NODELIST": "gpu[07-09,12]",
    "SLURM_NTASKS": "4",
}


def mistake(environment: dict[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        Nodes.of(environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NNODES": "1"},
        {"NNODES": "1", "NODE_RANK": "0", "RDZV_ENDPOINT": "here:1234"},
        {"NODE_RANK": "0"},
        {"SLURM_NNODES": "1", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"},
        SLURM | {"NNODES": "1", "SLURM_NTASKS": "1"},
    ],
)
def test_a_machine_may_be_alone(environment):
    assert Nodes.of(environment) is None


def test_the_user_names_the_machines():
    given = {"NNODES": "2", "NODE_RANK": "1", "RDZV_ENDPOINT": "big1.example:29400"}
    assert Nodes.of(given) == Nodes(2, 1, "big1.example", 29400)
    assert Nodes.of(given | {"RDZV_ENDPOINT": "[fd00::1]:29400"}) == Nodes(2, 1, "fd00::1", 29400)


def test_slurm_names_the_machines():
    assert Nodes.of(SLURM) == Nodes(4, 2, "gpu07", port_of("4711"))
    step = SLURM | {"SLURM_NNODES": "3", "SLURM_NTASKS": "3"}  # srun of fewer nodes than the job has
    assert Nodes.of(step) == Nodes(3, 2, "gpu07", port_of("4711"))
    own = SLURM | {"RDZV_ENDPOINT": "gpu07-ib:29400"}
    assert Nodes.of(own) == Nodes(4, 2, "gpu07-ib", 29400)
    assert port_of("4711") in PORTS and port_of("4711") != port_of("4712")


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu[07-09,12],big1", "gpu07"),
        ("big1,gpu[07-09]", "big1"),
        ("r[2-3]n[10,12-14]", "r2n10"),
        ("gpu-a[1]-ib,x", "gpu-a1-ib"),
        ("", ""),
    ],
)
def test_the_first_host_of_slurm_s_list(hosts, first):
    assert first_host(hosts) == first


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NNODES": "two"}, "NNODES must be a whole number, at least 1; found 'two'"),
        ({"NNODES": "0"}, "NNODES must be a whole number, at least 1; found '0'"),
        ({"NODE_RANK": "1"}, "NODE_RANK is '1', but NNODES is missing; set it, or neither"),
        ({"RDZV_ENDPOINT": "a:1"}, "RDZV_ENDPOINT is 'a:1', but NNODES is missing; set it, or neither"),
        ({"NNODES": "2"}, "NNODES is 2, but NODE_RANK is missing: on each node its number, 0 to 1"),
        ({"NNODES": "2", "NODE_RANK": "2"}, "NODE_RANK is 2, but NNODES is 2; nodes have the numbers 0 to 1"),
        ({"NNODES": "2", "NODE_RANK": "-1"}, "NODE_RANK must be a whole number, at least 0; found '-1'"),
        (
            {"NNODES": "2", "NODE_RANK": "0"},
            "RDZV_ENDPOINT is missing: HOST:PORT of node 0, the same on all nodes",
        ),
        (
            {"NNODES": "2", "NODE_RANK": "0", "RDZV_ENDPOINT": "here"},
            "RDZV_ENDPOINT must be HOST:PORT, a host on which node 0 runs; found 'here'",
        ),
        (
            {"NNODES": "2", "NODE_RANK": "0", "RDZV_ENDPOINT": "here:70000"},
            "RDZV_ENDPOINT must be HOST:PORT, a host on which node 0 runs; found 'here:70000'",
        ),
        (SLURM | {"NNODES": "2"}, "NNODES is 2, but SLURM_JOB_NUM_NODES is 4; leave NNODES out under Slurm"),
        (SLURM | {"NODE_RANK": "1"}, "NODE_RANK is 1, but SLURM_NODEID is 2; leave NODE_RANK out under Slurm"),
        (
            SLURM | {"SLURM_NTASKS": "32"},
            "srun has started 32 tasks on 4 nodes, and the script itself starts a process for each GPU; ask for one "
            "task a node (--ntasks-per-node=1)",
        ),
        (
            SLURM | {"SLURM_JOB_NODELIST": ""},
            "RDZV_ENDPOINT is missing: HOST:PORT of node 0, the same on all nodes",
        ),
    ],
)
def test_what_is_missing_or_contradicts_is_one_line(environment, message):
    assert mistake(environment) == message


def test_tasks_of_a_batch_script_itself_are_those_that_srun_would_start():
    inside = SLURM | {"SLURM_NTASKS": "32", "SLURM_NODEID": "0"}
    shell = inside | {"SLURM_STEP_ID": str(0xFFFFFFFA)}  # an interactive step
    del inside["SLURM_STEP_ID"]
    assert Nodes.of(inside) == Nodes.of(shell) == Nodes(4, 0, "gpu07", port_of("4711"))
