#!/bin/sh
# Installs aimock, a stand-in of OpenAI and others that its own makers keep, for tests/providers/test_aimock.py (12 MB).
#
#   tests/providers/aimock.sh
#
# Needs Node.js with npm.
set -eu

folder=${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebot-tools}/aimock
mkdir -p "$folder"
npm install --silent --no-save --prefix "$folder" @copilotkit/aimock@1.43.0
