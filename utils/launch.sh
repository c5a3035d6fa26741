# shellcheck shell=bash
# Sourced by the train scripts: starts main.py on every visible GPU, or once on the CPU. On several machines the same
# command runs once on each, with NNODES, NODE_RANK and RDZV_ENDPOINT or as one Slurm task a node (docs/scaling.md).
# Set PYTHON, GPUS or CFG to choose the interpreter, the number of processes of a machine or the configuration.
launch() { # the script's own configuration, which an evaluated checkpoint's replaces, then main.py's further arguments
  local cfg=(--default-cfg "$1")
  [ -z "${CFG:-}" ] || cfg=(-cfg "$CFG")
  shift
  local from=$PWD
  cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
  [ "$PWD" = "$from" ] || export STARTED_IN=$from # what the run then says to type next begins with a `cd`
  local python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
  local gpus=${GPUS:-$("$python" -c 'import torch; print(torch.cuda.device_count())')}
  local nodes=${NNODES:-${SLURM_NNODES:-${SLURM_JOB_NUM_NODES:-1}}}
  if [ "$gpus" -gt 1 ] || [ "$nodes${NODE_RANK:-}${RDZV_ENDPOINT:-}" != 1 ]; then
    export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH}
    exec "$python" -m echoviewclip.utils.launch "$((gpus > 1 ? gpus : 1))" main.py "${cfg[@]}" "$@"
  fi
  exec "$python" main.py "${cfg[@]}" "$@"
}
