"""What is committed: small files, no paths of one machine, nothing of the world outside this
folder, no secrets.
"""

import re
import subprocess

import pytest
from conftest import REPOSITORY

MEGABYTE = 1_000_000
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".txt",
    ".ipynb",
    ".cfg",
    ".cff",
    ".sh",
    ".csv",
    ".json",
    ".tex",
    ".svg",
    "",
}
OF_ONE_MACHINE = "|".join(
    [r"/home/[a-z]\w+/", r"/Users/\w+/", "/ro" + "ot/", "/wo" + "rk/", r"[A-Z]:\\Users"]
)
OUTSIDE = "|".join([r"\.\./sha" + "red", r"(?<![\w/])sha" + r"red/(specs|data|golden|DESIGN)"])
SECRETS = "|".join(
    [
        r"\b(ghp_|github_pat_|hf_|AKIA)[A-Za-z0-9]{16,}",
        "BEGIN [A-Z ]*PRIVATE KEY",
        r"https?://[^/\s:@\"']+:[^/\s@\"']+@",
    ]
)


def committed():
    """Tracked files, and those that would be with `git add .`; without git, all there are."""
    ask = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(ask, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository", allow_module_level=True)
    return [
        path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()
    ]


FILES = committed()
TEXTS = [path for path in FILES if path.suffix in TEXT]


def name(path):
    return path.relative_to(REPOSITORY).as_posix()


def found(pattern):
    """`file:line: text` wherever a pattern stands in a text file."""
    hits = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(pattern, line):
                hits.append(f"{name(path)}:{number}: {line.strip()[:100]}")
    return hits


def test_files_are_small():
    large = {name(path): path.stat().st_size for path in FILES if path.stat().st_size > MEGABYTE}
    assert not {file: size for file, size in large.items() if not file.startswith("data/demo/")}


def test_the_demo_photographs_are_few():
    assert (
        sum(path.stat().st_size for path in FILES if name(path).startswith("data/demo/"))
        <= 15 * MEGABYTE
    )


def test_no_path_of_one_machine():
    assert not found(OF_ONE_MACHINE)


def test_the_project_stands_alone():
    assert not found(OUTSIDE)


def test_no_number_is_still_to_come():
    """Texts hold measured numbers, no placeholders for them."""
    hits = found(
        r"\b(README_)?(EXPECT|TIME|TODO|FIXME|FIGURE|HUMAN|REPOSITORY)(_[A-Z]+|[A-Z]*\d*)\b"
    )
    assert not [hit for hit in hits if re.match(r"[^:]+\.(md|yaml|ipynb)\b", hit)]


def test_no_secrets():
    assert not found(SECRETS)


def test_what_runs_make_is_not_committed():
    made = [
        name(path)
        for path in FILES
        if re.match(r"data/(raw|tables|cache|runs)/|\.venv/", name(path))
    ]
    assert not made


def test_no_drawer_for_everything():
    assert not [
        name(path)
        for path in FILES
        if path.name in ("utils.py", "helpers.py", "misc.py", "common.py")
    ]


@pytest.mark.parametrize("file", [".ci/run", "scripts/make_env.sh", "scripts/lock.sh"])
def test_scripts_can_be_run(file):
    path = REPOSITORY / file
    assert path.stat().st_mode & 0o100, f"chmod +x {file}"
    assert "set -euo pipefail" in path.read_text()


def test_the_patterns_themselves():
    assert re.search(OF_ONE_MACHINE, "see /home/" + "ann/x")
    assert re.search(OUTSIDE, "../sha" + "red/specs")
    assert re.search(SECRETS, "https://me:word" + "@example.org/simple")
    assert not re.search(SECRETS, "https://example.org/a@b")
