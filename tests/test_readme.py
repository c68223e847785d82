"""Every fenced command of the README works: run, checked, or in a list here with the reason why
not.

A fence with `<!-- run -->` on the line before it is executed. `make <target>` is checked with `make
-n`, `python -m iqa_core run <experiment>` and papermill lines by their files; the rest must match
ELSEWHERE.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import REPOSITORY

from iqa_core.apps import commands as command_line
from iqa_core.apps import planning
from iqa_core.datasets import list_datasets
from iqa_core.distortions import list_distortions
from iqa_core.models import list_models, published

READMES = [path for path in sorted(REPOSITORY.glob("README*.md")) if path.is_file()]
SHELL = {"bash", "sh", "shell", "console", "powershell", "bat", ""}
ELSEWHERE = [  # patterns of whole commands that are not run here, each below the reason
    # needs several machines; test_distributed.py runs it on one
    r"torchrun .* -m iqa_core train \S+",
    # needs a server, and is of use only with it
    r"git clone \S+( \S+)?",
    r"cd \S+",
    # make env does it
    r"(python3?|py)(\.\d+| -3\.\d+)? -m venv \.venv",
    # changes the shell it is typed in
    r"(source|\.) \.venv/bin/activate|\.venv[\\/]Scripts[\\/](activate|Activate\.ps1)",
    # downloads; make env does the same with the lock
    r"(python3? -m )?pip install .*-e [\"']?\.(\[[\w,]+\])?[\"']?( .*)?",
    # downloads; wheels for one CUDA version
    r"(python3? -m )?pip install torch\S* torchvision\S* --index-url \S+",
    # another package manager; test_environment.py reads the file
    r"conda env create -f environment\.yml|conda activate iqa",
    # changes the system
    r"(sudo )?apt-get install .*",
    # a server
    r"jupyter lab( .*)?",
]


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
    found = []
    for line in joined.splitlines():
        line = re.sub(r"(^|\s+)#\s.*$", "", line.strip().removeprefix("$ ")).strip()
        if line:
            found += [part.strip() for part in line.split(" && ")]
    return found


CORE = r"\S*python3? -m iqa_core"
NAMED_WEIGHTS = r"(?:\S+ )?(?:--model )?([\w.-]+)(?: --set .*)?"


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
    verb = re.fullmatch(rf"{CORE} (?:run|train) (\S+)(.*)", command)
    if verb:
        given = [after for word, after in zip(words, words[1:], strict=False) if word == "--set"]
        planning.plan(verb[1], root=REPOSITORY, overrides=planning.parse_overrides(given))
        return None

    # servers and files of others; test_weights.py and test_raw_data.py run these verbs
    weights = re.fullmatch(f"{CORE} weights (?:get|convert) {NAMED_WEIGHTS}", command)
    if weights:
        known = {row.name for row in published.rows()} | set(list_models())
        return None if weights[1] in known else f"there are no weights {weights[1]}"
    data = re.fullmatch(rf"{CORE} data (?:get|check) (\S+)", command)
    if data:
        return None if data[1] in list_datasets() else f"there is no {data[1]}"
    if re.match(f"{CORE} data distort ", command):
        names = re.findall(r"--name (\S+)", command)
        known = set(names) <= set(list_distortions())
        return None if known else f"there is no {', '.join(names)}"

    scoring = re.fullmatch(rf"{CORE} (score|scale|video \S+|labels \S+) .*", command)
    if scoring:  # parsed, not run: the pictures are the reader's
        parser, rest = typer.main.get_command(command_line.app), words[3:]
        while hasattr(parser, "commands"):
            parser = parser.commands[rest.pop(0)]
        parser.make_context(scoring[1], rest)
        return None

    if Path(words[0]).name == "papermill":
        files = [word for word in words if word.startswith(("notebooks/", "params/"))]
        missing = [file for file in files if not (REPOSITORY / file).is_file()]
        return f"there is no {missing[0]}" if missing else None
    if any(re.fullmatch(pattern, command) for pattern in ELSEWHERE):
        return None
    return "mark its fence with <!-- run -->, or write it into ELSEWHERE of tests/test_readme.py"


def runnable(command):
    """The command with this interpreter where the README has the environment's."""
    python = r"(?<!\S)(\.venv/bin/)?python3?(?= )"
    return re.sub(python, lambda _: shlex.quote(sys.executable), command)


SHELL_FENCES = [
    pytest.param(found, marked, id=f"{path.name}-{number}")
    for path in READMES
    for number, (language, found, marked) in enumerate(fences(path.read_text(encoding="utf-8")))
    if language in SHELL and found
]


@pytest.mark.skipif(not SHELL_FENCES, reason="no README with commands yet")
def test_something_of_the_readme_is_run():
    values = [fence.values for fence in SHELL_FENCES]
    assert any(marked for _, marked in values), "no fence is marked <!-- run -->"
    assert any("make demo" in found for found, _ in values)


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
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=REPOSITORY,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_python_in_the_readme_is_python(path):
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"(?ms)^```python\n(.*?)^```", text):
        ast.parse(block)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
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
    convert = "python -m iqa_core weights convert x.pkl --model smart_iqa --set size=tiny"
    assert fault(convert) is None
    assert "there are no weights nosuch" in fault("python -m iqa_core weights get nosuch")
    assert fault("python -m iqa_core data get kadid10k") is None
    assert "there is no nosuch" in fault("python -m iqa_core data check nosuch")
    distort = "python -m iqa_core data distort a --out b --name jpeg --name nosuch"
    assert "there is no jpeg, nosuch" in fault(distort)
    assert "there is no" in fault("papermill notebooks/99_x.ipynb out.ipynb")
    with pytest.raises(FileNotFoundError, match="no experiment 'nosuch'"):
        fault("python -m iqa_core run nosuch")
    assert runnable(".venv/bin/python -m x") == f"{shlex.quote(sys.executable)} -m x"
