"""The rows of a training, one a validation: `history.csv`, a line each for `train.log`, and
TensorBoard's scalars.
"""

import csv
import shutil
from pathlib import Path

from iqa_core.files import write_rows


class History:
    """The rows of the run in a folder, in order of their steps.

    A row may come a second time: from a process of torchrun and then from the notebook's own, or
    from a cell that is run again.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: list[dict] = []
        self._logged: list[dict] | None = None  # rows that train.log has, as text; None: not read
        self._board = None  # TensorBoard's writer
        self._drawn_step = 0  # the last one that it has

    def add(self, row: dict) -> None:
        """One more row; those of the same step or later ones are of another attempt."""
        step = row.get("step", len(self.rows) + 1)
        earlier = [
            known
            for place, known in enumerate(self.rows, start=1)
            if known.get("step", place) < step
        ]
        self.rows = [*earlier, dict(row)]

    def write(self) -> list[str]:
        """Writes the rows, the last one also for TensorBoard; the lines that train.log lacks."""
        file, row = self.folder / "history.csv", self.rows[-1]
        if self._logged is None:
            self._logged = _rows_of(file)
        lines = []
        if _as_text(row) not in self._logged:
            lines = ["  ".join(f"{key} {_short(value)}" for key, value in row.items())]
            self._logged.append(_as_text(row))
        write_rows(file, self.rows)
        step = row.get("step", len(self.rows))
        if step > self._drawn_step:
            self._draw(row, step)
        return lines

    def close(self) -> None:
        """Ends what TensorBoard reads."""
        if self._board is not None:
            self._board.close()

    def _draw(self, row: dict, step: int) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            # a training taken up again gives all its rows
            shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
            self._board = SummaryWriter(self.folder / "tensorboard")
        for key, value in row.items():
            if isinstance(value, float):
                self._board.add_scalar(key, value, step)
        self._board.flush()
        self._drawn_step = step


def _rows_of(history: Path) -> list[dict]:
    """The rows of a `history.csv`, as text."""
    if not history.is_file():
        return []
    with history.open(encoding="utf-8", newline="") as file:
        return [{key: text for key, text in row.items() if text} for row in csv.DictReader(file)]


def _as_text(row: dict) -> dict:
    """A row as `history.csv` gives it back."""
    return {key: str(value) for key, value in row.items() if value is not None}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
