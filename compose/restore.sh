#!/bin/sh
# Make a backup the content of a Redis that is not running and has no data:
#   restore.sh FILE.rdb FOLDER         (FOLDER: what Redis calls `dir`)
# With `appendonly yes` Redis reads only its append-only files, so the backup becomes the base of those.
set -eu
file=$1 folder=$2
if [ -e "$folder/appendonlydir" ]; then
    echo "restore: $folder has data; move its appendonlydir away first" >&2
    exit 1
fi
redis-check-rdb "$file" >/dev/null || { echo "restore: $file is not a whole backup" >&2; exit 1; }
mkdir "$folder/appendonlydir"
cp "$file" "$folder/appendonlydir/appendonly.aof.1.base.rdb"
echo "file appendonly.aof.1.base.rdb seq 1 type b" >"$folder/appendonlydir/appendonly.aof.manifest"
if [ "$(id -u)" = 0 ] && id redis >/dev/null 2>&1; then
    chown -R redis "$folder/appendonlydir"
fi
echo "restored $file"
