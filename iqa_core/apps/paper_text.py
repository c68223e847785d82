"""What the paper of an experiment says, as LaTeX: sentences from the files of its runs. No number
comes from anywhere else.
"""

from pathlib import Path

import pandas as pd

from iqa_core import runs
from iqa_core.apps.paper_floats import (
    AGREEMENT,
    ATTENTION,
    DATA,
    NETWORKS,
    REPORTS,
    STAGES,
    Float,
    latex_of,
    printable,
    tabular_of,
)
from iqa_core.tables.images import KIND_NAMES
from iqa_core.tables.text import escaped, verdicts

ROWS = 40  # of the table of runs that fit on a page


def facts(experiment: str) -> str:
    """The commands that main.tex uses."""
    return f"\\newcommand{{\\experiment}}{{{escaped(experiment)}}}\n"


def abstract(experiment: str, known: dict[str, dict], floats: list[Float]) -> str:
    """What the paper holds, counted."""
    figures = sum(not each.tabular for each in floats)
    trained = _trained(known)
    return (
        f"This paper holds what the experiment ``{escaped(experiment)}'' of a research workbook "
        f"for image quality assessment left behind: {_counted(figures, 'figure')} and "
        f"{_counted(len(floats) - figures, 'table')}, from {_counted(len(known), 'finished run')}, "
        f"{len(trained)} of which trained a network. Every number in it was read from the files "
        "of these runs when the paper was built; none was typed.\n"
    )


def experiment_text(known: dict[str, dict], keys: set[str]) -> str:
    """Which networks, sets and splits the runs have; what has an entry in the bibliography, whose
    `keys` are given, is cited.
    """
    sentences = []
    methods = {facts["method"]: _model(facts) for facts in _trained(known).values()}
    if methods:
        named = [f"{escaped(name)}{_cited(model, keys)}" for name, model in methods.items()]
        sentences.append(f"The networks are: {'; '.join(named)}.")
    sets = sorted({facts["set"] for facts in known.values() if facts.get("set")})
    if sets:
        named = [rf"\texttt{{{escaped(name)}}}{_cited(name, keys)}" for name in sets]
        sentences.append(f"The data: {', '.join(named)}.")
    splits = sorted({facts["split"] for facts in known.values() if facts.get("split")})
    if splits:
        named = [rf"\texttt{{{escaped(name)}}}" for name in splits]
        sentences.append(f"The splits: {', '.join(named)}.")
    sentences.append("How each run was made stands in the appendix.")
    return "\n".join(sentences) + "\n"


def results(experiment: str, known: dict, floats: list[Float], *, root: Path) -> str:
    """All sections of results but that of the stage weights."""
    sections = [DATA, NETWORKS, AGREEMENT, REPORTS, *sorted({each.section for each in floats})]
    parts = []
    for title in dict.fromkeys(sections):
        inside = [each for each in floats if each.section == title]
        if title == STAGES or not inside:
            continue
        sentences = [f"Shown are {_listed([each.referred() for each in inside])}."]
        if title == AGREEMENT:
            sentences += _items(agreement_sentences(experiment, known, root=root))
        parts += [rf"\subsection{{{latex_of(title)}}}", *sentences]
        parts += [each.placed() for each in inside]
    return "\n".join(parts) + "\n"


def agreement_sentences(experiment: str, known: dict, *, root: Path) -> list[str]:
    """What `figures/<experiment>-results.csv` allows to say of each network that was trained."""
    file = root / f"figures/{experiment}-results.csv"
    if not file.is_file():
        return []
    data = pd.read_csv(file)
    trained = {facts["method"] for facts in _trained(known).values()}
    methods = [name for name in data.method.unique() if name in trained]
    sentences = [sentence for name in methods for sentence in verdicts(data, name)]
    return [printable(latex_of(sentence)) for sentence in sentences]


def attention(known: dict[str, dict], floats: list[Float]) -> str:
    """The section on stage weights: the rows of each analysis.csv as sentences, then the floats."""
    inside = [each for each in floats if each.section == STAGES]
    parts = []
    for name, facts in known.items():
        if facts.get("notebook") == ATTENTION:
            analysis = pd.read_csv(runs.finished(name) / "analysis.csv")
            of_run = rf"Run \texttt{{{latex_of(name)}}}, {escaped(_model(facts))}:"
            parts.append("\n".join([of_run, *_items(attention_sentences(analysis))]))
    if not parts:
        parts.append(
            rf"Notebook \texttt{{{escaped(ATTENTION)}}} was not run in this experiment, so "
            "nothing is said about stage weights."
        )
    if inside:
        parts.append(f"Shown are {_listed([each.referred() for each in inside])}.")
    return "\n\n".join([*parts, "\n".join(each.placed() for each in inside)]) + "\n"


