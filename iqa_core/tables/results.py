"""The result table: every method on the same test images, under every label, beside the
content-blind baseline.
"""

import numpy as np
import pandas as pd

from ..metrics import logistic5, per_content
from ..stats import (
    boosted_blind,
    codes,
    compare,
    content_blind,
    correlation_interval,
    holm,
    own_contents,
    partial_srcc,
    plcc,
    rank_correlations,
    resampled_interval,
    srcc,
    standard_error,
    t_interval,
)

FAMILY = {"vsi"}  # measures of the family that made the demo's label: shown with a note
BLIND, BOOSTED = "content-blind", "boosted, content-blind"


def results(
    tests: list[tuple[pd.DataFrame, pd.Series]], table: pd.DataFrame, *, labels=("label", "label2")
) -> pd.DataFrame:
    """One row a label and method: pooled SRCC, mean per-content SRCC and the joint partial SRCC
    given the blind baseline.

    `tests`: for each run its test predictions (column image and one column a method) and its split
    (part of each table row). Rotations are put one under the other, each baseline learnt on its own
    training contents. Columns: label, method, n, contents, and for srcc (by bootstrap of contents),
    content_srcc, partial and gain (t over contents) the value, _low and _high; gain is how much the
    partial SRCC exceeds that of a boosted rule which sees no pixels either, paired by content. A
    table without distortions has no baseline and no partial correlation."""
    return pd.DataFrame(
        [row for label in labels if label in table for row in _under(label, tests, table)]
    )


def has_blind_rule(table: pd.DataFrame) -> bool:
    """Whether a table can have a content-blind baseline; those of sets without distortions hold the
    columns, but empty.
    """
    return {"distortion", "level", "content"} <= set(table.columns) and bool(
        table.distortion.notna().any()
    )


def _under(label, tests, table):
    blind = has_blind_rule(table)
    parts = []
    for predictions, split in tests:
        if both := sorted(set(predictions) & set(table) - {"image"}):
            raise ValueError(
                f"{', '.join(both)} made the labels or stands in the table; it cannot compete, "
                f"leave it out"
            )
        test = table.assign(split=split).merge(predictions, on="image", validate="one_to_one")
        if len(test) != len(predictions) or set(test.split) != {"test"}:
            raise ValueError(
                "predictions hold images that are no test images of their split; results are for "
                "test images only"
            )
        if blind:
            known = table[split.notna()]
            columns = content_blind(known, split.dropna(), label=label)
            made = pd.DataFrame(columns, index=known.image).add_prefix("blind")
            made[BOOSTED] = boosted_blind(known, split.dropna(), label=label)
            test = test.join(made, on="image")
        parts.append(test)
    test = pd.concat(parts)
    baseline = test.filter(regex=r"^blind\d+$")
    methods = [c for c in tests[0][0].columns if c != "image"]
    columns = {m: test[m] for m in methods} | (
        {BLIND: baseline["blind0"], BOOSTED: test[BOOSTED]} if blind else {}
    )
    return [
        {"label": label, **_row(name, values, test, label, baseline)}
        for name, values in columns.items()
    ]


def _row(name, predicted, test, label, baseline):
    content = own_contents(test)
    ranked = codes(predicted), codes(test[label])
    (error,), units, _ = standard_error(
        rank_correlations, *ranked, content=test.get("content"), fisher=True
    )
    (pooled,) = rank_correlations(*ranked)
    row = {
        "method": name,
        "n": len(test),
        "contents": None if content is None else content.nunique(),
    }
    row |= spread("srcc", float(pooled), correlation_interval(pooled, error, units))
    if content is not None:
        within = per_content(predicted, test[label], content)
        row |= spread("content_srcc", within["srcc"], within["interval"])
    if baseline.shape[1] and name != BLIND:
        partial = partial_srcc(predicted, test[label], baseline, content=content)
        row |= spread("partial", partial["value"], partial["interval"])
        if name != BOOSTED:
            blind = partial_srcc(test[BOOSTED], test[label], baseline, content=content)
            gains = [partial["values"][c] - blind["values"][c] for c in partial["values"]]
            row |= spread("gain", float(np.mean(gains)), t_interval(gains))
    return row


def spread(name, value, interval):
    """A value and the ends of its interval as columns."""
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}


