"""`results` as people read it: sentences, a table of text, a caption, LaTeX."""

import numpy as np
import pandas as pd

from .cells import BLIND, BOOSTED, cell
from .statement import STATED

FAMILY = {"vsi"}  # full-reference measures of the family that made the demo's label: with a note
TITLES = {
    "pooled SRCC": "srcc",
    "per-content SRCC": "content_srcc",
    "partial SRCC": "partial",
    "more than boosted": "gain",
}


def verdicts(data: pd.DataFrame, method: str) -> list[str]:
    """What a method's rows of `results` allow to say, a sentence a label: is it more than a rule
    without pixels earns?
    """
    rows = data[data.method == method].to_dict("records")
    return [_verdict(row, data[data.label == row["label"]]) for row in rows]


def _verdict(row, of_label):
    name, words = "srcc", "pooled"
    if pd.notna(row.get("content_srcc")):
        name, words = "content_srcc", "per-content"
    sentence = f"{row['label']}: {row['method']} has {words} SRCC {cell(row, name)}"
    blind = of_label[of_label.method.isin([BLIND, BOOSTED])]
    if blind.empty:
        return (
            f"{sentence}; the set tells no distortions, so no rule without pixels stands beside it."
        )
    rules = " and ".join(f"{value:.3f}" for value in blind[name])
    shows = "shows" if row.get("gain_low", np.nan) > 0 else "does not show"
    return (
        f"{sentence}; rules that are told type and level, and see no pixel, have {rules}. "
        f"Given these, it keeps {cell(row, 'gain')} more partial SRCC than the boosted one: on "
        f"these contents that {shows} that this network judges pictures."
    )


def readable(data: pd.DataFrame) -> pd.DataFrame:
    """`results` for people: a row a label and method, each figure with its interval as text."""
    rows = data.to_dict("records")
    shown = pd.DataFrame({"label": data.label, "method": data.method.map(_shown_name)})
    shown[[name for name in STATED if name in data]] = data[
        [name for name in STATED if name in data]
    ]
    for title, name in TITLES.items():
        if name in data:
            shown[title] = [cell(row, name) for row in rows]
    return shown.set_index(["label", "method"])


def results_caption(data: pd.DataFrame, runs: pd.DataFrame) -> str:
    """What a reader needs beside the numbers of `results`: n, contents, units of resampling,
    splits, crops, seeds, models, kinds of label.

    runs   one row a training, with columns model, set, split, split_hash, seed, crops, selected_on
           and label_kind.
    """
    first = data.iloc[0]
    contents = f" of {first.contents:.0f} contents" if pd.notna(first.contents) else ""
    sentences = [
        f"Agreement on {first.n} test images{contents} "
        f"({_listed(runs.set)}, labels: {_listed(runs.label_kind)}).",
        "In brackets 95 % intervals, t on Fisher's z: pooled SRCC by 2,000 bootstrap draws of "
        f"{first.unit}s.",
    ]
    if "content_srcc" in data:
        sentences.append("Per-content SRCC and what is taken within contents: t over contents.")
    if first.unit == "content" and first.units < 15:
        sentences.append(
            "Fewer than 15 contents: the bootstrap intervals, of pooled SRCC, are too narrow, and "
            "one rotation proves little."
        )
    if "partial" in data:
        sentences.append(
            "Partial SRCC: rank correlation within a content given all content-blind fits of "
            "distortion type and level jointly."
        )
    splits = runs.drop_duplicates("split")
    hashes = [f"{run.split} ({run.split_hash})" for run in splits.itertuples()]
    sentences.append(
        f"Trained: {_listed(runs.model)}; weights chosen on {_listed(runs.selected_on)}; "
        f"{_listed(runs.crops)} crops an image, seed {_listed(runs.seed)}, one training a method "
        f"and split: {', '.join(hashes)}."
    )
    if set(runs.set) == {"demo"}:
        sentences.append(
            "label: pseudo-MOS from MDSI and HaarPSI; label2: SSIMULACRA2; the network is trained "
            "on label only. VSI (marked *) is of the family that made label."
        )
    return " ".join(sentences)


def results_tex(data: pd.DataFrame, *, caption: str, name: str) -> str:
    """The table of `results` as LaTeX (booktabs): a block a label, intervals in brackets, the
    boosted rule in the footnote.
    """
    table = readable(data)
    titles = [title for title in table if title not in STATED]
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{tab:{name}}}",
        rf"  \begin{{tabular}}{{{'l' * (1 + len(titles))}}}",
        r"    \toprule",
        f"    & {' & '.join(titles)} \\\\",
    ]
    shown = table.drop(BOOSTED, level="method", errors="ignore")
    for label, rows in shown.groupby("label", sort=False):
        heading = rf"\texttt{{{label}}}, $n = {rows.n.iloc[0]}$"
        lines.append(r"    \midrule")
        lines.append(rf"    \multicolumn{{{1 + len(titles)}}}{{l}}{{{heading}}} \\")
        for (_, method), row in rows.iterrows():
            lines.append(f"    {method.replace('*', '$^*$')} & {' & '.join(row[titles])} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if BOOSTED in set(data.method):
        notes = table.xs(BOOSTED, level="method")["partial SRCC"]
        values = "; ".join(rf"\texttt{{{label}}}: {value}" for label, value in notes.items())
        lines.append(
            r"  \\ \footnotesize Instrument check: a boosted rule, which sees type and level only, "
            f"keeps a partial SRCC of {values}."
        )
    return "\n".join([*lines, r"\end{table}", ""])


def escaped(text: str) -> str:
    """Text with what LaTeX would read as a command escaped: % and _."""
    return text.replace("%", r"\%").replace("_", r"\_")


def _listed(column):
    return ", ".join(map(str, column.unique()))


def _shown_name(method):
    """PSNR for psnr, with * where the measure made the label's family; other names as they are."""
    is_measure = method.isidentifier() and method.islower()
    if not is_measure:
        return method
    return method.upper() + ("*" if method in FAMILY else "")
