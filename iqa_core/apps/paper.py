"""A paper of an experiment: LaTeX from its files, compiled. The same files give the same bytes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from iqa_core.apps import paper_floats, paper_text
from iqa_core.files import project_root, write_text

PACKAGES = "texlive-publishers texlive-latex-recommended texlive-fonts-recommended"
PROGRAMS = ("pdflatex", "bibtex", "kpsewhich")
STYLES = ("IEEEtran.cls", "IEEEtran.bst", "booktabs.sty", "ptmr8t.tfm")


def make_paper(experiment: str) -> Path:
    """Writes `figures/<experiment>-paper.pdf` from the finished runs and exported figures of an
    experiment; its sources stay in `build/paper-<experiment>`. What came out is printed.

    Errors: FileNotFoundError where there are no runs or figures, which says what makes them, and
    without LaTeX, which says how to get it; the sources are written all the same. ValueError with
    LaTeX's own words where it stops.
    """
    root = project_root()
    folder = write_sources(experiment, root=root)
    check_latex(folder.relative_to(root))
    compiled = compile_sources(folder)
    result = root / f"figures/{experiment}-paper.pdf"
    shutil.copyfile(compiled, result)
    print(f"{result.relative_to(root)}: {summary(folder)}")
    return result


def write_sources(experiment: str, *, root: Path) -> Path:
    """A folder with all that LaTeX needs: main.tex and references.bib of paper/, the parts that
    main.tex reads, and the figures.
    """
    known = paper_floats.runs_of(experiment)
    floats = paper_floats.floats_of(experiment, root=root) + paper_floats.tables_of_runs(known)
    bibliography = root / "paper/references.bib"
    keys = set(re.findall(r"^@\w+\{([^,\s]+)", bibliography.read_text("utf-8"), re.MULTILINE))
    parts = {
        "facts": paper_text.facts(experiment),
        "abstract": paper_text.abstract(experiment, known, floats),
        "experiment": paper_text.experiment_text(known, keys),
        "results": paper_text.results(experiment, known, floats, root=root),
        "attention": paper_text.attention(known, floats),
        "limitations": paper_text.limitations(known),
        "reproducibility": paper_text.reproducibility(experiment, known),
    }

    # nothing of an earlier build, so that no part or reference of it is left
    folder = root / f"build/paper-{experiment}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in parts.items():
        write_text(folder / f"{name}.tex", text)
    for file in (root / "paper/main.tex", bibliography):
        shutil.copyfile(file, folder / file.name)
    for each in floats:
        if not each.tabular:
            shutil.copyfile(root / f"figures/{each.file}.pdf", folder / f"{each.file}.pdf")
    newest = max(facts.get("finished") or 0 for facts in known.values())
    write_text(folder / "epoch", f"{newest:.0f}\n")
    return folder


def check_latex(sources: Path) -> None:
    """FileNotFoundError, which says what to install, where LaTeX or a style is missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        missing = [name for name in STYLES if not _lines("kpsewhich", name)]
    if missing:
        raise FileNotFoundError(
            f"the paper is not compiled: this machine has no {', '.join(missing)}. On Debian or "
            f"Ubuntu `apt-get install --no-install-recommends {PACKAGES}` brings it, elsewhere TeX "
            f"Live or MiKTeX does; everything else works without. The sources are complete in "
            f"{sources}: compiled there or anywhere, by pdflatex main, bibtex main and pdflatex "
            "main twice, they give main.pdf"
        )


def _lines(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def compile_sources(folder: Path) -> Path:
    """Runs LaTeX and BibTeX in a folder of `write_sources`; the PDF there. ValueError with the
    first lines of what stopped them.
    """
    epoch = (folder / "epoch").read_text().strip()
    # dates from the newest run, not from the clock; lines of the log whole
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": epoch,
        "FORCE_SOURCE_DATE": "1",
        "max_print_line": "1000",
    }
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main"]
    for command in (latex, ["bibtex", "main"], latex, latex):
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace"
        )
        if done.returncode != 0:
            lines = done.stdout.splitlines()
            first = [number for number, line in enumerate(lines) if line.startswith("!")] or [-5]
            raise ValueError(
                f"{command[0]} stopped in {folder}, where main.log has all it said:\n"
                + "\n".join(lines[first[0] :][:6])
            )
    return folder / "main.pdf"


def summary(folder: Path) -> str:
    """What came out: pages, and what is unresolved or runs off the page."""
    log = (folder / "main.log").read_text(encoding="utf-8", errors="replace")
    (pages,) = re.findall(r"Output written on main\.pdf \((\d+) pages?", log)
    faults = re.findall(r"(?:Reference|Citation) `[^']*' .*undefined", log)
    faults += [f"Overfull box, {size} pt" for size in re.findall(r"Overfull \\hbox \((\S+)pt", log)]
    return ", ".join([f"{pages} pages", *faults])
