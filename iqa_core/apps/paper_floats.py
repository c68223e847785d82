"""The figures and tables of an experiment's paper, as LaTeX: those in figures/ with their captions,
and those that runs keep in their own folders.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from iqa_core import runs, tables
from iqa_core.figures.gallery import is_of
from iqa_core.files import project_root
from iqa_core.tables.cells import bracketed
from iqa_core.tables.statement import apart
from iqa_core.tables.text import escaped

VARIANTS = ("04_ablations", "06_train_musiq", "07_reference_models")  # notebooks of variants
ATTENTION = "05_visualize_attention"  # the notebook that writes analysis.csv
DATA, AGREEMENT, STAGES = "The Data", "Training and Agreement", "Stage Weights"
NETWORKS, REPORTS = "The Networks", "Beside What Others Report"
SECTIONS = {  # last part of a float's name -> the section that it stands in; runs have their own
    "results": AGREEMENT,
    "differences": AGREEMENT,
    "splits": AGREEMENT,
    "training_curves": AGREEMENT,
    "scatter": AGREEMENT,
    "distortion_bars": AGREEMENT,
    "examples": AGREEMENT,
    "selected_images": STAGES,
    "stage_weights": STAGES,
    "stage_bars": STAGES,
    "tint": STAGES,
    "entropy_scatter": STAGES,
    "weights_by": STAGES,
    "weights_by_run": STAGES,
    "gradient_maps": STAGES,
    "window_attention": STAGES,
    "gates": STAGES,
    "errors": AGREEMENT,
    "hyperiqa": NETWORKS,
    "smart_iqa": NETWORKS,
    "complexity": NETWORKS,
    "hyperparameters": NETWORKS,
    "training_log": NETWORKS,
    "sota": REPORTS,
    "sota_koniq10k": REPORTS,
    "sizes": REPORTS,
    "backbones": REPORTS,
    "components": REPORTS,
    "learning_rates": REPORTS,
    "losses": REPORTS,
    "transfer": REPORTS,
}
NAMES = {  # how a sentence speaks of a float, where its name does not say
    "hyperiqa": "HyperIQA",
    "smart_iqa": "SMART-IQA",
    "sota": "methods",
    "sota_koniq10k": "methods",
    "sota_koniq10k, reported": "methods, reported",
    "training_log": "epochs",
    "errors": "largest errors",
}
RUN_TABLES = {  # of what a run's folder holds, in its order: what a reader is told it is
    "ablations": "Variants on the same test images, in brackets 95 % intervals",
    "results": "Variants on the same test images, in brackets 95 % intervals",
    "answers": "What was asked of the variants, and what the difference of two says",
    "differences": "Differences between two variants, in brackets 95 % intervals",
}
LONG = 40  # characters of a cell that is broken into lines


class Float(NamedTuple):
    """A figure (`tabular` is empty) or a table: `name` without its experiment; caption, tabular and
    notes, which stand below it, are LaTeX."""

    name: str
    file: str  # of the figure or table, without ending
    caption: str
    tabular: str = ""
    notes: str = ""

    @property
    def label(self) -> str:
        return f"{'tab' if self.tabular else 'fig'}:{self.file}"

    @property
    def section(self) -> str:
        """Where it stands: by what it shows, or, where its name has a run, by that."""
        run = re.match(r"\d\d_\w+(--\w+)?", self.name)
        kind = self.name.removesuffix("-reported").rpartition("-")[2]
        if self.name.startswith("data"):
            return DATA
        if run and run[0].startswith(ATTENTION):
            return STAGES
        if run:
            return f"Run {run[0]}"
        return SECTIONS.get(kind, "Further Results")

    def placed(self) -> str:
        """Its place in the paper: a call of main.tex's \\placefigure or \\placetable."""
        if self.tabular:
            return (
                f"\\placetable{{{self.tabular}}}{{{self.caption}}}{{{self.label}}}{{{self.notes}}}"
            )
        return f"\\placefigure{{{self.file}}}{{{self.caption}}}{{{self.label}}}"

    def referred(self) -> str:
        """How a sentence speaks of it."""
        words = self.name.removeprefix("table-").removesuffix("-reported").rpartition("-")[2]
        if self.name.endswith("-reported"):
            words = f"{words}, reported"
        words = escaped(NAMES.get(words, words).replace("_", " "))
        return f"{words} ({'Table' if self.tabular else 'Fig.'}~\\ref{{{self.label}}})"


# ---- what there is


def runs_of(experiment: str) -> dict[str, dict]:
    """The params.json of each finished run of an experiment, by name, runs within runs too.

    FileNotFoundError, with the command that makes some, where there is none.
    """
    names = [name for name in runs.all_runs("_SUCCESS") if name.startswith(f"{experiment}/")]
    if not names:
        known = {path.name for path in (project_root() / "params").iterdir() if path.is_dir()}
        if experiment not in known:
            raise FileNotFoundError(
                f"no experiment {experiment!r}; there are {', '.join(sorted(known))}"
            )
        command = f"python -m iqa_core run {experiment}"
        command = "make demo" if experiment == "demo" else command
        raise FileNotFoundError(
            f"no finished run of {experiment} in data/runs, so there is nothing to write about: "
            f"run `{command}` first"
        )
    return {name: runs.read_json(runs.finished(name) / "params.json") for name in names}


