#!/bin/sh
# Installs cog, the server of the models at Replicate, in a venv of its own, for tests/providers/test_cog.py (20 MB).
#
#   tests/providers/cog.sh
#
# Needs Python 3.11 or newer with pip; no Docker, which `cog build` would want.
set -eu

venv=${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebot-tools}/cog
[ -e "$venv/whole" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/pip" install -q cog==0.23.1 coglet==0.23.1 'pillow>=11,<13'
touch "$venv/whole"
