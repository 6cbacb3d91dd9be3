#!/bin/sh
# Save all of Redis into FOLDER every EVERY seconds and keep the newest KEEP files:
#   backup.sh FOLDER EVERY KEEP        (EVERY 0: once)
# A consistent snapshot of a running Redis, checked before it counts. REDIS_HOST, REDIS_PORT say where it is.
set -eu
folder=$1 every=$2 keep=$3
umask 077
mkdir -p "$folder"

save() {
    new="$folder/.unfinished.rdb"
    file="$folder/imagebot-$(date -u +%Y%m%dT%H%M%SZ).rdb"
    redis-cli -h "${REDIS_HOST:-127.0.0.1}" -p "${REDIS_PORT:-6379}" --rdb "$new" >/dev/null || return 1
    redis-check-rdb "$new" >/dev/null || return 1
    mv "$new" "$file"
    echo "saved $file"
    # The names sort by time.
    ls "$folder" | grep '^imagebot-.*\.rdb$' | sort -r | tail -n +$((keep + 1)) | while read -r old; do
        rm "$folder/$old"
    done
}

if [ "$every" -eq 0 ]; then
    save
    exit
fi
while true; do
    save || echo "backup failed; the next try is in $every s" >&2
    sleep "$every" &
    # So that a stop ends the wait at once.
    trap 'kill $!; exit 0' TERM INT
    wait $!
done
