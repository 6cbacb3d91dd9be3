#!/bin/sh
# Builds the OpenTelemetry Collector, Jaeger, Prometheus and Alertmanager from their Go modules, for the
# tests of tests/jaeger and tests/monitoring and for running without containers.
#
#   tests/jaeger/build.sh [collector] [jaeger] [prometheus] [alertmanager]     (default: all)
#
# Needs Go 1.26 and its module proxy. Binaries go to ${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-~/.cache}/imagebot-tools},
# outside the tree; one that is there in the version below is not built again.
set -eu

COLLECTOR=0.155.0    # the newest release whose Prometheus exporter the module proxy had; see builder.yaml
JAEGER=1.76.0        # the module's last version, whose cmd/jaeger is Jaeger 2.13.0: Go cannot name the 2.x tags
JAEGER_SAYS=v2.13.0
PROMETHEUS=0.316.0   # the module's number for Prometheus 3.16.0
ALERTMANAGER=0.34.2

tree=$(cd "$(dirname "$0")/../.." && pwd)
tools=${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebot-tools}
mkdir -p "$tools"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

command -v go >/dev/null || { echo "build.sh: needs Go (https://go.dev/dl)" >&2; exit 1; }

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }

# wanted NAME KEY: is the binary missing or of another version than KEY?
wanted() {
    if [ -x "$tools/$1" ] && [ "$(cat "$tools/.$1.version" 2>/dev/null)" = "$2" ]; then
        say "$1: up to date ($2)"
        return 1
    fi
    say "$1: building ($2)"
}

# built NAME KEY FILE: put the finished binary in place, in one step.
built() {
    mv "$3" "$tools/$1"
    printf '%s\n' "$2" >"$tools/.$1.version"
    say "$1: built, $(du -h "$tools/$1" | cut -f1)"
}

# install PACKAGE@VERSION [go install arguments]: into $work/bin.
install() {
    package=$1
    shift
    GOBIN="$work/bin" nice go install -trimpath -ldflags '-s -w' "$@" "$package"
}

# unpack MODULE@VERSION DIRECTORY: the module's source, to be built as the main module.
unpack() {
    source=$(cd "$work" && go mod download -json "$1" | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
    cp -r "$source" "$2"
    chmod -R u+w "$2"
}

collector() {
    manifest=$tree/observability/collector/builder.yaml
    key="$COLLECTOR $(cksum <"$manifest" | cut -d' ' -f1)"
    wanted otelcol "$key" || return 0
    install "go.opentelemetry.io/collector/cmd/builder@v$COLLECTOR"
    # The manifest names no folder: the builder's default would be inside this tree.
    sed "s|^dist:|dist:\n  output_path: $work/otelcol|" "$manifest" >"$work/builder.yaml"
    nice "$work/bin/builder" --config "$work/builder.yaml"
    built otelcol "$key" "$work/otelcol/otelcol"
}

jaeger() {
    wanted jaeger "$JAEGER" || return 0
    # Its go.mod has a `replace`, which `go install` refuses.
    # Without its JavaScript the page at :16686 is a placeholder; the query API is whole.
    unpack "github.com/jaegertracing/jaeger@v$JAEGER" "$work/jaeger"
    (
        cd "$work/jaeger"
        nice go build -trimpath -o "$work/bin/jaeger" \
            -ldflags "-s -w -X github.com/jaegertracing/jaeger/internal/version.latestVersion=$JAEGER_SAYS" ./cmd/jaeger
    )
    built jaeger "$JAEGER" "$work/bin/jaeger"
}

prometheus() {
    # Without the discovery of cloud providers, which makes most of its size.
    for name in promtool prometheus; do
        wanted "$name" "$PROMETHEUS" || continue
        install "github.com/prometheus/prometheus/cmd/$name@v$PROMETHEUS" -tags remove_all_sd
        built "$name" "$PROMETHEUS" "$work/bin/$name"
    done
}

alertmanager() {
    if wanted amtool "$ALERTMANAGER"; then
        install "github.com/prometheus/alertmanager/cmd/amtool@v$ALERTMANAGER"
        built amtool "$ALERTMANAGER" "$work/bin/amtool"
    fi
    wanted alertmanager "$ALERTMANAGER" || return 0
    # Its module lacks the built page that it embeds; an empty one takes its place.
    unpack "github.com/prometheus/alertmanager@v$ALERTMANAGER" "$work/alertmanager"
    (
        cd "$work/alertmanager"
        mkdir -p ui/app/dist
        : >ui/app/dist/index.html
        nice go build -trimpath -ldflags '-s -w' -o "$work/bin/alertmanager" ./cmd/alertmanager
    )
    built alertmanager "$ALERTMANAGER" "$work/bin/alertmanager"
}

for part in ${*:-collector jaeger prometheus alertmanager}; do
    case $part in
    collector | jaeger | prometheus | alertmanager) "$part" ;;
    *)
        echo "build.sh: unknown part: $part" >&2
        exit 2
        ;;
    esac
done
say "tools: $tools"
