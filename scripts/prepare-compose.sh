#!/bin/sh
# What docker-compose.yml mounts and git does not hold: ./secrets and ./node.toml. Existing files are kept.
# The folder is closed to others (0700). The files are 0644 because Compose mounts them as they are, and the
# containers' own users must read them.
set -eu
cd "$(dirname "$0")/.."
mkdir -p secrets
chmod 700 secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep_or_make() { [ -s "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"; chmod 644 "secrets/$1"; }
keep_or_make orthanc_password "$(random)"
keep_or_make node_token "$(random)"
# Compose would make a folder of that name if the file were absent.
[ -e node.toml ] || printf '# Settings of this site; README.md, "Connecting a scanner or PACS".\n' >node.toml
