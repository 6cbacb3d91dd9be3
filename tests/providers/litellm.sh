#!/bin/sh
# Installs the LiteLLM proxy in a venv of its own, for tests/providers/test_litellm.py (325 MB, a minute).
#
#   tests/providers/litellm.sh
#
# Needs Python 3.11 or newer with pip. `litellm[proxy]` cannot be had: it needs `litellm-proxy`, which is not on PyPI. So
# what the proxy needs is named here.
set -eu

venv=${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebot-tools}/litellm
[ -e "$venv/whole" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/pip" install -q \
    litellm==1.110.2 litellm-proxy-extras==0.4.110 litellm-enterprise==0.1.83 \
    'uvicorn>=0.33,<1' 'uvloop>=0.22.1,<1' 'fastapi>=0.136.3,<1' 'starlette>=1.0.1,<2' 'gunicorn>=23,<24' \
    'backoff>=2.2.1,<3' 'pyyaml>=6.0.3,<7' 'rq>=2.7,<3' 'orjson>=3.11.6,<4' 'hiredis>=3,<4' 'apscheduler>=3.11.2,<4' \
    'fastapi-sso>=0.19,<1' 'pyjwt>=2.13,<3' 'python-multipart>=0.0.27,<1' 'cryptography>=49,<51' 'pynacl>=1.6.2,<2' \
    'websockets>=15.0.1,<16' 'restrictedpython>=8.5,<9' 'rich>=13.9.4,<14' 'mcp>=2.3,<3' 'httpx2>=2.10,<3' \
    'semver>=3,<4' 'expression>=5.8,<6' 'soundfile>=0.12.1,<1'
touch "$venv/whole"
