"""Tables of ablations: variants of one model, each trained with several seeds, tested on the same
images; and transfer.

Their drawings are in `variants`.
"""

import numpy as np
import pandas as pd

from ..stats import (
    boosted_blind,
    codes,
    compare,
    compare_seeds,
    content_blind,
    correlation_interval,
    holm,
    over_contents,
    own_contents,
    partial_srcc,
    rank_correlations,
    srcc,
    standard_error,
    t_interval,
)
from .results import BLIND, BOOSTED, has_blind_rule, spread

MEASURES = {
    "content_srcc": "mean SRCC within contents",
    "srcc": "SRCC over all images",
    "partial": "partial SRCC",
}


def ablations(
    tested: pd.DataFrame, table: pd.DataFrame, part, *, labels=("label", "label2")
) -> pd.DataFrame:
    """One row a label and variant, averaged over its trainings, then one a training (column seed,
    else NaN).

    `tested`: columns variant, seed, image, predicted, for the test images of `part` (the part of
    each table row); optionally draw, repetitions within a training. Columns: label, variant, seed,
    n, contents, seeds, and the value, _low and _high of srcc (over all images, bootstrap),
    content_srcc (mean SRCC within contents), partial (given the content-blind baseline, within
    contents) and gain (how much of it exceeds a boosted blind rule). Values are averaged over the
    trainings first, so the intervals, t over contents, are of these trainings; seed_sd, the
    standard deviation of the headline (content_srcc, else srcc) over trainings, is beside them.
    Sets without contents or distortions have fewer columns; with both there are two more variants,
    rules that see no pixel. ValueError for trainings of a variant on different images."""
    rows = []
    for label in [label for label in labels if label in table]:
        blind, truth = None, table.set_index("image")
        runs = {name: _wide(tested, name) for name in tested.variant.unique()}
        tests = next(iter(runs.values())).index
        if own_contents(truth.loc[tests]) is not None and has_blind_rule(table):
            known = table[part.notna()]
            columns = content_blind(known, part.dropna(), label=label)
            blind = pd.DataFrame(columns, index=known.image).loc[tests]
            boosted = pd.Series(boosted_blind(known, part.dropna(), label=label), known.image)[
                tests
            ]
            runs |= {BLIND: _alone(blind[0]), BOOSTED: _alone(boosted)}
        given = {
            name: _partials(wide, truth, label, blind)
            for name, wide in runs.items()
            if name != BLIND
        }
        for name, wide in runs.items():
            row, single = _agreement(wide, truth, label)
            if blind is not None and name != BLIND:
                by_content = given[name].dropna(axis=1)
                row |= spread("partial", by_content.mean().mean(), _interval(by_content.mean()))
                single["partial"] = by_content.mean(axis=1)
                if name != BOOSTED:
                    gains = (by_content.mean() - given[BOOSTED].mean()).dropna()
                    row |= spread("gain", gains.mean(), t_interval(gains))
            rows.append({"label": label, "variant": name, "seed": np.nan} | row)
            told = {key: row[key] for key in ("n", "contents", "seeds")}
            rows += [
                {"label": label, "variant": name, "seed": seed} | told | own
                for seed, own in single.to_dict("index").items()
            ]
    data = pd.DataFrame(rows)
    rules = data.variant.isin([BLIND, BOOSTED])
    return (
        data[~rules | data.seed.isna()].assign(seeds=data.seeds.mask(rules)).reset_index(drop=True)
    )


def readable_ablations(data: pd.DataFrame) -> pd.DataFrame:
    """The variants' rows of `ablations` for people: figures with their intervals, and the spread
    over seeds, as text.
    """
    means = data[data.seed.isna()]
    trainings = [f"{seeds:.0f}" if np.isfinite(seeds) else "--" for seeds in means.seeds]
    shown = pd.DataFrame({"label": means.label, "variant": means.variant, "trainings": trainings})
    for column, title in (MEASURES | {"gain": "more than boosted"}).items():
        if column in means:
            figures = zip(
                means[column], means[f"{column}_low"], means[f"{column}_high"], strict=True
            )
            shown[title] = [
                f"{v:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite(v) else "--"
                for v, low, high in figures
            ]
    shown.insert(
        4, "sd over seeds", [f"{sd:.3f}" if np.isfinite(sd) else "--" for sd in means.seed_sd]
    )
    return shown.set_index(["label", "variant"])