def over_splits(
    tests: list, table: pd.DataFrame, pairs, *, labels=("label", "label2")
) -> pd.DataFrame:
    """One row a label, measure and method over random splits of one set, then one for each of
    `pairs`: first minus second.

    `tests` as for `results`, with the same methods in each. Columns: label, measure (srcc; plcc,
    raw; plcc5, after the 5-parameter logistic; content_srcc where images share contents), method,
    splits, n (test images a split), median, mean, std over splits, low and high of the mean
    (`stats.resampled_interval`: splits share images)."""
    train, n = np.median(
        [[part.isin(names).sum() for names in (["train", "val"], ["test"])] for _, part in tests],
        axis=0,
    )
    methods, rows = [column for column in tests[0][0] if column != "image"], []
    for label in [label for label in labels if label in table]:
        found = [test.merge(table, on="image", validate="one_to_one") for test, _ in tests]
        frames = [
            pd.DataFrame({method: _agreement(test, method, label) for method in methods})
            for test in found
        ]
        each = pd.concat(frames, keys=range(len(frames)))
        for one, other in pairs:
            each[f"{one} - {other}"] = each[one] - each[other]
        for measure, values in each.groupby(level=1, sort=False):
            for name, own in values.items():
                own = own.dropna()
                low, high = resampled_interval(own, train=train, test=n)
                told = {
                    "label": label,
                    "measure": measure,
                    "method": name,
                    "splits": len(own),
                    "n": int(n),
                }
                rows.append(
                    told
                    | dict(median=own.median(), mean=own.mean(), std=own.std(), low=low, high=high)
                )
    return pd.DataFrame(rows)


def _agreement(test, method, label):
    predicted, truth, content = test[method].to_numpy(), test[label].to_numpy(), own_contents(test)
    fitted = logistic5(predicted, truth)(predicted)
    told = {
        "srcc": srcc(predicted, truth),
        "plcc": plcc(predicted, truth),
        "plcc5": plcc(fitted, truth),
    }
    return (
        told
        if content is None
        else told | {"content_srcc": per_content(predicted, truth, content)["srcc"]}
    )


def verdicts(data: pd.DataFrame, method: str) -> list[str]:
    """What a method's rows of `results` allow to say, a sentence a label: is it more than a rule
    without pixels earns?
    """
    told = []
    for row in data[data.method == method].to_dict("records"):
        within, blind = (
            "content_srcc" in row and pd.notna(row["content_srcc"]),
            data[data.label == row["label"]],
        )
        key = "content_srcc" if within else "srcc"
        text = f"{row['label']}: {method} has {'per-content' if within else 'pooled'} SRCC {_cell(row, key)}"
        rules = " and ".join(
            f"{value:.3f}" for value in blind[blind.method.isin([BLIND, BOOSTED])][key]
        )
        if not rules:
            told.append(
                text + "; the set tells no distortions, so no rule without pixels stands beside it."
            )
            continue
        text += f"; rules that are told type and level, and see no pixel, have {rules}. "
        found = "shows" if row.get("gain_low", np.nan) > 0 else "does not show"
        told.append(
            f"{text}Given these, it keeps {_cell(row, 'gain')} more partial SRCC than the boosted "
            f"one: on these contents that "
            f"{found} that this network judges pictures."
        )
    return told


def headline(data: pd.DataFrame, method: str) -> dict:
    """A method's row of `results` as flat numbers for a run's metrics.json; names end in the label
    where it is not `label`.
    """
    rows = {
        row.pop("label"): row
        for row in data[data.method == method].drop(columns="method").to_dict("records")
    }
    return {
        k if label == "label" else f"{k}_{label}": v
        for label, row in rows.items()
        for k, v in row.items()
    }


def results_caption(data: pd.DataFrame, runs: pd.DataFrame) -> str:
    """What a reader needs beside the numbers: n, contents, units of resampling, splits, crops,
    seeds, models, label kinds.

    `runs`: one row a training with columns model, set, split, split_hash, seed, crops, selected_on
    and label_kind."""
    first, few = data.iloc[0], data.contents.min() < 15 if data.contents.notna().all() else False
    hashes = ", ".join(
        f"{r.split} ({r.split_hash})" for r in runs.drop_duplicates("split").itertuples()
    )
    told = [
        f"Agreement on {first.n} test images"
        + (f" of {first.contents:.0f} contents" if pd.notna(first.contents) else "")
        + f" ({', '.join(runs.set.unique())}, labels: {', '.join(runs.label_kind.unique())}).",
        "In brackets 95 % intervals, t on Fisher's z: pooled SRCC by 2,000 bootstrap draws of "
        "contents (else images), "
        "Student's t over contents (per-content SRCC, partial SRCC).",
        "Fewer than 15 contents: the bootstrap intervals are too narrow, and one rotation proves "
        "little."
        if few
        else "",
        "Partial SRCC: rank correlation within a content given all content-blind fits of "
        "distortion type and level jointly."
        if "partial" in data
        else "",
        f"Trained: {', '.join(runs.model.unique())}; weights chosen on "
        f"{', '.join(runs.selected_on.unique())}; "
        f"{', '.join(map(str, runs.crops.unique()))} crops an image, "
        f"seed {', '.join(map(str, runs.seed.unique()))}, one training a method and split: "
        f"{hashes}.",
    ]
    if set(runs.set) == {"demo"}:
        told.append(
            "label: pseudo-MOS from MDSI and HaarPSI; label2: SSIMULACRA2; the network is trained "
            "on label only. "
            "VSI (marked *) is of the family that made label."
        )
    return " ".join(part for part in told if part)


