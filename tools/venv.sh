#!/usr/bin/env bash
# venv.sh PYTHON FOLDER: a virtual environment with pip, also where Python comes without ensurepip.
set -euo pipefail
python=$1 folder=$2

works() { "$folder/bin/python" -c 'import pip' 2>/dev/null; }

works && exit 0
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# Debian and Ubuntu ship venv without ensurepip: it fails after making half of the folder.
if "$python" -m venv --clear "$folder" >/dev/null 2>&1 && works; then exit 0; fi

if "$python" -m virtualenv --version >/dev/null 2>&1; then
    "$python" -m virtualenv --quiet --clear "$folder" && works && exit 0
elif command -v virtualenv >/dev/null; then
    virtualenv --quiet --clear --python "$python" "$folder" && works && exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "make: $python has no ensurepip; installing python$version-venv" >&2
    apt-get update -qq || true
    apt-get install -y -qq --no-install-recommends "python$version-venv" >/dev/null ||
        apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    "$python" -m venv --clear "$folder" && works && exit 0
fi

rm -rf "$folder"
cat >&2 <<EOF
make: $python can't make a virtual environment: it comes without ensurepip, and this is not root on a machine
make: with apt. Do one of these, then run the same command again:
make:   apt-get install python$version-venv        (as root, on Debian and Ubuntu)
make:   put any virtualenv on the PATH
EOF
exit 1
