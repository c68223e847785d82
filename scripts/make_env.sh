#!/usr/bin/env bash
# Builds .venv from the lock (constraints.txt), called by `make env`. Measured on 2 cores with a warm registry: uv 28 s,
# pip 134 s; hence uv, which pip fetches first, and pip alone where there is no uv. pip's configured index is handed on.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
    for python in "${BASE_PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    echo "error: Python >= 3.11 is needed; ${BASE_PYTHON:-python3} is $("${BASE_PYTHON:-python3}" --version 2>&1 || true)." \
        "Install one and name it: make env BASE_PYTHON=/path/to/python3.11" >&2
    return 1
}

python=$(find_python)
echo "env: making .venv with $("$python" --version) at $python, packages as constraints.txt pins them (about 7 GB)"
[ -x .venv/bin/python ] || rm -rf .venv
if ! "$python" -m venv .venv; then
    rm -rf .venv
    echo "error: $python cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
fi

pip=(.venv/bin/python -m pip --disable-pip-version-check)
if "${pip[@]}" install --quiet --constraint constraints.txt uv; then
    for scope in :env: user site global; do # the index pip is told to use, in pip's own order of precedence
        index=$("${pip[@]}" config get "$scope.index-url" 2>/dev/null || true)
        [ -z "$index" ] || [ -n "${UV_DEFAULT_INDEX:-}" ] || export UV_DEFAULT_INDEX="$index"
    done
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
    # Compiled once: where Python is told to write no bytecode, each of a test's many processes would
    # compile torch and timm anew, which triples the seconds of an import.
    if .venv/bin/uv pip install --python .venv/bin/python --constraint constraints.txt --editable ".[dev]" \
        --compile-bytecode --quiet; then
        echo "env: .venv is ready after $SECONDS s"
        exit 0
    fi
    echo "env: uv did not succeed, pip takes over (some minutes)"
fi
"${pip[@]}" install --quiet --constraint constraints.txt --editable ".[dev]"
echo "env: .venv is ready after $SECONDS s"
