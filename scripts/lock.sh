#!/usr/bin/env bash
# Writes constraints.txt, the lock, from pyproject.toml: core and dev, for Linux on x86_64 with Python 3.11. Pins that stand
# in the file are kept; -P below and on the command line (scripts/lock.sh -P numpy==2.4.6) move one. UV is the uv to use.
set -euo pipefail
cd "$(dirname "$0")/.."
"${UV:-.venv/bin/uv}" pip compile pyproject.toml --extra dev --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --no-annotate --custom-compile-command scripts/lock.sh --output-file constraints.txt --quiet \
    -P torch==2.14.1 -P torchvision==0.29.1 -P timm==1.0.31 "$@"
