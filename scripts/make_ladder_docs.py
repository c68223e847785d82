"""Write docs/ladder.md from the trainings of the ladder that have finished: python
scripts/make_ladder_docs.py

Reads params/ladder and the predictions of every training that has finished, also where the notebook
around them has not; what was not run is marked so. Every row names a hash of the predictions behind
it.
"""

import hashlib
from pathlib import Path

import pandas as pd
import yaml

from iqa_core import ablations, datasets, splits, tables
from iqa_core.ablations.references import judged_beside
from iqa_core.apps.planning import check_file
from iqa_core.runs import declared_parameters
from iqa_core.study import Data

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data/runs/ladder"
TITLES = {"musiq": "MUSIQ", "iqt": "IQT", "ckdn": "CKDN"}
HEAD = """# The ladder: ablations of MUSIQ, IQT and CKDN

Made by `make ladder`, which trains every row of `params/ladder` with five seeds (hours on two CPU \
cores; it can be stopped and goes on), then by `scripts/make_ladder_docs.py` from the predictions \
of the trainings that have finished. *measured*: on the embedded photographs, test part of the \
first rotation, with a 95 % t interval over contents; *reported*: by a paper, on other data and \
other labels, so that only their order compares. Rows of fewer than five seeds are marked by their \
number; where a pair has one training of each, nothing is concluded.

What one may not conclude from it: that people would agree (labels are pseudo-MOS of \
full-reference measures), that the published sizes would behave so (small heads on fixed \
EfficientNet-Lite0 maps), or anything of restorers that are neural networks (there is none). In \
MUSIQ's part a cap on the tokens of a batch (`batch_tokens`) gives the variants of long sequences \
more and smaller steps than the squares.
"""


def folder_of(stem: str) -> Path:
    """The run's folder: that of the finished notebook, else of the one that is under way."""
    done = RUNS / stem
    return done if (done / "_SUCCESS").is_file() else RUNS / f".{stem}.part"


def trained(folder: Path, names: list[str], seeds: list[int]) -> pd.DataFrame:
    """Test predictions of the trainings that have finished: image, predicted, variant, seed."""
    found = [pd.DataFrame()]
    for name in names:
        for seed in seeds:
            run = folder / f"{name}-seed{seed}"
            if (run / "_SUCCESS").is_file():
                rows = pd.read_csv(run / "predictions.csv")
                rows = rows[rows.split == "test"].drop(columns="split")
                found.append(rows.assign(variant=name, seed=seed, networks=name))
    return pd.concat(found, ignore_index=True)


def data_of(given: dict) -> Data:
    """The table and parts of a ladder's file, without the types that its training does not see."""
    table = datasets.saved_table(given["data_set"], root=ROOT)
    part = splits.load_split(ROOT / f"data/splits/{given['split']}.csv", table)
    if given.get("unseen"):
        of_type = table[given["type_column"]].isin(given["unseen"])
        second = given["type_column"] + "2"
        if second in table:
            of_type |= table[second].isin(given["unseen"])
        part = part.where(~of_type | (part == "test"))
    return Data(given["data_set"], table, part, "", ROOT)


