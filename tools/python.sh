#!/usr/bin/env bash
# python.sh: print the newest usable interpreter from 3.11 to 3.13.
set -euo pipefail

# Run each: a pyenv shim stands on the PATH for versions that are not active, and fails.
for name in python3.13 python3.12 python3.11 python3 python; do
    for python in $(type -aP "$name" || true); do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            "$python" -c 'import sys; print(sys.executable)'
            exit 0
        fi
    done
done

cat >&2 <<EOF
make: no Python from 3.11 to 3.13 on the PATH. Install one, or name it: make PYTHON=/path/to/python3.12 ...
make:   apt-get install python3 python3-venv        (as root, on Debian 12 or Ubuntu 24.04)
EOF
exit 1
