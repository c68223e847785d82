"""Tables of the paper as text and files: CSV, LaTeX (booktabs) and Markdown. "--" stands for what
is missing.
"""

import itertools
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
KINDS = ("reported", "measured")
BELOW = ("protocol", "source", "note", "measured_by")  # long texts: a number in the table
BOLD = "SRCC measured"


def write(data: pd.DataFrame, *, caption: str, folder: Path, name: str) -> pd.DataFrame:
    """Write a table as <folder>/<name>.csv, .tex and .md; returns it as text.

    The CSV has every column. The other two say in their caption what all measured rows share of
    `STATED`; protocols, sources and notes are told below the table; the measured
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
    notes = {}  # of all columns of texts, numbered together
    for name in [name for name in data if name not in left_out]:
        if (data[name].isna() | (data[name] == "")).all():
            continue
        if name in BELOW:
            for text in data[name].dropna():
                if text:
                    notes.setdefault((name, text), len(notes) + 1)
        else:
            printed[_title(name)] = _cells(data, name)
    if notes:
        printed["notes"] = [_numbers(row, notes) for row in data.to_dict("records")]
    return printed, line, _legend(notes)


def _numbers(row, notes):
    """The numbers of what is told of a row below the table."""
    numbers = [notes.get((name, row.get(name))) for name in BELOW]
    return ", ".join(str(number) for number in numbers if number) or MISSING


def _legend(notes):
    """A sentence for each column of texts: what its numbers stand for."""
    sentences = []
    for name in BELOW:
        words = [f"({number}) {text}" for (column, text), number in notes.items() if column == name]
        if words:
            sentences.append(f"{_title(name).capitalize()}: {'; '.join(words)}.")
    return sentences


def _title(name):
    """A column as it is displayed; that of a run, as mine/03_train, keeps its name."""
    base, _, kind = name.rpartition("_")
    if kind not in KINDS:
        base, kind = name, ""
    if base not in TITLES and "/" not in base:
        base = " ".join(TITLES.get(word, word) for word in base.split("_"))
    return f"{TITLES.get(base, base)} {kind}".strip()


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
    if any(statistic in name for statistic in CORRELATIONS):
        return f"{value:.{3 if pd.isna(digits) else int(digits)}f}"
    if name.startswith(HUNDREDTHS):
        return f"{round(value, 2):.6g}"
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
    """The table as LaTeX, across both columns of a page where it is wide; a heading a group, and
    one over the columns reported and measured.
    """
    rows = _marked(printed.map(escaped), best, r"\textbf{{{}}}")
    groups = rows.pop("group") if "group" in rows else pd.Series("", rows.index)
    table = "table*" if len(rows.columns) > 5 else "table"
    lines = [
        rf"\begin{{{table}}}",
        r"  \centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{tab:{name}}}",
        rf"  \begin{{tabular}}{{{''.join(_column(rows[column]) for column in rows)}}}",
        r"    \toprule",
        *_heads(list(rows)),
    ]
    for group, of_group in rows.groupby(groups, sort=False):
        lines.append(r"    \midrule")
        if group:
            lines.append(rf"    \multicolumn{{{len(rows.columns)}}}{{l}}{{\textit{{{group}}}}} \\")
        lines += [f"    {' & '.join(cells)} \\\\" for cells in of_group.to_numpy()]
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if legend:
        below = escaped(" ".join(legend))
        lines += ["", rf"  \smallskip\parbox{{\linewidth}}{{\scriptsize {below}}}"]
    return "\n".join([*lines, rf"\end{{{table}}}", ""])


def _column(cells):
    """Long texts are broken."""
    return r"p{0.24\linewidth}" if cells.str.len().max() > 32 else "l"


def _heads(names):
    """The first lines of a table: where columns were reported or measured, that stands above."""
    above = [name.rpartition(" ")[2] for name in names]
    above = [
        kind if kind in KINDS and kind != name else ""
        for kind, name in zip(above, names, strict=True)
    ]
    below = [name.removesuffix(kind).strip() for name, kind in zip(names, above, strict=True)]
    second = f"    {' & '.join(map(escaped, below))} \\\\"
    if not any(above):
        return [second]
    first, rules, place = [], [], 1
    for kind, group in itertools.groupby(above):
        width = len(list(group))
        first.append(rf"\multicolumn{{{width}}}{{l}}{{{kind}}}")
        if kind:
            rules.append(rf"\cmidrule(r){{{place}-{place + width - 1}}}")
        place += width
    return [f"    {' & '.join(first)} \\\\", f"    {''.join(rules)}", second]
