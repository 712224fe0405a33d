#!/usr/bin/env bash
# The files of this folder, from the root of the checkout: half an hour on two cores.
set -euo pipefail
python tools/reproduce.py --suite mini --tasks depth --rows teacher --seeds 0 --record work_dirs/teachers
for name in vitb_depth; do
    python tools/checkpoint.py convert "work_dirs/mini/seed0/$name/weights.pth" \
        "configs/shapes/teachers/$name.safetensors" --to same --half --force
done