def seed_differences(
    tested: pd.DataFrame, table: pd.DataFrame, pairs, *, labels=("label", "label2")
) -> pd.DataFrame:
    """One row a label and pair of variants of `tested` (as for `ablations`): how much the first
    exceeds the second.

    The difference of what `ablations` has: the mean SRCC within contents, else that over all
    images. With two or more trainings of each, these and the contents are random effects
    (`stats.compare_seeds`). With fewer it is between two trained networks, the first of each: an
    interval by contents, no p, and nothing is concluded. Where an optional column `networks` says
    that both are tests of the same networks, seeds are no noise: the interval is paired, over
    contents, of these networks. Columns: label, variant, than, n, units (contents of three images
    or more, else images), trainings, difference, low, high, p, p_holm (over the pairs of a label),
    found."""
    rows = []
    for label in [label for label in labels if label in table]:
        found = [_pair(tested, table, label, *pair) for pair in pairs]
        for row, p_holm in zip(
            found, holm([row["p"] for row in found]) if found else [], strict=True
        ):
            apart = (
                row["low"] > 0 or row["high"] < 0
                if row.pop("same")
                else p_holm < 0.05
                if row["trainings"] > 1
                else None
            )
            told = {
                True: "apart",
                False: "not told apart",
                None: "one training: nothing is concluded",
            }[apart]
            rows.append(row | {"p_holm": p_holm, "found": told})
    columns = [
        "label",
        "variant",
        "than",
        "n",
        "units",
        "trainings",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "found",
    ]
    return pd.DataFrame(rows, columns=columns)


def _pair(tested, table, label, one, other):
    first, second = _wide(tested, one), _wide(tested, other)
    if set(first.index) != set(second.index):
        raise ValueError(
            f"{one} and {other} were tested on different images; there is no paired difference"
        )
    own = table.set_index("image").loc[first.index]
    content, trainings = own_contents(own), min(first.shape[1], second.shape[1])
    arms = [values.loc[first.index].T.to_numpy() for values in (first, second)]
    draws = 2000 if content is None else 2  # the interval within contents needs none
    networks = tested.get("networks", tested.variant).groupby(tested.variant).first()
    row = {"label": label, "variant": one, "than": other, "n": len(own), "trainings": trainings}
    if networks[one] == networks[other]:
        gain, (low, high), units = _lost(first, second, own[label], content)
        return row | {
            "units": units,
            "difference": gain,
            "low": low,
            "high": high,
            "p": np.nan,
            "same": True,
        }
    if trainings > 1:
        found = compare_seeds(*arms, own[label], content=own.get("content"), draws=draws)
    else:
        found = compare(
            *(arm[0] for arm in arms), own[label], content=own.get("content"), draws=draws
        )
    part = found["within"] or found
    low, high = part["interval"]
    row |= {
        "units": part.get("contents", found["units"]),
        "difference": part["difference"],
        "low": low,
        "high": high,
    }
    return row | {"p": part["p"] if trainings > 1 else np.nan, "same": False}


def shuffle_loss(
    tested: pd.DataFrame, table: pd.DataFrame, pair, *, labels=("label", "label2")
) -> pd.DataFrame:
    """One row a label: the SRCC that the first variant of `pair` loses as the second, the same
    networks with their stage weights shuffled between images (columns of `tested` as for
    `ablations`).

    Columns: label, n, units, trainings, draws, intact (its SRCC), lost, low, high (t over contents,
    trainings and draws averaged first; without contents by bootstrap of images), least and most (of
    a single training), found."""
    rows = []
    intact, shuffled = (_wide(tested, name) for name in pair)
    for label in [label for label in labels if label in table]:
        truth = table.set_index("image").loc[intact.index]
        content = own_contents(truth)
        lost, (low, high), units = _lost(intact, shuffled, truth[label], content)
        single = [
            _lost(intact[[s]], shuffled[[s]], truth[label], content)[0]
            for s in intact.columns.unique(0)
        ]
        row = {"label": label, "n": len(truth), "units": units, "trainings": len(single)}
        row |= {
            "draws": shuffled.shape[1] // len(single),
            "intact": _agreement(intact, truth, label)[0][_headline(content)],
        }
        told = "lost" if low > 0 else "gained" if high < 0 else "not told from nothing"
        rows.append(
            row
            | {
                "lost": lost,
                "low": low,
                "high": high,
                "least": min(single),
                "most": max(single),
                "found": told,
            }
        )
    return pd.DataFrame(rows)


def _lost(intact, shuffled, truth, content):
    def lost(*ranked):
        values = rank_correlations(*ranked)
        return np.mean(values[: intact.shape[1]]) - np.mean(values[intact.shape[1] :])

    arrays = [
        codes(x) for x in (*intact.T.to_numpy(), *shuffled.loc[intact.index].T.to_numpy(), truth)
    ]
    if content is None:
        error, units, _ = standard_error(lost, *arrays)
        value = lost(*arrays)
        return value, (value - 1.96 * error, value + 1.96 * error), units
    values = [
        value
        for value in over_contents(lost, *arrays, content=content)["values"].values()
        if np.isfinite(value)
    ]
    return float(np.mean(values)), t_interval(values), len(values)


