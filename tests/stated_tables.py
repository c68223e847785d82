"""Walks every table that the notebooks of an experiment displayed or wrote, and names those that do
not say what their numbers are of.
"""

import json
import re

import pandas as pd

# Names of columns and rows, and text, that make a table one of results.
STATISTIC = re.compile(r"srcc|plcc|krcc|^low$|_low$|^p$|^std$|\[-?\d?\.\d+, ", re.IGNORECASE)
STATED = ("n", "unit", "split", "seeds", "crops")
BLIND = "content-blind"


def walk(root, experiment):
    """(where, names and cells, what was printed above) of every table: displayed ones, CSVs but the
    numbers of figures, which have a .pdf beside them, and Markdown."""
    runs = root / "data/runs" / experiment
    for path in sorted(runs.glob("*/*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            printed = ""
            for output in cell.get("outputs", []):
                html = "".join(output.get("data", {}).get("text/html", ""))
                if output["output_type"] == "stream":
                    printed += "".join(output["text"])
                elif "<table" in html:
                    cells = re.findall(r"<t[hd](?: [^>]*)?>(.*?)</t[hd]>", html, re.DOTALL)
                    yield f"{path.name}, cell {number}", cells, printed
                    printed = ""
    for path in [*runs.rglob("*.csv"), *(root / "figures").glob(f"{experiment}-*.csv")]:
        if not path.with_suffix(".pdf").exists():
            data = pd.read_csv(path, dtype=str, keep_default_na=False)
            measured = [name for name in data if name.endswith("_measured")]
            if measured and (data[measured] == "--").all(axis=None):
                continue  # reported numbers alone, which state their sources
            yield path.name, [*data, *data.stack()], ""
    for path in (root / "figures").glob(f"{experiment}-*.md"):
        above, _, below = path.read_text(encoding="utf-8").partition("| ")
        cells = [cell for line in below.splitlines() for cell in line.strip(" |").split(" | ")]
        heads = below.partition("\n")[0]
        if "reported" not in heads or "measured" in heads:
            yield path.name, cells, above


def faults(root, experiment):
    """Sentences, one for each table of results that lacks something; and how many there are."""
    found, number = [], 0
    for where, cells, printed in walk(root, experiment):
        # A training's log has steps; a list of images says of each what it is.
        is_list = "step" in cells or ("image" in cells and not where.startswith(experiment))
        exported = where.startswith(experiment)
        if is_list or not (exported or any(STATISTIC.search(cell) for cell in cells)):
            continue
        number += 1
        missing = [
            name
            for name in STATED
            if name not in cells and not re.search(rf"^(.*, )?{name}: \S", printed, re.MULTILINE)
        ]
        ranks_methods = {"method", "variant", "trained"} & {*cells} and "than" not in cells
        # Sizes, settings and the epochs of a training rank nothing.
        correlated = any(STATISTIC.search(cell) for cell in cells)
        ranks_methods = ranks_methods and correlated and "epoch" not in cells
        if ranks_methods and not any(BLIND in cell for cell in cells):
            missing.append(f"the {BLIND} row")
        if missing:
            found.append(f"{where}: no {', '.join(missing)}")
    return found, number