def section(file: Path) -> str:
    """The tables of one parameter file, as Markdown."""
    notebook = ROOT / f"notebooks/{file.stem.partition('--')[0]}.ipynb"
    declared = declared_parameters(notebook).items()
    given = {name: parameter.default for name, parameter in declared}
    given |= check_file(file, root=ROOT)
    names = ["full", *yaml.safe_load(file.read_text(encoding="utf-8"))["variants"]]
    data, model = data_of(given), given["model"]
    tested = trained(folder_of(file.stem), names, given["seeds"])
    text = f"\n## {TITLES[model]} (`params/ladder/{file.name}`)\n\n"
    if tested.empty:
        return kept(text.strip()) or text + "Not run.\n"
    averages = given.get("averages", {})
    here = {name: few for name, few in averages.items() if set(few) <= set(tested.variant)}
    hashes = {
        name: hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:8]
        for name, rows in tested.groupby("variant")
    }
    tested = with_measures(ablations.averaged(tested, here), given, data)
    inputs = given.get("inputs", "")
    means = tables.ablations(tested, data.table, data.part, labels=("label",), inputs=inputs)
    means = means[means.seed.isna()]
    measures = [name for name in tested.variant.unique() if name not in (*names, *averages)]
    means.loc[means.variant.isin(measures), ["trainings", "seed_sd"]] = float("nan")
    shown = tables.beside_reported(tables.readable_ablations(means).reset_index("label"), model)
    n, units = int(means.n.iloc[0]), int(means.contents.iloc[0])
    columns = [name for name in tables.cells.STATISTICS.values() if name in shown]
    runs = tested[tested.variant.isin(names)].groupby("variant").seed.nunique()
    text += f"**Run: {len(runs)} of {len(names)} rows, {runs.sum()} of "
    text += f"{len(names) * len(given['seeds'])} trainings.** "
    text += f"n = {n} test images, unit of resampling: {units} contents, split `{given['split']}`. "
    text += f"Reported: {tables.reported_of(model)}.\n\n"
    heads = ["variant", "seeds", *columns, "sd over seeds", "reported", "predictions"]
    lines = [heads, ["---"] * len(heads)]
    for name in dict.fromkeys([*names, *averages, *measures, tables.cells.BLIND]):
        if name not in shown.index:
            rest = ["not run", *["--"] * (len(heads) - 2)]
            if name != tables.cells.BLIND:
                lines.append([name, *rest])
            continue
        row = shown.loc[name]
        cells = [row.trainings, *(row[column] for column in columns), row["sd over seeds"]]
        lines.append([name, *cells, row.reported, hashes.get(name, "--")])
    text += "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
    return text + _answers(given, tested, data, inputs)


def kept(title: str) -> str:
    """A section as the page has it, of trainings that are not on this machine."""
    page = (ROOT / "docs/ladder.md").read_text(encoding="utf-8")
    _, found, rest = page.partition(f"\n{title}\n")
    if not found:
        return ""
    told = "*Trainings of an earlier state of the code, which were not run again since.*\n"
    text = rest.partition("\n## ")[0].replace(f"{told}\n", "").lstrip("\n")
    return f"{found}\n{told}\n{text.rstrip()}\n"


def _answers(given, tested, data, inputs):
    known = set(tested.variant)
    asked = [q for q in given["questions"] if {q["variant"], q["than"]} <= known]
    text = "\n| question | runs | seeds | answer | does not say |\n|---|---|---|---|---|\n"
    if asked:
        pairs = [[q["variant"], q["than"]] for q in asked]
        found = tables.seed_differences(tested, data.table, pairs, labels=("label",), inputs=inputs)
        for row in tables.answers(asked, found).to_dict("records"):
            text += f"| {row['question']} | {row['run']} | {row['trainings']} | {row['answer']} "
            text += f"| {row['does not say']} |\n"
    for question in given["questions"]:
        if question not in asked:
            pair = f"{question['variant']} - {question['than']}"
            text += f"| {question['ask']} | {pair} | -- | not run | {question['caution']} |\n"
    return text


def with_measures(tested: pd.DataFrame, given: dict, data: Data) -> pd.DataFrame:
    """`tested` with the full-reference measures that the file names, which have no seeds; of
    restorations also given the degraded image in place of the pristine one.
    """
    if not given.get("measures"):
        return tested
    test = data.table[data.part == "test"]
    found = judged_beside(test, given["measures"], reference="reference", root=ROOT)
    found = found.set_index("image")
    if given.get("inputs"):
        beside = judged_beside(test, given["measures"], reference="degraded", root=ROOT)
        found = found.join(beside.set_index("image"), rsuffix=", degraded")
    return tables.with_measures(tested, found.reset_index())


def main() -> None:

    files = sorted((ROOT / "params/ladder").glob("0[67]*.yaml"))
    text = HEAD + "".join(section(file) for file in files)
    (ROOT / "docs/ladder.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
