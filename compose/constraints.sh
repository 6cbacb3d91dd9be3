#!/usr/bin/env bash
# Renew compose/constraints.txt: the newest versions that pyproject.toml allows, as plain name==version.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q '.[test]'
{
  echo "# Versions the tests passed with; made by compose/constraints.sh."
  "$dir/venv/bin/pip" freeze --exclude imagebot | grep -E '^[A-Za-z0-9._-]+==' 
} > compose/constraints.txt
wc -l compose/constraints.txt
