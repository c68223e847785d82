"""Write the reported numbers of iqa_core/figures/reported into docs/reproduction.md, each table
between its markers: python scripts/make_reproduction_docs.py

The measured parameters and GMACs beside them are read in docs/models.md.
"""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reproduction.md"
MODELS = ROOT / "docs/models.md"
REPORTED = ROOT / "iqa_core/figures/reported"
PAIR = ("srcc", "plcc")
TITLES = {  # column of a file -> head of the table; other columns are called as they are
    "method": "what",
    "pair": "SRCC / PLCC",
    "params_m": "parameters, M",
    "gmacs": "GMACs",
    "images_per_second": "images a second",
    "images_per_second_32": "in batches of 32",
    "lr": "rate",
    "ranking_weight": "ranking weight",
    "test_crops": "test crops",
    "train_loss": "loss",
    "train_srcc": "train SRCC",
    "srcc_gain": "SRCC",
    "plcc_gain": "PLCC",
    "swin": "Swin",
    "afa": "multi-scale",
    "stage_weights": "attention",
    "zscore": "z-score",
    "error": "error (z)",
    "as_reported": "as (x/100)*4+1",
    "as_reported_error": "its error",
    "stages": "stage weights 1 to 4",
    "measured": "measured: parameters, GMACs (docs/models.md)",
    "source": "source, and what contradicts it",
    "run": "wanted",
}
LAST = ["protocol", "source", "run"]
COLUMNS = {  # topic -> columns of its table before the last; those that are empty are left out
    "baseline": ["method", "pair", "test_crops"],
    "gains": ["method", "srcc_gain", "plcc_gain", "unit", "than"],
    "sota_koniq10k": ["group", "method", "backbone", "params_m", "pair"],
    "sizes": ["method", "lr", "pair"],
    "components": ["group", "method", "pair"],
    "steps": ["swin", "afa", "stage_weights", "unit"],
    "learning_rates": ["method", "epochs", "pair"],
    "losses": ["method", "lr", "epochs", "pair"],
    "ranking_weights": ["method", "backbone", "lr", "pair"],
    "settings": ["method", "lr", "pair"],
    "training_log": ["epoch", "train_loss", "train_srcc", "pair"],
    "hyperparameters": ["parameter", "value"],
    "complexity": [
        "method",
        "params_m",
        "gmacs",
        "ms",
        "images_per_second",
        "images_per_second_32",
        "device",
        "measured",
    ],
    "selected_images": [
        "image",
        "quality",
        "mos",
        "zscore",
        "stages",
        "predicted",
        "error",
        "as_reported",
        "as_reported_error",
    ],
    "stage_weights": ["quality", "stages"],
}


def main() -> None:
    PAGE.write_text(text(), encoding="utf-8")
    print(f"wrote {PAGE.name}")


def text() -> str:
    """The whole page, its prose as it stands there."""
    page = PAGE.read_text(encoding="utf-8")
    for topic in [*COLUMNS, "transfer"]:
        begin, end = (f"<!-- reported {topic}: {edge} -->" for edge in ("begin", "end"))
        inside = f"{begin}\n{section(topic)}\n{end}"
        page, found = re.subn(f"{begin}.*{end}", lambda _, new=inside: new, page, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"{PAGE.name} holds {found} times the markers of {topic}")
    return page


def section(topic: str) -> str:
    """The table of one file, as Markdown."""
    data = pd.read_csv(REPORTED / f"{topic}.csv", dtype=str, keep_default_na=False)
    for column in LAST:
        data[column] = data.get(column, "")
    data["source"] = [joined("; ", row.source, row.note) for row in data.itertuples()]
    data["run"] = data.run.str.replace(r"(iqa_core run [^\s,;:]+)", r"`\1`", regex=True)
    if topic == "transfer":
        return wide(data)
    if set(PAIR) <= set(data):
        data["pair"] = [pair(row) for row in data.itertuples()]
    if "stage1" in data:
        stages = data[["stage1", "stage2", "stage3", "stage4"]]
        data["stages"] = [" ".join(shown(value) for value in row) for row in stages.to_numpy()]
    if topic == "complexity":
        data["measured"] = data.method.map(measured()).where(~data.method.duplicated(), "")
    columns = [name for name in [*COLUMNS[topic], *LAST] if (data[name] != "").any()]
    return table([TITLES.get(name, name) for name in columns], data[columns].values.tolist())


def wide(data: pd.DataFrame) -> str:
    """The table of `transfer`: a column for each set that was tested."""
    sets = data.drop_duplicates("tested")
    data["pair"] = [pair(row) for row in data.itertuples()]
    keys = ["method", "test_crops"]
    rows = []
    for key, group in data.groupby(keys, sort=False):
        pairs = group.set_index("tested").pair
        notes = [*dict.fromkeys(group.source)]
        longest = max(notes, key=len)  # the same source, with the note that a set may have
        cells = [pairs.get(name, "") for name in sets.tested]
        rows.append([*key, *cells, group.protocol.iloc[0], longest, group.run.iloc[0]])
    names = [f"{row.tested} ({int(row.images):,})" for row in sets.itertuples()]
    heads = [TITLES[name] for name in keys] + names
    return table([*heads, *(TITLES.get(name, name) for name in LAST)], rows)


def measured() -> dict[str, str]:
    """Network -> parameters and GMACs, from the first table of docs/models.md."""
    found = {}
    for line in MODELS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and re.fullmatch(r"[\d,]+", cells[2]):
            found[cells[0]] = f"{cells[2]}, {cells[5]}"
    return found


def pair(row) -> str:
    """SRCC / PLCC as the papers print them; nothing where there is neither."""
    values = [shown(value) if value else "--" for value in (row.srcc, row.plcc)]
    return " / ".join(values) if row.srcc or row.plcc else ""


def shown(value: str) -> str:
    """A share without its leading 0."""
    return value.removeprefix("0") if value.startswith("0.") else value


def joined(sign: str, *parts: str) -> str:
    return sign.join(part for part in parts if part)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