def floats_of(experiment: str, *, root: Path) -> list[Float]:
    """The figures and tables of an experiment in figures/, in order of their names.

    FileNotFoundError where there is none.
    """
    files = [path for path in (root / "figures").glob(f"{experiment}-*") if is_of(experiment, path)]
    found = []
    for name in sorted({path.stem for path in files} - {f"{experiment}-paper"}):
        read = _read_float(root / "figures", name, experiment)
        if read is not None:
            found.append(read)
    if not found:
        raise FileNotFoundError(
            f"no figure or table figures/{experiment}-*: notebooks 01, 05 and 10 write some; "
            f"`python -m iqa_core run {experiment}` runs those that the experiment has"
        )
    return found


def tables_of_runs(known: dict[str, dict]) -> list[Float]:
    """The tables of variants that runs of ablations keep in their own folders: results, and the
    questions that they answer, else the differences.
    """
    found = []
    for name, facts in known.items():
        folder = runs.finished(name)
        if facts.get("notebook") in VARIANTS:
            there = [table for table in RUN_TABLES if (folder / f"{table}.csv").is_file()]
            if "answers" in there:
                there.remove("differences")
            found += [_run_table(name, table, folder / f"{table}.csv") for table in there]
    return found


def _run_table(run, name, file):
    data = pd.read_csv(file)
    if name in ("ablations", "results"):
        readable = tables.variants.readable_ablations
        if "tested on" in data:
            readable = tables.readable_parts
        data = readable(data).reset_index()
    line, rest = apart(data)
    caption = printable(escaped(f"{RUN_TABLES[name]}; {line}."))
    stem = run.partition("/")[2]
    return Float(f"{stem}-{name}", run.replace("/", "-") + f"-{name}", caption, tabular_of(rest))


def _read_float(folder, name, experiment):
    """A figure or table by the name of its files; None where they are neither."""
    short = name.removeprefix(f"{experiment}-")
    tex, drawn, numbers = (folder / f"{name}.{end}" for end in ("tex", "pdf", "csv"))
    text = tex.read_text(encoding="utf-8") if tex.is_file() else ""
    captions = re.findall(r"^\s*\\caption\{(.*)\}\s*$", text, flags=re.MULTILINE)
    caption = printable(captions[0] if captions else escaped(_title(short)))
    if caption.startswith(("n: ", "unit: ")):  # `export_stated` says what numbers are of, no more
        caption = f"{escaped(_title(short))}; {caption}"
    tabular = re.search(r"\\begin\{tabular\}.*\\end\{tabular\}", text, flags=re.DOTALL)
    if tabular:
        notes = re.search(r"\\scriptsize (.*)\}", text)
        return Float(short, name, caption, _wrapped(tabular[0]), notes[1] if notes else "")
    if drawn.is_file():
        return Float(short, name, caption)
    if numbers.is_file():
        line, rest = apart(pd.read_csv(numbers))
        return Float(short, name, printable(escaped(f"{_title(short)}; {line}.")), tabular_of(rest))
    return None


def _title(name):
    words = name.rpartition("-")[2].replace("_", " ")
    return words[0].upper() + words[1:]


def latex_of(text):
    """Text as LaTeX: two hyphens of a name stay two, that of a number is a sign, where no line
    ends.
    """
    text = escaped(text).replace("--", "-{}-")
    return re.sub(r"(?<![^\s\[(])-(?=\d)", "$-$", text)


def printable(text):
    """Text without letters that the paper's fonts lack: such a letter as its code point."""
    return re.sub(r"[^\x00-\xff]", lambda letter: f"U+{ord(letter[0]):04X}", text)


# ---- tables


def tabular_of(data: pd.DataFrame) -> str:
    """A table as a LaTeX tabular: empty columns left out, intervals beside their values, long cells
    broken into lines.
    """
    data = _with_intervals(data.replace("--", None).dropna(axis=1, how="all"))
    shown = data.map(lambda cell: latex_of(cell) if isinstance(cell, str) else cell)
    shown.columns = [latex_of(str(column)) for column in data]
    text = shown.to_latex(index=False, escape=False, na_rep="--", float_format="%.4g")
    return _wrapped(printable(text.strip()))


def _with_intervals(data):
    """A table with a value and the ends of its interval in one column, not in three."""
    data = data.copy()
    for low in [name for name in data if re.fullmatch(r"(.*_)?low", name)]:
        high = f"{low.removesuffix('low')}high"
        value = low.removesuffix("_low")
        if low == "low":
            value = data.columns[data.columns.get_loc(low) - 1]
        rows = zip(data[value], data[low], data[high], strict=True)
        data[value] = [
            bracketed(middle, ends) if pd.notna(middle) else None for middle, *ends in rows
        ]
        data = data.drop(columns=[low, high])
    return data


def _wrapped(tabular):
    """A tabular whose columns of long cells are paragraphs; `main.tex` shrinks what is still too
    wide for a page.
    """
    head = re.match(r"\\begin\{tabular\}\{(\w+)\}", tabular)
    if head is None:
        return tabular
    rows = [line.removesuffix(r"\\").split(" & ") for line in tabular.splitlines()]
    rows = [row for row in rows if len(row) == len(head[1])]
    columns = []
    for place, kind in enumerate(head[1]):
        longest = max((len(row[place].strip()) for row in rows), default=0)
        broken = rf">{{\raggedright\arraybackslash}}p{{{LONG * 0.4:.0f}em}}"
        columns.append(broken if longest > LONG else kind)
    body = tabular[head.end() :]
    if columns != list(head[1]):  # paragraphs need room between them
        body = re.sub(r"(\\\\)(?=\n(?!\\))", r"\1\\addlinespace", body)
    return f"\\begin{{tabular}}{{{''.join(columns)}}}{body}"
