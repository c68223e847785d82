"""What the paper of an experiment says, as LaTeX: sentences and tables from the files of its runs,
captions from the files of its figures. No number comes from anywhere else.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from iqa_core import runs, tables
from iqa_core.files import project_root
from iqa_core.tables.cells import bracketed
from iqa_core.tables.images import KIND_NAMES
from iqa_core.tables.statement import apart
from iqa_core.tables.text import escaped, verdicts

VARIANTS = ("04_ablations", "06_train_musiq", "07_reference_models")  # notebooks of variants
ATTENTION = "05_visualize_attention"  # the notebook that writes analysis.csv
DATA, AGREEMENT, STAGES = "The Data", "Training and Agreement", "Stage Weights"
NETWORKS, REPORTS = "The Networks", "Beside What Others Report"
SECTIONS = {  # last part of a float's name -> the section that it stands in; runs have their own
    "results": AGREEMENT,
    "differences": AGREEMENT,
    "splits": AGREEMENT,
    "training_curves": AGREEMENT,
    "scatter": AGREEMENT,
    "distortion_bars": AGREEMENT,
    "examples": AGREEMENT,
    "selected_images": STAGES,
    "stage_weights": STAGES,
    "stage_bars": STAGES,
    "tint": STAGES,
    "entropy_scatter": STAGES,
    "weights_by": STAGES,
    "weights_by_run": STAGES,
    "gradient_maps": STAGES,
    "window_attention": STAGES,
    "gates": STAGES,
    "errors": AGREEMENT,
    "hyperiqa": NETWORKS,
    "smart_iqa": NETWORKS,
    "complexity": NETWORKS,
    "hyperparameters": NETWORKS,
    "training_log": NETWORKS,
    "sota": REPORTS,
    "sota_koniq10k": REPORTS,
    "sizes": REPORTS,
    "backbones": REPORTS,
    "components": REPORTS,
    "learning_rates": REPORTS,
    "losses": REPORTS,
    "transfer": REPORTS,
}
NAMES = {  # how a sentence speaks of a float, where its name does not say
    "hyperiqa": "HyperIQA",
    "smart_iqa": "SMART-IQA",
    "sota": "methods",
    "sota_koniq10k": "methods",
    "sota_koniq10k, reported": "methods, reported",
    "training_log": "epochs",
    "errors": "largest errors",
}
RUN_TABLES = {  # of what a run's folder holds, in its order: what a reader is told it is
    "ablations": "Variants on the same test images, in brackets 95 % intervals",
    "results": "Variants on the same test images, in brackets 95 % intervals",
    "answers": "What was asked of the variants, and what the difference of two says",
    "differences": "Differences between two variants, in brackets 95 % intervals",
}
LONG = 40  # characters of a cell that is broken into lines
ROWS = 40  # of the table of runs that fit on a page


class Float(NamedTuple):
    """A figure (`tabular` is empty) or a table: `name` without its experiment; caption, tabular and
    notes, which stand below it, are LaTeX."""

    name: str
    file: str  # of the figure or table, without ending
    caption: str
    tabular: str = ""
    notes: str = ""

    @property
    def label(self) -> str:
        return f"{'tab' if self.tabular else 'fig'}:{self.file}"

    @property
    def section(self) -> str:
        """Where it stands: by what it shows, or, where its name has a run, by that."""
        run = re.match(r"\d\d_\w+(--\w+)?", self.name)
        kind = self.name.removesuffix("-reported").rpartition("-")[2]
        if self.name.startswith("data"):
            return DATA
        if run and run[0].startswith(ATTENTION):
            return STAGES
        if run:
            return f"Run {run[0]}"
        return SECTIONS.get(kind, "Further Results")

    def placed(self) -> str:
        """Its place in the paper: a call of main.tex's \\placefigure or \\placetable."""
        if self.tabular:
            return (
                f"\\placetable{{{self.tabular}}}{{{self.caption}}}{{{self.label}}}{{{self.notes}}}"
            )
        return f"\\placefigure{{{self.file}}}{{{self.caption}}}{{{self.label}}}"

    def referred(self) -> str:
        """How a sentence speaks of it."""
        words = self.name.removeprefix("table-").removesuffix("-reported").rpartition("-")[2]
        if self.name.endswith("-reported"):
            words = f"{words}, reported"
        words = escaped(NAMES.get(words, words).replace("_", " "))
        return f"{words} ({'Table' if self.tabular else 'Fig.'}~\\ref{{{self.label}}})"


