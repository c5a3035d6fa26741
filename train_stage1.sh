#!/usr/bin/env bash
# Stage 1: which view a video shows. Passes its arguments on, e.g. `bash train_stage1.sh --only_test --resume output/view/best.pth`.
set -euo pipefail
source "$(dirname "$0")/utils/launch.sh"
launch configs/ultracls/view.yaml "$@"
