"""Files of finished runs in, files of tables out."""

import functools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..files import file_hash, read_json
from ..splits import load_split
from .statement import apart, shown
from .text import escaped


def read_runs(folders: dict[str, Path]) -> pd.DataFrame:
    """What the finished runs to be shown together were: a row a run, columns the parameters and
    facts of its params.json.

    folders   name -> folder of a finished run of a training notebook

    Errors: ValueError for runs on several sets, for two runs of one method on one split, and for a
    split on which a method has no run.
    """
    rows = []
    for folder in folders.values():
        facts = read_json(folder / "params.json")
        rows.append({**facts["parameters"], **facts})
    index = pd.DataFrame(rows, index=list(folders))
    if index.set.nunique() > 1:
        raise ValueError(f"runs on {', '.join(index.set.unique())}: name those of one set")
    twice = index[index.duplicated(["method", "split"])]
    if len(twice):
        run = twice.iloc[0]
        raise ValueError(f"two runs of {run.method} on {run.split}: name the one to show")
    methods = set(index.method)
    for split, group in index.groupby("split", sort=False):
        missing = sorted(methods - set(group.method))
        if missing:
            raise ValueError(
                f"no run of {', '.join(missing)} on {split}: each split needs one of each method; "
                "run it, or name runs without that method"
            )
    return index


def files_of(index: pd.DataFrame, folders: dict[str, Path], *, root: Path) -> list[Path]:
    """The files that figures and tables of runs are made of: their own, table and splits."""
    names = ("history.csv", "predictions.csv", "measures.csv", "model.json", "metrics.json")
    files = [folder / name for folder in folders.values() for name in names]
    files += [root / f"data/splits/{split}.csv" for split in index.split.unique()]
    files += [root / f"data/tables/{name}.csv" for name in index.set.unique()]
    return [file for file in files if file.is_file()]


def read_tests(
    index: pd.DataFrame, folders: dict[str, Path], table: pd.DataFrame, *, root: Path
) -> list[tuple[pd.DataFrame, pd.Series]]:
    """For each split of `index` (as `read_runs` gives it) the test predictions of its runs (column
    image, one a method, then full-reference measures where a run has them) and the part of each
    table row: what `results` and `over_splits` take.

    Errors: ValueError for a table or split that has changed since a run read it.
    """
    tests = []
    for split, group in index.groupby("split", sort=False):
        columns = [_test_predictions(folders[name], run, root) for name, run in group.iterrows()]
        measured = [folders[name] / "measures.csv" for name in group.index]
        measured = [pd.read_csv(path) for path in measured if path.is_file()]
        # All runs of a split measure the same images: the first file that holds measures will do.
        columns += [values for values in measured if len(values.columns) > 1][:1]
        tests.append((_side_by_side(columns), load_split(root / f"data/splits/{split}.csv", table)))
    return tests


def share_images(tests: list[tuple[pd.DataFrame, pd.Series]]) -> bool:
    """Whether an image is tested on two splits, as random splits do and rotations do not."""
    return bool(pd.concat([predictions.image for predictions, _ in tests]).duplicated().any())


def export(
    data: pd.DataFrame, tex: str, *, folder: Path, name: str, markdown: str = ""
) -> pd.DataFrame:
    """Write a table as <folder>/<name>.csv, its LaTeX as .tex and its Markdown as .md (none for the
    numbers of a figure); returns it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / f"{name}.tex").write_text(tex, encoding="utf-8")
    if markdown:
        (folder / f"{name}.md").write_text(markdown, encoding="utf-8")
    return data


def as_markdown(printed: pd.DataFrame, caption: str, legend: Sequence[str] = ()) -> str:
    """A table of text as Markdown: its caption, the table, and what its letters stand for."""
    lines = [caption, ""]
    for cells in [list(printed), ["---"] * len(printed.columns), *printed.values.tolist()]:
        shown = [str(cell).replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(shown)} |")
    for sentence in legend:
        lines += ["", sentence]
    return "\n".join([*lines, ""])


def export_stated(data: pd.DataFrame, *, folder: Path, name: str) -> pd.DataFrame:
    """Write a table that `stated` has made as `export` does, in LaTeX with what all rows have in
    common as its caption; returns what `shown` does."""
    line, rest = apart(data)
    tex = rest.to_latex(
        index=False,
        escape=True,
        float_format="%.4f",
        caption=escaped(f"{line}."),
        label=f"tab:{name}",
    )
    printed = rest.round(4).astype(object).where(rest.notna(), "--")
    markdown = as_markdown(printed, line)
    export(data, tex, folder=folder, name=name, markdown=markdown)
    return shown(data)


def _test_predictions(folder, run, root):
    for file, digest in run.files.items():
        if digest != file_hash(root / file):
            raise ValueError(f"{file} has changed since {run.name} read it: run that again")
    predictions = pd.read_csv(folder / "predictions.csv")
    predictions = predictions.rename(columns={"predicted": run.method})
    return predictions.loc[predictions.split == "test", ["image", run.method]]


def _side_by_side(columns):
    return functools.reduce(
        lambda left, right: left.merge(right, on="image", validate="one_to_one"), columns
    )
