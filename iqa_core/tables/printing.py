"""Tables of the paper as text and files: CSV, LaTeX (booktabs) and Markdown. "--" stands for what
is missing.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from .cells import bracketed
from .files import as_markdown, export
from .statement import STATED
from .text import escaped

MISSING = "--"
TITLES = {
    "params_m": "parameters (M)",
    "gmacs": "GMACs",
    "lr": "learning rate",
    "ms": "ms",
    "images_per_second": "images/s",
    "srcc": "SRCC",
    "plcc": "PLCC",
    "mos": "MOS",
    "zscore": "z-score",
    "measured_by": "measured by",
}
HUNDREDTHS = ("params_m", "gmacs", "ms")
CORRELATIONS = ("srcc", "plcc")
BELOW = ("protocol", "source", "note", "measured_by")  # long texts: a number in the table
BOLD = "SRCC measured"


def write(data: pd.DataFrame, *, caption: str, folder: Path, name: str) -> pd.DataFrame:
    """Write a table as <folder>/<name>.csv, .tex and .md; returns it as text.

    The CSV has every column. The other two say in their caption what all measured rows share of
    `STATED`; protocols, sources and notes are numbers, which are told below the table; the measured
    SRCC is bold in the rows of column `best`.
    """
    printed, line, legend = printable(data)
    best = data["best"] if "best" in data else pd.Series(False, data.index)
    tex = _latex(printed, best, caption=f"{caption} {line}", name=name, legend=legend)
    marked = _marked(printed, best, "**{}**")
    markdown = as_markdown(marked, "\n\n".join(filter(None, [caption, line])), legend)
    data = data.drop(columns="digits", errors="ignore")
    filled = data.astype(object).where(data.notna(), MISSING).replace("", MISSING)
    export(filled, tex, folder=folder, name=name, markdown=markdown)
    return printed


def printable(data: pd.DataFrame) -> tuple[pd.DataFrame, str, list[str]]:
    """A table as text, a value and its interval in one cell; what the rows share of `STATED`, as a
    line; and the sentences that tell what numbers of notes stand for. Empty columns are left out.
    """
    common = [name for name in STATED if name in data and data[name].nunique() == 1]
    line = ", ".join(f"{name}: {_text(data[name].dropna().iloc[0])}" for name in common)
    ends = [name for name in data if name.endswith(("_low", "_high"))]
    left_out = {*common, *ends, "best", "digits", "own", "run"}
    printed = pd.DataFrame(index=data.index)
    legend, told = [], 0
    for name in [name for name in data if name not in left_out]:
        if (data[name].isna() | (data[name] == "")).all():
            continue
        if name not in BELOW:
            printed[_title(name)] = _cells(data, name)
            continue
        numbers = _numbers(data[name], told)
        told += len(numbers)
        printed[_title(name)] = [str(numbers.get(text, MISSING)) for text in data[name]]
        words = "; ".join(f"({number}) {text}" for text, number in numbers.items())
        legend.append(f"{_title(name).capitalize()}: {words}.")
    return printed, line, legend


def _numbers(values, told):
    """The different texts of a column, numbered on from those that are told already."""
    texts = [text for text in values.dropna().unique() if text]
    return {text: told + place for place, text in enumerate(texts, start=1)}


def _title(name):
    base, _, kind = name.rpartition("_")
    if kind not in ("reported", "measured"):
        base, kind = name, ""
    return f"{TITLES.get(base, base.replace('_', ' '))} {kind}".strip()


def _cells(data, name):
    """A column as text, with its intervals where it has some."""
    cells = []
    for row in data.to_dict("records"):
        low, high = row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan)
        if pd.notna(row[name]) and pd.notna(low):
            cells.append(bracketed(row[name], (low, high)))
        else:
            cells.append(_text(row[name], name, row.get("digits", 4)))
    return cells


def _text(value, name="", digits=4):
    """A number in as many digits as it is told in; a text as it is."""
    if pd.isna(value) or value == "":
        return MISSING
    if not isinstance(value, float):
        return str(value)
    if name.startswith(CORRELATIONS):
        return f"{value:.{3 if pd.isna(digits) else int(digits)}f}"
    if name.startswith(HUNDREDTHS):
        return f"{value:.2f}"
    if name == "lr":
        return np.format_float_scientific(value, trim="-", exp_digits=1)
    return f"{value:.5g}"


def _marked(printed, best, mark):
    """The table with its best measured SRCC marked."""
    if BOLD not in printed:
        return printed
    cells = printed[BOLD].where(~best, printed[BOLD].map(mark.format))
    return printed.assign(**{BOLD: cells})


def _latex(printed, best, *, caption, name, legend):
    """The table as LaTeX, across both columns of a page where it is wide; a heading a group."""
    rows = _marked(printed.map(escaped), best, r"\textbf{{{}}}")
    groups = rows.pop("group") if "group" in rows else pd.Series("", rows.index)
    table = "table*" if len(rows.columns) > 5 else "table"
    lines = [
        rf"\begin{{{table}}}",
        r"  \centering\small",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{tab:{name}}}",
        rf"  \begin{{tabular}}{{{'l' * len(rows.columns)}}}",
        r"    \toprule",
        f"    {' & '.join(map(escaped, rows))} \\\\",
    ]
    for group, of_group in rows.groupby(groups, sort=False):
        lines.append(r"    \midrule")
        if group:
            lines.append(rf"    \multicolumn{{{len(rows.columns)}}}{{l}}{{\textit{{{group}}}}} \\")
        lines += [f"    {' & '.join(cells)} \\\\" for cells in of_group.to_numpy()]
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if legend:
        lines += ["", rf"  \medskip\footnotesize {escaped(' '.join(legend))}"]
    return "\n".join([*lines, rf"\end{{{table}}}", ""])
