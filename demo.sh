#!/usr/bin/env bash
# From nothing to answers: sets up .venv, makes the echo phantom, trains the three stages on it, evaluates, predicts.
# Eight minutes on two CPU cores after installation; no GPU, no network but for the installation.
set -euo pipefail
cd "$(dirname "$0")"
source utils/set_up.sh
set_up requirements.txt
python=.venv/bin/python
data=data/phantom
run=output/demo

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

step "1/6  The phantom: 36 patients, 38 views, outsiders, quality grades → $data"
if [ -f $data/annotations.csv ]; then echo "$data is there already"; else $python tools/phantom.py $data; fi

step "2/6  Stage 1: which view → $run/view"
CFG=configs/phantom/view.yaml bash train_stage1.sh --output $run/view --overwrite

step "3/6  Stage 2: is it one of them at all → $run/negation"
CFG=configs/phantom/negation.yaml bash train_stage2.sh --output $run/negation --resume $run/view/best.pth --overwrite

step "4/6  Stage 3: is it good enough → $run/quality"
CFG=configs/phantom/quality.yaml bash train_qc.sh --output $run/quality --resume $run/negation/best.pth --overwrite

step "     The best checkpoint of each stage, evaluated"
CFG=$run/view/config.yaml bash train_stage1.sh --only_test --resume $run/view/best.pth
CFG=$run/negation/config.yaml bash train_stage2.sh --only_test --resume $run/negation/best.pth
CFG=$run/quality/config.yaml bash train_qc.sh --only_test --resume $run/quality/best.pth

step "5/6  One checkpoint answers all three: a study of the phantom, and a DICOM cine from a clinic"
cine=$($python -c 'from pydicom.data import get_testdata_file as file; print(file("examples_ybr_color.dcm", download=False))')
$python predict.py $data/study --resume $run/quality/best.pth --output $run/predict --report $run/study.html
$python predict.py "$cine" --resume $run/quality/best.pth --output $run/cine

step "6/6  Results"
$python tools/results.py $run/{view,negation,quality}/evaluation/*
echo
echo "The page of the study, to open in a browser: $run/study.html"