def readable(data: pd.DataFrame) -> pd.DataFrame:
    """`results` for people: a row a label and method, each figure with its interval as text."""
    shown = {
        "pooled SRCC": "srcc",
        "per-content SRCC": "content_srcc",
        "partial SRCC": "partial",
        "more than boosted": "gain",
    }
    rows = data.to_dict("records")
    cells = {
        title: [_cell(row, key) for row in rows] for title, key in shown.items() if key in data
    }
    return pd.DataFrame(
        {"label": data.label, "method": data.method.map(_name), "n": data.n} | cells
    ).set_index(["label", "method"])


def results_tex(data: pd.DataFrame, *, caption: str, name: str) -> str:
    """The table of `results` as LaTeX (booktabs): a block a label, intervals in brackets, the
    boosted rule in the footnote.
    """
    text = caption.replace("%", r"\%").replace("_", r"\_")
    table = readable(data)
    titles = list(table.columns[1:])
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{text}}}",
        rf"  \label{{tab:{name}}}",
    ]
    lines += [
        rf"  \begin{{tabular}}{{{'l' * (1 + len(titles))}}}",
        r"    \toprule",
        f"    & {' & '.join(titles)} \\\\",
    ]
    for label, rows in table.drop(BOOSTED, level="method", errors="ignore").groupby(
        "label", sort=False
    ):
        lines += [
            r"    \midrule",
            rf"    \multicolumn{{{1 + len(titles)}}}{{l}}{{\texttt{{{label}}}, $n = "
            rf"{rows.n.iloc[0]}$}} \\",
        ]
        for (_, method), row in rows.iterrows():
            lines.append(f"    {method.replace('*', '$^*$')} & {' & '.join(row[titles])} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if BOOSTED in set(data.method):
        notes = table.xs(BOOSTED, level="method")["partial SRCC"]
        check = "Instrument check: a boosted rule, which sees type and level only, keeps a partial SRCC of "
        told = "; ".join(rf"\texttt{{{label}}}: {value}" for label, value in notes.items())
        lines.append(rf"  \\ \footnotesize {check}{told}.")
    return "\n".join([*lines, r"\end{table}", ""])


def _name(method):
    is_measure = method.isidentifier() and method.islower()
    return method.upper() + ("*" if method in FAMILY else "") if is_measure else method


def _cell(row, key):
    if pd.isna(row.get(key)):
        return "--"
    return f"{row[key]:.3f} [{row[key + '_low']:.3f}, {row[key + '_high']:.3f}]"


def differences(
    data: pd.DataFrame, pairs: list[tuple[str, str]], *, labels=("label", "label2")
) -> pd.DataFrame:
    """One row a label and pair of columns of `data`, predictions for the same images: how much the
    first exceeds the second.

    With contents the difference of the mean SRCC within contents (t interval over contents, signs
    of the contents), else of the plain SRCC (bootstrap of images, exchanges). Columns: label,
    method, than, n, units, unit, difference, low, high, p, p_holm (Holm over the pairs of a label),
    told_apart (p_holm below .05). It is of these trained networks: what another seed would give is
    no part of it (`seed_differences` is for that)."""
    rows = []
    for label in [label for label in labels if label in data]:
        content = data.get("content")
        found = [
            compare(data[one], data[other], data[label], content=content) for one, other in pairs
        ]
        parts = [pair["within"] or pair for pair in found]
        adjusted = holm([part["p"] for part in parts]) if parts else []
        for (one, other), pair, part, p_holm in zip(pairs, found, parts, adjusted, strict=True):
            units = {
                "n": pair["n"],
                "units": part.get("contents", pair["units"]),
                "unit": pair["unit"],
            }
            low, high = part["interval"]
            told = {
                "difference": part["difference"],
                "low": low,
                "high": high,
                "p": part["p"],
                "p_holm": p_holm,
            }
            rows.append(
                {"label": label, "method": one, "than": other}
                | units
                | told
                | {"told_apart": bool(p_holm < 0.05)}
            )
    columns = [
        "label",
        "method",
        "than",
        "n",
        "units",
        "unit",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "told_apart",
    ]
    return pd.DataFrame(rows, columns=columns)
