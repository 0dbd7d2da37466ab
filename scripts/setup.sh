#!/bin/sh
# All that the project needs on Debian 12 or Ubuntu: Debian packages where some are missing, a virtual environment
# in .venv with the pinned Python packages, the viewer in var/viewer. Quick when nothing changed.
#
#   scripts/setup.sh [--tests]     --tests: also what only the tests need (PostgreSQL, OpenJPH, dcm2niix, PixelMed,
#                                  Chromium)
#
# PYTHON names the interpreter (3.11); VENV the virtual environment's folder (default .venv).
set -eu
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
PACKAGES="orthanc orthanc-python orthanc-dicomweb dcmtk dicom3tools"
[ "${1:-}" = "--tests" ] && PACKAGES="$PACKAGES postgresql openjph-tools dcm2niix libpixelmed-java \
    default-jre-headless chromium"

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing_packages() {
    for package in $PACKAGES; do
        installed "$package" || printf '%s ' "$package"
    done
    # LightGBM's wheel links the system's OpenMP runtime, which a minimal Debian lacks.
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || printf 'libgomp1 '
    # Debian's Python has neither venv nor ensurepip without this package.
    "$python" -c 'import ensurepip, venv' 2>/dev/null || printf 'python3.11-venv '
}

# Debian starts and enables a service for orthanc and postgresql as soon as they are installed; this project starts
# its own processes on its own ports. So: deny starts while apt works, and disable what was new.
apt_install() {
    as_root=$1; shift
    guard=/usr/sbin/policy-rc.d
    made_guard=no
    if [ ! -e "$guard" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$guard" >/dev/null
        $as_root chmod 755 "$guard"
        made_guard=yes
    fi
    status=0
    { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@"; } || status=$?
    [ "$made_guard" = no ] || $as_root rm -f "$guard"
    [ "$status" = 0 ] || fail "apt-get could not install: $*"
    for package in "$@"; do
        case $package in orthanc | postgresql) disable_service "$as_root" "$package" ;; esac
    done
}

disable_service() {
    if [ -d /run/systemd/system ]; then
        $1 systemctl disable --now "$2"
    elif command -v update-rc.d >/dev/null 2>&1; then
        $1 update-rc.d "$2" disable
    fi
}

python=$(find_python)
[ -n "$python" ] || fail "Python 3.11 not found; install it (Debian 12: apt-get install python3 python3-venv) or set PYTHON"
command -v dpkg-query >/dev/null 2>&1 || fail "this set-up knows Debian and Ubuntu only; see README.md, 'Other systems'"

missing=$(missing_packages)
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        apt_install "" $missing
    elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        printf 'setup: installing with sudo: %s\n' "$missing" >&2
        apt_install sudo $missing
    else
        printf 'setup: these Debian packages are missing: %s\n' "$missing" >&2
        printf 'setup: install them as root with this line, then run the command again:\n' >&2
        printf '  apt-get update && apt-get install -y --no-install-recommends %s\n' "$missing" >&2
        exit 1
    fi
fi

wanted=$({ cat requirements/lock.txt pyproject.toml; "$python" -V; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$VENV/.setup-stamp" 2>/dev/null || true)" != "$wanted" ]; then
    printf 'setup: Python packages into %s (some minutes the first time)\n' "$VENV" >&2
    [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check -r requirements/lock.txt
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s\n' "$wanted" >"$VENV/.setup-stamp"
fi

# The viewer. npm fetches it, once. A node works without, and a hospital's network may reach no registry: only the
# tests insist on it.
install_viewer() {
    if ! command -v npm >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ]; then
            apt_install "" npm
        elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            apt_install sudo npm
        fi
    fi
    DICOM_NODE_VIEWER__FOLDER=var/viewer "$VENV/bin/dicom-node" viewer install >&2
}

viewer=$(sed -n 's/^ *integrity="\(.*\)",$/\1/p' dicom_node/viewer/package.py)
if ! grep -qsF "$viewer" var/viewer/installed.json; then
    printf 'setup: the viewer into var/viewer\n' >&2
    if ! (install_viewer); then
        [ "${1:-}" != "--tests" ] || fail "the tests need the viewer"
        printf 'setup: no viewer for now; later: dicom-node viewer install\n' >&2
    fi
fi
