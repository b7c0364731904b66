#!/bin/sh
# Makes this checkout ready: Debian packages, .venv, locked Python packages, the tocsin command.
#   deploy/setup.sh run     to run Tocsin
#   deploy/setup.sh test    to run and to check it
# A second call finds everything in place and ends at once. PYTHON names the interpreter (3.11 or newer).
set -eu
umask 022
cd "$(dirname "$0")/.."

purpose=${1:-run}
case $purpose in
    run) lock=requirements.lock ;;
    test) lock=requirements-dev.lock ;;
    *) echo "setup.sh takes run or test, not $purpose." >&2; exit 2 ;;
esac

stop() {
    echo "$1" >&2
    exit 1
}

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || stop "Tocsin needs Python 3.11 or newer; name one with PYTHON=/path/to/python3."

# Debian packages.
if command -v dpkg-query >/dev/null; then
    missing=""
    for package in $(sed -n "s/^run //p" deploy/packages.txt; [ "$purpose" = run ] || sed -n "s/^test //p" deploy/packages.txt); do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
    done
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    if [ -n "$missing" ] && [ "$(id -u)" = 0 ]; then
        echo "Installing Debian packages:$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # shellcheck disable=SC2086 # one word per package
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    elif [ -n "$missing" ]; then
        echo "Debian packages are missing. Run this line, then the same make again:" >&2
        stop "sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing"
    fi
else
    for program in mosquitto redis-server espeak-ng ffmpeg; do
        command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || [ -x "/usr/local/sbin/$program" ] ||
            stop "The program $program is missing; install it by this system's own means."
    done
fi

# .venv: made anew when its interpreter is gone or too old.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

# The stamp says which files the packages in .venv come from; what is there for tests serves to run as well.
wanted() {
    { echo "$PWD"; .venv/bin/python -VV; cat pyproject.toml "$1"; } | sha256sum | cut -d ' ' -f 1
}
stamped() {
    [ -x .venv/bin/tocsin ] && [ "$(cat ".venv/.$1" 2>/dev/null)" = "$(wanted "$1")" ]
}
if stamped "$lock" || { [ "$purpose" = run ] && stamped requirements-dev.lock; }; then
    exit 0
fi
echo "Installing Python packages from $lock"
rm -f .venv/.requirements.lock .venv/.requirements-dev.lock
.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
wanted "$lock" >".venv/.$lock"