def attention_sentences(analysis: pd.DataFrame) -> list[str]:
    """A sentence a row of the analysis.csv of notebook 05, with n and, where there is one, the
    interval, its unit and what it says.
    """
    sentences = []
    for row in analysis.to_dict("records"):
        quantity = f"{row['quantity'][0].upper()}{row['quantity'][1:]}"
        sentence = f"{quantity}: {row['value']:.3f}"
        if pd.notna(row["low"]):
            sentence += f" [{row['low']:.3f}, {row['high']:.3f}]"
        sentence += f" (n = {row['n']} images"
        if pd.notna(row["low"]):
            sentence += f"; 95 % interval by {row['unit']}, which {_side(row['interval'])}"
        sentences.append(latex_of(f"{sentence})."))
    return sentences


def _side(interval):
    if interval.startswith("holds 0"):
        return "holds 0, so nothing is decided"
    return f"lies {interval}"


def limitations(known: dict[str, dict]) -> str:
    """What these runs' own files say against them."""
    trained = _trained(known).values()
    kinds = {KIND_NAMES.get(facts["label_kind"]) for facts in trained if facts.get("label_kind")}
    sentences = []
    if "pseudo-MOS" in kinds:
        sentences.append(
            "Labels are pseudo-MOS, computed by full-reference measures: no human opinion is "
            "behind them."
        )
    if "MMOS" in kinds:
        sentences.append("Labels are MMOS, what vision models answered: no human opinion either.")
    seeds = {str(facts.get("seed")) for facts in trained}
    if len(seeds) == 1:
        sentences.append(f"All networks were trained with one seed, {seeds.pop()}.")
    if any(facts.get("selected_on") == "test" for facts in trained):
        sentences.append(
            "Weights of some runs were chosen on the test images, as their publications did: "
            "intervals and p values of these do not hold."
        )
    if any(facts.get("git", {}).get("dirty") for facts in known.values()):
        sentences.append(
            "Some runs were made by files that differ from the commit that they name (marked + in "
            "the appendix)."
        )
    return "\n".join(escaped(sentence) for sentence in sentences) + "\n"


def reproducibility(experiment: str, known: dict[str, dict]) -> str:
    """How each run was made: a table of all, and the versions of software by runs."""
    rows = pd.DataFrame([_run_row(name, facts) for name, facts in known.items()])
    parts = [
        rf"\texttt{{python -m iqa\_core run {escaped(experiment)}}} runs the experiment, "
        rf"\texttt{{python -m iqa\_core paper {escaped(experiment)}}} builds this paper. "
        "A hash of a split is that of which image stands in which part; + after a commit: with "
        "changes that were not committed. Seconds are those of the whole run.",
        *_versions(known),
    ]
    for start in range(0, len(rows), ROWS):
        caption = f"Finished runs {start + 1} to {min(start + ROWS, len(rows))} of {len(rows)}."
        table = tabular_of(rows[start : start + ROWS])
        parts.append(Float("runs", f"runs-{start}", caption, table).placed())
    return "\n\n".join(parts) + "\n"


def _run_row(name, facts):
    seed = facts.get("seed")
    seeds = facts["parameters"].get("seeds", []) if seed is None else [seed]
    git = facts.get("git") or {}
    commit = (git.get("commit") or "none")[:10] + ("+" if git.get("dirty") else "")
    return {
        "run": name.partition("/")[2],
        "model": facts.get("method") or _model(facts),
        "split": facts.get("split", ""),
        "hash of the split": facts.get("split_hash", "").removeprefix("sha256-"),
        "seeds": ", ".join(map(str, seeds)),
        "commit": commit,
        "device": facts.get("gpu") or facts.get("device", ""),
        "seconds": f"{facts.get('seconds', float('nan')):.0f}",
        "date": facts.get("date", "")[:10],
    }


def _versions(known):
    """A sentence for each set of versions that some runs share."""
    shared = {}
    for name, facts in known.items():
        told = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
        where = f"{facts.get('platform', '')}, {facts.get('cores', '?')} cores"
        shared.setdefault(f"{told}; {where}", []).append(name.partition("/")[2])
    sentences = []
    for told, names in shared.items():
        who = "all runs" if len(shared) == 1 else ", ".join(names)
        sentences.append(latex_of(f"Versions and machine of {who}: {told}."))
    return sentences


# ---- words


def _trained(known):
    """Runs that trained a network."""
    return {name: facts for name, facts in known.items() if facts.get("method")}


def _model(facts):
    """The name of a run's model, without its arguments."""
    return (facts.get("model") or "").partition(" ")[0]


def _cited(name, keys):
    return f"~\\cite{{{name}}}" if name in keys else ""


def _counted(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"


def _items(sentences):
    """Sentences as a list, which must not be empty in LaTeX."""
    if not sentences:
        return []
    items = [rf"\item {sentence}" for sentence in sentences]
    return [r"\begin{itemize}", *items, r"\end{itemize}"]


def _listed(words):
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
