"""A table as files."""

from pathlib import Path

import pandas as pd


def export(data: pd.DataFrame, tex: str, *, folder: Path, name: str) -> pd.DataFrame:
    """Write a table as <folder>/<name>.csv and its LaTeX as <folder>/<name>.tex; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / f"{name}.tex").write_text(tex, encoding="utf-8")
    return data