# ---- what there is


def runs_of(experiment: str) -> dict[str, dict]:
    """The params.json of each finished run of an experiment, by name, runs within runs too.

    FileNotFoundError, with the command that makes some, where there is none.
    """
    names = [name for name in runs.all_runs("_SUCCESS") if name.startswith(f"{experiment}/")]
    if not names:
        known = {path.name for path in (project_root() / "params").iterdir() if path.is_dir()}
        if experiment not in known:
            raise FileNotFoundError(
                f"no experiment {experiment!r}; there are {', '.join(sorted(known))}"
            )
        command = f"python -m iqa_core run {experiment}"
        command = "make demo" if experiment == "demo" else command
        raise FileNotFoundError(
            f"no finished run of {experiment} in data/runs, so there is nothing to write about: "
            f"run `{command}` first"
        )
    return {name: runs.read_json(runs.finished(name) / "params.json") for name in names}


def floats_of(experiment: str, *, root: Path) -> list[Float]:
    """The figures and tables of an experiment in figures/, in order of their names.

    FileNotFoundError where there is none.
    """
    files = [
        path for path in (root / "figures").glob(f"{experiment}-*") if _is_of(experiment, path)
    ]
    found = []
    for name in sorted({path.stem for path in files} - {f"{experiment}-paper"}):
        read = _read_float(root / "figures", name, experiment)
        if read is not None:
            found.append(read)
    if not found:
        raise FileNotFoundError(
            f"no figure or table figures/{experiment}-*: notebooks 01, 05 and 10 write some; "
            f"`python -m iqa_core run {experiment}` runs those that the experiment has"
        )
    return found


def tables_of_runs(known: dict[str, dict]) -> list[Float]:
    """The tables of variants that runs of ablations keep in their own folders: results, and the
    questions that they answer, else the differences.
    """
    found = []
    for name, facts in known.items():
        folder = runs.finished(name)
        if facts.get("notebook") in VARIANTS:
            there = [table for table in RUN_TABLES if (folder / f"{table}.csv").is_file()]
            if "answers" in there:
                there.remove("differences")
            found += [_run_table(name, table, folder / f"{table}.csv") for table in there]
    return found


def _run_table(run, name, file):
    data = pd.read_csv(file)
    if name in ("ablations", "results"):
        readable = tables.variants.readable_ablations
        if "tested on" in data:
            readable = tables.readable_parts
        data = readable(data).reset_index()
    line, rest = apart(data)
    caption = _printable(escaped(f"{RUN_TABLES[name]}; {line}."))
    stem = run.partition("/")[2]
    return Float(f"{stem}-{name}", run.replace("/", "-") + f"-{name}", caption, tabular_of(rest))


def _is_of(experiment, path):
    """Whether a file is of this experiment and of none whose name goes on, as demo-full does."""
    root = path.parents[1]
    known = [*(root / "params").glob("*/"), *(root / "data/runs").glob("*/")]
    longer = {folder.name for folder in known if folder.name.startswith(f"{experiment}-")}
    return not any(path.name.startswith(f"{name}-") for name in longer)


def _read_float(folder, name, experiment):
    """A figure or table by the name of its files; None where they are neither."""
    short = name.removeprefix(f"{experiment}-")
    tex, drawn, numbers = (folder / f"{name}.{end}" for end in ("tex", "pdf", "csv"))
    text = tex.read_text(encoding="utf-8") if tex.is_file() else ""
    captions = re.findall(r"^\s*\\caption\{(.*)\}\s*$", text, flags=re.MULTILINE)
    caption = _printable(captions[0] if captions else escaped(_title(short)))
    if caption.startswith(("n: ", "unit: ")):  # `export_stated` says what numbers are of, no more
        caption = f"{escaped(_title(short))}; {caption}"
    tabular = re.search(r"\\begin\{tabular\}.*\\end\{tabular\}", text, flags=re.DOTALL)
    if tabular:
        notes = re.search(r"\\scriptsize (.*)\}", text)
        return Float(short, name, caption, _wrapped(tabular[0]), notes[1] if notes else "")
    if drawn.is_file():
        return Float(short, name, caption)
    if numbers.is_file():
        line, rest = apart(pd.read_csv(numbers))
        return Float(
            short, name, _printable(escaped(f"{_title(short)}; {line}.")), tabular_of(rest)
        )
    return None