def on_left_out(tested: pd.DataFrame, table: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    """The predictions `tested` (columns variant, seed, image, predicted, label) of images with each
    of `kinds` alone, for `transfers` and, as its variant names type and training,
    `seed_differences`.

    An image has a kind as its first or second distortion. seen: False for that of the variant
    `without-<kind>`."""
    parts = []
    for kind in kinds:
        has = table.reindex(columns=["distortion", "distortion2"]).eq(kind).any(axis=1)
        own = tested.merge(table[has].reindex(columns=["image", "content"]), on="image").rename(
            columns={"variant": "trained"}
        )
        seen = own.trained != f"without-{kind}"
        parts.append(own.assign(tested=kind, seen=seen, variant=own.trained + ", " + kind))
    return pd.concat(parts)


def transfers(tested: pd.DataFrame) -> pd.DataFrame:
    """One row for what was trained on and what was tested: agreement averaged over trainings, as
    `ablations` has it.

    `tested`: columns trained, tested, seed, image, predicted, label, optionally content and seen:
    whether the training had such images, else whether both are of one name."""
    rows = []
    for (trained, name), own in tested.groupby(["trained", "tested"], sort=False):
        truth = own.drop_duplicates("image").set_index("image")
        wide = _wide(own, trained, "trained")
        row, _ = _agreement(wide, truth, "label")
        seen = own.seen.iloc[0] if "seen" in own else trained == name
        rows.append({"trained": trained, "tested": name, "seen": bool(seen)} | row)
    return pd.DataFrame(rows)


# ---- from predictions to values


def _wide(tested, name, column="variant"):
    """Predictions of a variant: an image a row, a training (and draw) a column."""
    own = tested[tested[column] == name]
    if own.empty:
        raise ValueError(
            f"no predictions of {name!r}; there are {', '.join(tested[column].unique())}"
        )
    draw = own["draw"] if "draw" in own else pd.Series(0, own.index)
    wide = own.assign(draw=draw.fillna(0)).pivot(
        index="image", columns=["seed", "draw"], values="predicted"
    )
    if wide.isna().any(axis=None):
        raise ValueError(
            f"the trainings of {name!r} were tested on different images; test all on the same"
        )
    return wide


def _alone(values):
    """A rule without seeds as a frame of one training."""
    return pd.DataFrame({(0, 0): values}).rename_axis(columns=["seed", "draw"])


def _headline(content):
    return "srcc" if content is None else "content_srcc"


def _agreement(wide, truth, label):
    """What trainings, columns of `wide`, have in common with the labels: a row for their mean, and
    a frame for each.
    """
    own = truth.loc[wide.index]
    content, labels = own_contents(own), own[label].to_numpy()
    single = pd.DataFrame({"srcc": wide.apply(lambda run: srcc(run.to_numpy(), labels))})
    ranked = [codes(values) for values in (*wide.T.to_numpy(), labels)]
    drawn = own.content if "content" in own and own.content.notna().all() else None
    error, units, _ = standard_error(
        lambda *few: rank_correlations(*few).mean(), *ranked, content=drawn, fisher=True
    )
    row = {
        "n": len(wide),
        "contents": np.nan if content is None else content.nunique(),
        "seeds": wide.columns.unique(0).size,
    }
    row |= spread(
        "srcc", single.srcc.mean(), correlation_interval(single.srcc.mean(), error, units)
    )
    if content is not None:
        parts = {
            run: over_contents(srcc, wide[run].to_numpy(), labels, content=content) for run in wide
        }
        within = _of_contents(parts).dropna(axis=1)
        row |= spread("content_srcc", within.mean().mean(), _interval(within.mean()))
        single["content_srcc"] = within.mean(axis=1)
    single = single.groupby(level="seed").mean()
    return row | {"seed_sd": single[_headline(content)].std()}, single


def _of_contents(parts):
    """A frame of values, trainings by contents, from what `over_contents` gives for each
    training.
    """
    frame = pd.DataFrame({run: part["values"] for run, part in parts.items()}).T
    return frame.rename_axis(index=["seed", "draw"])


def _partials(wide, truth, label, blind):
    """Partial SRCC given the baseline, trainings (draws averaged) by contents; None without a
    baseline.
    """
    if blind is None:
        return None
    own, baseline = truth.loc[wide.index], blind.loc[wide.index].to_numpy()
    parts = {
        run: partial_srcc(wide[run], own[label], baseline, content=own.content) for run in wide
    }
    return _of_contents(parts).groupby(level="seed").mean()


def _interval(values):
    """95 % t interval on Fisher's z for the mean of one correlation a content."""
    value, units = values.mean(), len(values)
    return correlation_interval(
        value, values.std() / np.sqrt(units) / max(1 - value**2, 1e-300), units
    )
