"""Every fenced command of the README works: run, checked, or in a list here with the reason why
not.

A fence with `<!-- run -->` on the line before it is executed. `make <target>` is checked with `make
-n`, `python -m iqa_core run <experiment>` and papermill lines by their files; the rest must match
ELSEWHERE."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from iqa_core.apps import execute
from iqa_core.datasets import list_datasets
from iqa_core.distortions import list_distortions
from iqa_core.models import list_models, published

READMES = [path for path in sorted(REPOSITORY.glob("README*.md")) if path.is_file()]
SHELL = {"bash", "sh", "shell", "console", "powershell", "bat", ""}
ELSEWHERE = {  # pattern of the whole command: why it is not run here
    r"torchrun .* -m iqa_core train \S+": "needs several machines; test_distributed.py runs it on one",
    r"git clone \S+( \S+)?": "needs a server",
    r"cd \S+": "only of use after git clone",
    r"(python3?|py)(\.\d+| -3\.\d+)? -m venv \.venv": "make env does it",
    r"(source|\.) \.venv/bin/activate|\.venv[\\/]Scripts[\\/](activate|Activate\.ps1)": "changes the shell it is typed in",
    r"(python3? -m )?pip install .*-e [\"']?\.(\[[\w,]+\])?[\"']?( .*)?": "downloads; make env does the same with the lock",
    r"(python3? -m )?pip install torch\S* torchvision\S* --index-url \S+": "downloads; wheels for one CUDA version",
    r"conda env create -f environment\.yml|conda activate iqa": "another package manager; test_environment.py reads the file",
    r"(sudo )?apt-get install .*": "changes the system",
    r"jupyter lab( .*)?": "a server",
}


def fences(text):
    """(language, lines, marked) of every fenced block; marked: `<!-- run -->` stands on the line
    before it.
    """
    pattern = r"(<!-- run -->[ \t]*\n+)?^[ \t]*```(\w*)[^\n]*\n(.*?)^[ \t]*```[ \t]*$"
    for mark, language, body in re.findall(pattern, text, flags=re.MULTILINE | re.DOTALL):
        yield language, commands(body), bool(mark)


def commands(body):
    """Commands of a block: continued lines joined, prompts and comments removed."""
    joined = re.sub(r"[ \t]*\\\n\s*", " ", body)
    lines = (
        re.sub(r"(^|\s+)#\s.*$", "", line.strip().removeprefix("$ ")).strip()
        for line in joined.splitlines()
    )
    return [part.strip() for line in lines if line for part in line.split(" && ")]


def fault(command):
    """Why a command that is not run is not known to work; None where it is."""
    words = shlex.split(command, posix=not command.startswith(".venv\\"))
    if words[0] == "make":
        done = subprocess.run(
            ["make", "-n", *words[1:], f"PYTHON={sys.executable}"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        return None if done.returncode == 0 else done.stderr.strip()
    verb = re.fullmatch(r"\S*python3? -m iqa_core (?:run|train) (\S+)(.*)", command)
    if verb:
        given = [after for word, after in zip(words, words[1:], strict=False) if word == "--set"]
        execute.plan(verb[1], root=REPOSITORY, overrides=execute.parse_overrides(given))
        return None
    weights = re.fullmatch(
        r"\S*python3? -m iqa_core weights (?:get|convert) (?:\S+ )?(?:--model )?([\w.-]+)( --set "
        r".*)?",
        command,
    )
    if weights:  # servers and files of others; test_weights.py runs both verbs
        known = {row.name for row in published.rows()} | set(list_models())
        return None if weights[1] in known else f"there are no weights {weights[1]}"
    data = re.fullmatch(
        r"\S*python3? -m iqa_core data (?:get|check) (\S+)|\S*python3? -m iqa_core data distort "
        r"(.*)",
        command,
    )
    if data:  # servers and files of others; test_raw_data.py runs the verbs
        known, named = (
            (list_datasets(), [data[1]])
            if data[1]
            else (list_distortions(), re.findall(r"--name (\S+)", data[2]))
        )
        return None if set(named) <= set(known) else f"there is no {', '.join(named)}"
    if Path(words[0]).name == "papermill":
        missing = [
            word
            for word in words
            if word.startswith(("notebooks/", "params/")) and not (REPOSITORY / word).is_file()
        ]
        return f"there is no {missing[0]}" if missing else None
    known = any(re.fullmatch(pattern, command) for pattern in ELSEWHERE)
    return (
        None
        if known
        else "mark its fence with <!-- run --> or write it into ELSEWHERE of tests/test_readme.py, with the reason"
    )


def runnable(command):
    """The command with this interpreter where the README has the environment's."""
    return re.sub(
        r"(?<!\S)(\.venv/bin/)?python3?(?= )", lambda _: shlex.quote(sys.executable), command
    )


SHELL_FENCES = [
    pytest.param(found, marked, id=f"{path.name}-{number}")
    for path in READMES
    for number, (language, found, marked) in enumerate(fences(path.read_text(encoding="utf-8")))
    if language in SHELL and found
]


@pytest.mark.skipif(not SHELL_FENCES, reason="no README with commands yet")
def test_something_of_the_readme_is_run():
    assert any(marked for _, marked in (fence.values for fence in SHELL_FENCES)), (
        "no fence is marked <!-- run -->"
    )
    assert any("make demo" in found for found, _ in (fence.values for fence in SHELL_FENCES))


@pytest.mark.skipif(
    not shutil.which("bash") or not shutil.which("make"), reason="needs bash and make"
)
@pytest.mark.parametrize(("found", "marked"), SHELL_FENCES)
def test_a_fence_of_the_readme(found, marked):
    if not marked:
        faults = {command: fault(command) for command in found}
        assert not any(faults.values()), {command: why for command, why in faults.items() if why}
        return
    script = "set -euo pipefail\n" + "\n".join(runnable(command) for command in found)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_python_in_the_readme_is_python(path):
    for block in re.findall(
        r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    ):
        ast.parse(block)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(path):
    for target in re.findall(
        r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8")
    ):
        assert (REPOSITORY / target).exists(), f"{path.name} links to {target}, which is not there"


def test_the_reader_of_fences():
    shell = "```bash\n$ python -m x \\\n    --y  # why\nmake demo && make test\n# all\n```\n"
    text = f"a\n<!-- run -->\n{shell}```python\nx = 1\n```\n"
    assert list(fences(text)) == [
        ("bash", ["python -m x --y", "make demo", "make test"], True),
        ("python", ["x = 1"], False),
    ]
    assert fault("git clone https://example.org/x.git") is None
    assert "ELSEWHERE" in fault("curl https://example.org")
    assert "nosuch" in fault("make nosuch")
    assert (
        fault("python -m iqa_core weights convert x.pkl --model smart_iqa --set size=tiny") is None
    )
    assert "there are no weights nosuch" in fault("python -m iqa_core weights get nosuch")
    assert fault("python -m iqa_core data get kadid10k") is None
    assert "there is no nosuch" in fault("python -m iqa_core data check nosuch")
    assert "there is no jpeg, nosuch" in fault(
        "python -m iqa_core data distort a --out b --name jpeg --name nosuch"
    )
    assert "there is no" in fault("papermill notebooks/99_x.ipynb out.ipynb")
    with pytest.raises(FileNotFoundError, match="no experiment 'nosuch'"):
        fault("python -m iqa_core run nosuch")
    assert runnable(".venv/bin/python -m x") == f"{shlex.quote(sys.executable)} -m x"