def _title(name):
    words = name.rpartition("-")[2].replace("_", " ")
    return words[0].upper() + words[1:]


def _plain(text):
    """Text as LaTeX: two hyphens of a name stay two, that of a number is a sign, where no line
    ends.
    """
    text = escaped(text).replace("--", "-{}-")
    return re.sub(r"(?<![^\s\[(])-(?=\d)", "$-$", text)


def _printable(text):
    """Text without letters that the paper's fonts lack: such a letter as its code point."""
    return re.sub(r"[^\x00-\xff]", lambda letter: f"U+{ord(letter[0]):04X}", text)


# ---- tables


def tabular_of(data: pd.DataFrame) -> str:
    """A table as a LaTeX tabular: empty columns left out, intervals beside their values, long cells
    broken into lines.
    """
    data = _with_intervals(data.replace("--", None).dropna(axis=1, how="all"))
    shown = data.map(lambda cell: _plain(cell) if isinstance(cell, str) else cell)
    shown.columns = [_plain(str(column)) for column in data]
    text = shown.to_latex(index=False, escape=False, na_rep="--", float_format="%.4g")
    return _wrapped(_printable(text.strip()))


def _with_intervals(data):
    """A table with a value and the ends of its interval in one column, not in three."""
    data = data.copy()
    for low in [name for name in data if re.fullmatch(r"(.*_)?low", name)]:
        high = f"{low.removesuffix('low')}high"
        value = low.removesuffix("_low")
        if low == "low":
            value = data.columns[data.columns.get_loc(low) - 1]
        rows = zip(data[value], data[low], data[high], strict=True)
        data[value] = [
            bracketed(middle, ends) if pd.notna(middle) else None for middle, *ends in rows
        ]
        data = data.drop(columns=[low, high])
    return data


def _wrapped(tabular):
    """A tabular whose columns of long cells are paragraphs; `main.tex` shrinks what is still too
    wide for a page.
    """
    head = re.match(r"\\begin\{tabular\}\{(\w+)\}", tabular)
    if head is None:
        return tabular
    rows = [line.removesuffix(r"\\").split(" & ") for line in tabular.splitlines()]
    rows = [row for row in rows if len(row) == len(head[1])]
    columns = []
    for place, kind in enumerate(head[1]):
        longest = max((len(row[place].strip()) for row in rows), default=0)
        broken = rf">{{\raggedright\arraybackslash}}p{{{LONG * 0.4:.0f}em}}"
        columns.append(broken if longest > LONG else kind)
    body = tabular[head.end() :]
    if columns != list(head[1]):  # paragraphs need room between them
        body = re.sub(r"(\\\\)(?=\n(?!\\))", r"\1\\addlinespace", body)
    return f"\\begin{{tabular}}{{{''.join(columns)}}}{body}"


# ---- the parts of the paper, each as LaTeX


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
        parts += [rf"\subsection{{{_plain(title)}}}", *sentences]
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
    return [_printable(_plain(sentence)) for sentence in sentences]


def attention(known: dict[str, dict], floats: list[Float]) -> str:
    """The section on stage weights: the rows of each analysis.csv as sentences, then the floats."""
    inside = [each for each in floats if each.section == STAGES]
    parts = []
    for name, facts in known.items():
        if facts.get("notebook") == ATTENTION:
            analysis = pd.read_csv(runs.finished(name) / "analysis.csv")
            of_run = rf"Run \texttt{{{_plain(name)}}}, {escaped(_model(facts))}:"
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
        sentences.append(_plain(f"{sentence})."))
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
        sentences.append(_plain(f"Versions and machine of {who}: {told}."))
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
