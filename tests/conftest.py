"""What every test stands on: threads x processes <= cores, no network, a project of its own where
one is asked for.
"""

import os

# before torch is imported anywhere: two torch processes on two threads each are many times slower
# than on one
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // _workers))
# joblib's -1: a worker of several takes no pool of its own, whose processes would import all again
os.environ["LOKY_MAX_CPU_COUNT"] = os.environ["OMP_NUM_THREADS"]
os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # threads that wait spinning crawl beside any other busy process
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
os.environ.pop("IQA_ROOT", None)

import json
import socket
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Sockets reach the loopback alone; a test that would leave the machine says so."""

    def guard(original):
        def connect(self, address):
            host = address[0] if isinstance(address, tuple) else ""
            if self.family != getattr(socket, "AF_UNIX", None) and not str(host).startswith(
                LOOPBACK
            ):
                raise RuntimeError(f"a test tried to reach {address}: tests use no network")
            return original(self, address)

        return connect

    monkeypatch.setattr(socket.socket, "connect", guard(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))


@pytest.fixture
def restored_environment():
    """os.environ as before, whatever the test sets in it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


class Project:
    """A small project under a temporary folder: write notebooks and parameter files into it."""

    def __init__(self, root: Path):
        self.root = root
        (root / "params").mkdir()
        (root / "notebooks").mkdir()

    def notebook(self, stem: str, parameters: str, *code: str, training: str = "") -> Path:
        """A notebook: title, cell tagged `parameters`, then the code cells, of which the one that
        reads `training` is tagged so.
        """
        cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {stem}"}]
        for number, source in enumerate((parameters, *code)):
            tag = "parameters" if number == 0 else "training" if source == training else ""
            metadata = {"tags": [tag]} if tag else {}
            cell = {"cell_type": "code", "id": f"c{number}", "metadata": metadata, "source": source}
            cells.append(cell | {"outputs": [], "execution_count": None})
        kernel = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        }
        path = self.root / "notebooks" / f"{stem}.ipynb"
        path.write_text(
            json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
        )
        return path

    def parameters(self, name: str, text: str) -> Path:
        """params/<name>.yaml"""
        path = self.root / "params" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty Project that `runs.project_root()` finds."""
    monkeypatch.setenv("IQA_ROOT", str(tmp_path))
    return Project(tmp_path)


CELL = """\
experiment: str = "lab"  # folder of runs
run: str = ""  # folder of this run
epochs: int = 3  # passes over the training images
rate: float = 1e-4  # learning rate, per step
colour: str = "#ff0000"  # a default with a # in it
weights: str | None = None  # checkpoint, none: ImageNet
stages: list[int] = [1, 2]  # backbone stages
monitor: dict[str, float] = {}  # other sets
flip: bool = True  # mirror crops
"""


@pytest.fixture
def notebook(project):
    return project.notebook("02_train_baseline", CELL)
