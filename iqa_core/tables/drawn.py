"""What the comparison figures show, topic by topic: an experiment's own runs, and the reports."""

from pathlib import Path

import pandas as pd

from ..files import read_json
from .cells import BLIND
from .comparison import COMPARED, of_variants, reported

FILES = {"backbones": "sizes"}  # topic: where its reported numbers stand, if not under its name
REPORTED_SET = "koniq10k"  # on which the reports measured
# Of rows that agree in these, and differ in their source, the first is drawn.
KEYS = {
    "sizes": ["backbone"],
    "backbones": ["backbone"],
    "components": ["step"],
    "sota_koniq10k": ["method", "group"],
    "learning_rates": ["lr"],
    "losses": ["loss"],
    "transfer": ["method", "tested"],
    "complexity": ["method"],
}
RATES = {"head_lr", "backbone_lr"}


def compared(
    topic: str, data_set: str, measured: pd.DataFrame, variants: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """The frames that a topic's figure draws, by the figure's name; those without rows left out.

    Numbers of the set that the reports measured on stand beside the reported ones in one figure,
    <topic>; those of other images are a figure of their own, and the reports' is <topic>-reported.

    topic      of `comparison.reported`, one of `KEYS`
    data_set   which was measured on
    measured   as `comparison.measured` gives it: for sizes, complexity and the state of the art
    variants   as `variants_of` gives them: for components, learning rates, losses and transfer
    """
    there = reported_rows(topic)
    here = _measured_rows(topic, measured, variants)
    if topic == "sota_koniq10k":
        here = here.assign(protocol=f"{data_set}, measured here")
    if data_set == REPORTED_SET:
        frames = {topic: pd.concat([there, here], ignore_index=True)}
    else:
        frames = {topic: here, f"{topic}-reported": there}
    return {name: rows for name, rows in frames.items() if len(rows)}


def reported_rows(topic: str) -> pd.DataFrame:
    """The reported rows that a figure shows: the first source's of each, of one series."""
    data = reported(FILES.get(topic, topic))
    if topic == "components":  # the series of the headline; the table has the others
        data = data[data.group == data.group.iloc[0]]
    if topic == "sota_koniq10k":  # protocols do not compare, and are kept apart
        data = data.assign(protocol=data.group)
    if "srcc" in data and topic != "complexity":
        data = data.dropna(subset="srcc")
    return data.drop_duplicates(KEYS[topic])


def variants_of(folder: Path) -> pd.DataFrame:
    """What a finished run of notebook 04 tells of its variants, as measured rows: `of_variants`
    with the columns topic, and step (components, in order), lr and epochs, or loss. Variants that
    differ in more than a topic's one thing are in none. The content-blind rule is a topic of its
    own.
    """
    facts = read_json(folder / "params.json")
    given = facts["parameters"]
    rows = of_variants(pd.read_csv(folder / "ablations.csv"), source=folder.name)
    rows = rows.set_index("method", drop=False)
    found = []
    for topic, names in _topics_of(given["variants"]).items():
        if names:
            of_topic = rows.loc[[name for name in [*names, "full"] if name in rows.index]]
            changes = [given["variants"].get(name, {}) for name in of_topic.method]
            found.append(of_topic.assign(topic=topic, **_columns(topic, given, changes)))
    for name, column in (("transfer.csv", "transfer"), ("left_out.csv", "transfer")):
        if (folder / name).is_file():
            tested = pd.read_csv(folder / name)
            tested = of_variants(tested, source=folder.name, column="trained")
            found.append(tested.assign(topic=column))
            break
    blind = rows[rows.method == BLIND].assign(topic=BLIND)
    return pd.concat([*found, blind], ignore_index=True)


def _topics_of(variants):
    """The variants that change one thing alone, by topic."""
    topics = {"components": [], "learning_rates": [], "losses": []}
    for name, change in variants.items():
        changed = {key for key in change if key != "seeds"}
        if changed == {"arguments"} and "gate" not in change["arguments"]:
            topics["components"].append(name)
        elif changed and changed <= RATES:
            topics["learning_rates"].append(name)
        elif changed == {"options"} and set(change["options"]) == {"loss"}:
            topics["losses"].append(name)
    return topics


def _columns(topic, given, changes):
    """The columns of a topic, a value a variant."""
    if topic == "components":
        return {"step": range(len(changes))}
    if topic == "learning_rates":
        rate = next(iter(RATES & {key for change in changes for key in change}))
        rates = [change.get(rate, given[rate]) for change in changes]
        return {"lr": rates, "epochs": given["epochs"]}
    usual = given["options"].get("loss", "l1")
    return {"loss": [change.get("options", {}).get("loss", usual) for change in changes]}


def _measured_rows(topic, measured, variants):
    """Those of a topic among what was measured."""
    if topic == "sizes":
        return measured.dropna(subset=["params_m", "srcc"])
    if topic == "backbones":
        return measured[measured.backbone.isin(reported("sizes").backbone) & measured.srcc.notna()]
    if topic == "complexity":
        return measured.dropna(subset="params_m")
    if topic == "sota_koniq10k":
        return measured.dropna(subset="srcc")
    if variants is None:
        return pd.DataFrame(columns=COMPARED)
    return variants[variants.topic == topic].dropna(axis=1, how="all").reset_index(drop=True)
