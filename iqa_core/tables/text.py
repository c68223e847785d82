"""`results` as people read it: sentences, a table of text, a caption, LaTeX."""

import numpy as np
import pandas as pd

from .cells import BLIND, NOT_CROSSED, cell
from .statement import STATED

FAMILY = {"vsi"}  # full-reference measures of the family that made the demo's label: with a note
TITLES = {
    "pooled SRCC": "srcc",
    "per-content SRCC": "content_srcc",
    "content-specific": "specific",
}


def verdicts(data: pd.DataFrame, method: str) -> list[str]:
    """What a method's rows of `results` allow to say, a sentence or two a label: what would a rule
    without pixels have earned, and does this network look at the picture?
    """
    rows = data[data.method == method].to_dict("records")
    return [_verdict(row, data[data.label == row["label"]]) for row in rows]


def _verdict(row, of_label):
    name, words = "srcc", "pooled"
    if pd.notna(row.get("content_srcc")):
        name, words = "content_srcc", "per-content"
    sentence = f"{row['label']}: {row['method']} has {words} SRCC {cell(row, name)}"
    if "specific" not in row:
        return f"{sentence}. {NOT_CROSSED}"
    blind = of_label.loc[of_label.method == BLIND, name]
    if len(blind):
        rule = "the mean training label of the same version, which sees no pixel"
        sentence += f"; {rule}, has {blind.iloc[0]:.3f}"
    sentence += "."
    if np.isnan(row["specific"]):
        return (
            f"{sentence} Its ranks, or those of the labels, are the same for all contents: nothing "
            "is left that only looking could have earned."
        )
    found = f"{cell(row, 'specific')}, p = {row['specific_p']:.2g} by permuting contents"
    sentence += f" What only looking can earn, its content-specific correlation, is {found}: "
    if row["specific_least_p"] >= 0.05:
        return f"{sentence}too few contents, p is {row['specific_least_p']:.2g} at best."
    looks = row["specific_p"] < 0.05 and row["specific"] > 0
    shown = "shows" if looks else "does not show"
    sentence += f"on these contents that {shown} that this network judges pictures"
    # p is of these contents, the interval of what others would give.
    if looks and row["specific_low"] <= 0:
        contents = f"{row['specific_contents']:.0f} contents"
        sentence += f"; its interval, of {contents}, holds 0, so others may not show it"
    return f"{sentence}."


def readable(data: pd.DataFrame) -> pd.DataFrame:
    """`results` for people: a row a label and method, each figure with its interval as text."""
    rows = data.to_dict("records")
    family = FAMILY if data.attrs.get("set") == "demo" else ()
    methods = [_shown_name(method, family) for method in data.method]
    shown = pd.DataFrame({"label": data.label, "method": methods})
    columns = [name for name in STATED if name in data]
    shown[columns] = data[columns]
    for title, name in TITLES.items():
        if name in data:
            shown[title] = [cell(row, name) for row in rows]
    if "specific" in data:
        shown.loc[data.specific.isna(), "content-specific"] = "nothing left"
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
    if "specific" in data:
        sentences.append(
            "Content-blind: the mean training label of the version, no pixel. Content-specific: "
            "correlation of what is left of ranks within a content when the mean rank of the same "
            "version over the contents of a split is taken away; of a rule that sees no pixel "
            "nothing is left."
        )
        if first.specific_n < first.n:
            sentences.append(
                f"It is of {first.specific_n:.0f} of the images, in versions that all "
                f"{first.specific_contents:.0f} contents have."
            )
    else:
        sentences.append(NOT_CROSSED)
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
    """The table of `results` as LaTeX (booktabs): a block a label, intervals in brackets."""
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
    for label, rows in table.groupby("label", sort=False):
        heading = rf"\texttt{{{escaped(label)}}}, $n = {rows.n.iloc[0]}$"
        lines.append(r"    \midrule")
        lines.append(rf"    \multicolumn{{{1 + len(titles)}}}{{l}}{{{heading}}} \\")
        for (_, method), row in rows.iterrows():
            shown_name = escaped(method).replace("*", "$^*$")
            lines.append(f"    {shown_name} & {' & '.join(row[titles])} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    return "\n".join([*lines, r"\end{table}", ""])


def escaped(text: str) -> str:
    """Text as LaTeX: what that would read as a command escaped, letters and signs beyond ASCII as
    its own commands where it has some. One line, since an empty one would end a caption.
    """
    from pylatexenc.latexencode import unicode_to_latex

    kept = dict(unknown_char_policy="keep", unknown_char_warning=False)
    return unicode_to_latex(" ".join(text.split()), **kept)


def _listed(column):
    return ", ".join(map(str, column.unique()))


def _shown_name(method, family):
    """PSNR for psnr, with * where the measure is of the family that made the label; other names as
    they are.
    """
    is_measure = method.isidentifier() and method.islower()
    if not is_measure:
        return method
    return method.upper() + ("*" if method in family else "")
