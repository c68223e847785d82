"""What was reported and what was measured, as rows of one kind that tables and figures share.

Reported numbers live once, in iqa_core/figures/reported/*.csv; measured ones come from finished
runs. Both are frames of `COMPARED` and of the columns of their topic."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets import saved_table
from ..files import read_json
from ..stats import correlation_interval, plcc, standard_error
from .agreement import over_splits, results
from .cells import with_interval
from .files import read_tests, share_images
from .statement import STATED, stated

REPORTED = Path(__file__).parents[1] / "figures/reported"
VALUES = [f"{name}{end}" for name in ("srcc", "plcc") for end in ("", "_low", "_high")]
COMPARED = ["method", "own", "kind", *VALUES, "protocol", "source"]
TEXT = ["protocol", "source", "note", "run"]  # "" where nothing is said
OWN_MODEL = "smart_iqa"
BACKBONES = {  # timm's name, or how it begins -> what it is called
    "swin_tiny": "Swin-T",
    "swin_small": "Swin-S",
    "swin_base": "Swin-B",
    "resnet": "ResNet-",
    "tf_efficientnet_lite": "EfficientNet-Lite",
}


def topics() -> list[str]:
    """What there are reported numbers of."""
    return sorted(file.stem for file in REPORTED.glob("*.csv"))


def reported(topic: str) -> pd.DataFrame:
    """The reported numbers of a topic, a row a number and source: `COMPARED`, with kind "reported",
    then the topic's columns (as `group`, `backbone`, `params_m` in millions, `gmacs`, `ms`, `lr`,
    `epochs`, `loss`, `step`), digits (decimals that SRCC and PLCC are printed with), note (what
    contradicts it) and run (the command that would measure it). NaN where a number is not reported.

    Errors: KeyError for a topic that there is not.
    """
    if topic not in topics():
        raise KeyError(f"nothing is reported of {topic!r}; there are {', '.join(topics())}")
    data = pd.read_csv(REPORTED / f"{topic}.csv", dtype=dict.fromkeys([*TEXT, "srcc", "plcc"], str))
    for name in TEXT:
        data[name] = data[name].fillna("") if name in data else ""
    rest = [name for name in data if name not in [*COMPARED, *TEXT]]
    if "srcc" in data:
        pair = data[["srcc", "plcc"]]
        data["digits"] = pair.map(lambda text: len(str(text).partition(".")[2])).max(axis=1)
        data[["srcc", "plcc"]] = pair.astype(float)
        rest.append("digits")
    data = data.assign(kind="reported")
    return data.reindex(columns=[*COMPARED, *rest, "note", "run"])


def measured(
    index: pd.DataFrame, folders: dict[str, Path], *, root: Path, label: str = "label"
) -> pd.DataFrame:
    """What finished runs measured on the test images of their splits: a row a method and measure
    and, where the set is crossed, the content-blind rule.

    index, folders   as `read_runs` gives and takes them

    Returns `COMPARED`, with kind "measured", then backbone, params_m and gmacs (of the runs'
    model.json; NaN where that does not tell) and `STATED`. Intervals are 95 %, those of `results`:
    bootstrap by content, else by image. Where random splits share images a value is the mean over
    splits, with the interval of `over_splits`.
    """
    table = saved_table(index.set.iloc[0], root=root)
    tests = read_tests(index, folders, table, root=root)
    if share_images(tests):
        data = _over_splits(tests, table, label)
    else:
        data = _pooled(tests, table, label)
    runs_of = index.groupby("method", sort=False)
    networks = index.drop_duplicates("method").set_index("method")
    own = networks.model.str.startswith(OWN_MODEL)
    data["own"] = [bool(own.get(method, False)) for method in data.method]
    chosen = runs_of.selected_on.agg(lambda parts: ", ".join(dict.fromkeys(parts)))
    data["protocol"] = [
        f"chosen on {chosen[method]}" if method in chosen else "" for method in data.method
    ]
    sources = runs_of.apply(lambda rows: ", ".join(rows.index), include_groups=False)
    data["source"] = data.method.map(sources).fillna("")
    sizes = {run.method: architecture(folders[name]) for name, run in index.iterrows()}
    for column in ("backbone", "params_m", "gmacs"):
        data[column] = [sizes.get(method, {}).get(column, np.nan) for method in data.method]
    data = stated(data.assign(kind="measured"), *index.to_dict("records"))
    return data.reindex(columns=[*COMPARED, "backbone", "params_m", "gmacs", *STATED])


def of_variants(
    data: pd.DataFrame, *, source: str, label: str = "label", column: str = "variant"
) -> pd.DataFrame:
    """The variants of an ablation as measured rows: a row a variant, averaged over its trainings.

    data     as `ablations` gives it, or `transfers` (with column="trained"), after `stated`
    source   the run that trained them
    column   which names the variant

    Returns `COMPARED`, where PLCC is not known, then trainings, seed_sd (standard deviation over
    trainings) and `STATED`, and of `transfers` also tested.
    """
    if "seed" in data:
        data = data[data.seed.isna()]
    if "label" in data:
        data = data[data.label == label]
    data = data.rename(columns={column: "method"})
    told = dict(kind="measured", protocol="chosen on val", source=source)
    data = data.assign(own=data.trainings.notna(), **told)
    further = [name for name in ("tested", "trainings", "seed_sd") if name in data]
    return data.reindex(columns=[*COMPARED, *further, *STATED]).reset_index(drop=True)


def named(data: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """The table with methods called as they are displayed, wherever it names some (columns method,
    variant, than, trained).

    names   {method: what it is called}; others keep their names

    Errors: KeyError for a method that the table has not.
    """
    columns = [name for name in ("method", "variant", "than", "trained") if name in data]
    known = pd.unique(data[columns].to_numpy().ravel())
    if unknown := [name for name in names if name not in known]:
        raise KeyError(f"no method {', '.join(unknown)} here; there are {', '.join(known)}")
    return data.assign(**{name: data[name].replace(names) for name in columns})


def architecture(folder: Path) -> dict:
    """backbone, params_m (millions) and gmacs (billions of multiply-adds) that a run's model.json
    tells.
    """
    file = folder / "model.json"
    facts = read_json(file).get("architecture", {}) if file.is_file() else {}
    found = {}
    if "parameters" in facts:
        found["params_m"] = facts["parameters"] / 1e6
    if "gmacs" in facts:
        found["gmacs"] = facts["gmacs"]
    if facts.get("backbone"):
        found["backbone"] = backbone_name(facts["backbone"])
    return found


def backbone_name(name: str) -> str:
    """What a backbone of timm is called in papers: Swin-T for swin_tiny_patch4_window7_224."""
    for start, called in BACKBONES.items():
        if name.startswith(start):
            return called + re.match(r"\d*", name.removeprefix(start))[0]
    return name


def _pooled(tests, table, label):
    """Rows of `results`, with PLCC and its interval."""
    data = results(tests, table, labels=(label,))
    tested = pd.concat([predictions for predictions, _ in tests])
    tested = tested.merge(table, on="image")
    rows = []
    for row in data.to_dict("records"):
        if row["method"] in tested:
            row |= _plcc(tested, row["method"], label)
        rows.append(row)
    return pd.DataFrame(rows)


def _plcc(tested, method, label):
    """Raw PLCC with a bootstrap interval, as columns."""
    pair = tested[method].to_numpy(), tested[label].to_numpy()
    error, units, _ = standard_error(plcc, *pair, content=tested.get("content"), fisher=True)
    value = plcc(*pair)
    return with_interval("plcc", value, correlation_interval(value, error, units))


def _over_splits(tests, table, label):
    """Mean SRCC and raw PLCC over random splits, with the intervals of `over_splits`."""
    over = over_splits(tests, table, [], labels=(label,))
    rows = []
    for method, of_method in over.groupby("method", sort=False):
        of_method = of_method.set_index("statistic")
        first = of_method.iloc[0]
        row = {"method": method, "n": first.n, "unit": first.unit, "units": first.splits}
        for name in ("srcc", "plcc"):
            value, low, high = of_method.loc[name, ["mean", "low", "high"]]
            row |= with_interval(name, value, (low, high))
        rows.append(row)
    return pd.DataFrame(rows)
