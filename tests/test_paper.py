"""The paper of an experiment: what its LaTeX says comes from files, and two builds are the same."""

import json
import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import REPOSITORY

from iqa_core import figures
from iqa_core.apps import commands, paper, paper_text
from iqa_core.apps.paper import make_paper, write_sources

HASH = "sha256-0123456789ab"
RUNS = {
    "02_train_baseline": {"method": "HyperIQA 100 % & more", "model": "hyperiqa {'head': 'light'}"},
    "05_visualize_attention": {"model": "smart_iqa {'size': 'tiny'}"},
}
ANALYSIS = pd.DataFrame(
    {
        "quantity": [
            "SRCC of entropy and label, over all images",
            "the same_within",
            "mean change",
        ],
        "value": [0.0312345, -0.41, 1.5],
        "low": [-0.21, -0.52, float("nan")],
        "high": [0.26, -0.3, float("nan")],
        "n": 336,
        "unit": "content",
        "interval": ["holds 0: undecided", "below 0", ""],
    }
)


def drawn():
    """Points at 100 % & more_or_less."""
    plotted, axes = plt.subplots()
    axes.plot([1, 2], [3, 4])
    return plotted, pd.DataFrame({"x": [1, 2], "y": [3, 4]})


def write_run(root, name, facts):
    """A finished run as the notebooks leave it, as far as the paper reads it."""
    folder = root / f"data/runs/{name}"
    folder.mkdir(parents=True)
    known = {
        "parameters": {"seeds": []},
        "notebook": folder.name.partition("--")[0],
        "git": {"commit": "abcdef0123456789", "dirty": True},
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "platform": "Linux_x",
        "cores": 2,
        "device": "cpu",
        "seed": 0,
        "date": "2026-12-01T04:26:38+00:00",
        "finished": 1796099242.6,
        "seconds": 39.4,
        "set": "koniq10k",
        "split": "koniq10k-a_b",
        "split_hash": HASH,
        "label_kind": "pseudo_mos",
    }
    (folder / "params.json").write_text(json.dumps(known | facts))
    (folder / "metrics.json").write_text("{}")
    (folder / "_SUCCESS").touch()
    return folder


@pytest.fixture
def experiment(project):
    """An experiment `tiny` of two runs, a figure and two tables, beside one called `tiny-more`."""
    root = project.root
    shutil.copytree(REPOSITORY / "paper", root / "paper")
    for name in ("tiny", "tiny-more", "empty"):
        (root / f"params/{name}").mkdir()
    for name, facts in RUNS.items():
        folder = write_run(root, f"tiny/{name}", facts)
    ANALYSIS.to_csv(folder / "analysis.csv", index=False)
    folder = root / "figures"
    for name in ("tiny-scatter", "tiny-more-scatter"):
        figures.export(drawn, folder=folder, name=name)
    plt.close("all")
    long = "a question_mark? " * 12
    differences = pd.DataFrame({"a_b": ["x & y", long], "value": [0.123456, None], "n": 7})
    differences.to_csv(folder / "tiny-differences.csv", index=False)
    return root


def test_the_sources_hold_the_experiment_and_no_other(experiment):
    folder = write_sources("tiny", root=experiment)
    results = (folder / "results.tex").read_text()
    assert r"\placefigure{tiny-scatter}{Points at 100 \% \& more\_or\_less.}" in results
    assert "tiny-more" not in results
    assert (folder / "tiny-scatter.pdf").is_file()
    assert r"a\_b" in results and r"x \& y" in results and "0.1235" in results
    assert r"p{" in results, "a long cell is broken into lines"
    used = re.findall(r"\\input\{(\w+)\}", (folder / "main.tex").read_text())
    assert {path.stem for path in folder.glob("*.tex")} == {*used, "main"}
    references = set(re.findall(r"\\ref\{([^}]+)\}", results))
    assert references == {"fig:tiny-scatter", "tab:tiny-differences"}


def test_runs_are_named_with_all_that_made_them(experiment):
    folder = write_sources("tiny", root=experiment)
    text = (folder / "reproducibility.tex").read_text()
    for told in (
        r"02\_train\_baseline",
        r"HyperIQA 100 \% \& more",
        r"koniq10k-a\_b",
        HASH.removeprefix("sha256-"),
        "abcdef0123+",
        "39",
        "2026-12-01",
        r"python 3.11.7, torch 2.14.1; Linux\_x, 2 cores",
    ):
        assert told in text
    assert "{'" not in "".join(path.read_text() for path in folder.glob("*.tex")), "Python"
    named = (folder / "experiment.tex").read_text()
    assert r"HyperIQA 100 \% \& more~\cite{hyperiqa}" in named
    assert r"\texttt{koniq10k}~\cite{koniq10k}" in named
    assert "pseudo-MOS" in (folder / "limitations.tex").read_text()


def test_attention_sentences_are_the_csv():
    first, second, third = paper_text.attention_sentences(ANALYSIS)
    assert first == (
        r"SRCC of entropy and label, over all images: 0.031 [$-$0.210, 0.260] (n = 336 images; "
        r"95 \% interval by content, which holds 0, so nothing is decided)."
    )
    assert second == (
        r"The same\_within: $-$0.410 [$-$0.520, $-$0.300] (n = 336 images; "
        r"95 \% interval by content, which lies below 0)."
    )
    assert third == "Mean change: 1.500 (n = 336 images)."


def test_without_run_05_the_paper_says_so(experiment):
    shutil.rmtree(experiment / "data/runs/tiny/05_visualize_attention")
    folder = write_sources("tiny", root=experiment)
    assert "was not run in this experiment" in (folder / "attention.tex").read_text()


def test_what_is_missing_is_named(experiment):
    with pytest.raises(FileNotFoundError, match="run `python -m iqa_core run empty` first"):
        make_paper("empty")
    (experiment / "params/demo").mkdir()
    with pytest.raises(FileNotFoundError, match="run `make demo` first"):
        make_paper("demo")
    with pytest.raises(FileNotFoundError, match="no experiment 'nosuch'; there are"):
        make_paper("nosuch")
    write_run(experiment, "empty/02_train_baseline", {})
    with pytest.raises(FileNotFoundError, match=r"no figure or table figures/empty-\*"):
        make_paper("empty")


def test_without_latex_a_message_says_how(experiment, monkeypatch, capsys):
    monkeypatch.setattr(paper.shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["iqa_core", "paper", "tiny"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    message = capsys.readouterr().err
    assert ended.value.code != 0
    assert "Traceback" not in message and "\n" not in message.strip()
    assert "apt-get install --no-install-recommends texlive-publishers" in message
    assert "build/paper-tiny" in message
    assert (experiment / "build/paper-tiny/main.tex").is_file()


latex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")


@latex
def test_two_builds_are_the_same_bytes(experiment, capsys):
    first = make_paper("tiny").read_bytes()
    assert re.fullmatch(r"figures/tiny-paper\.pdf: [1-9]\d* pages\n", capsys.readouterr().out)
    log = (experiment / "build/paper-tiny/main.log").read_text(errors="replace")
    assert "undefined" not in log and "Overfull" not in log
    assert first.startswith(b"%PDF") and b"CreationDate" not in first
    assert make_paper("tiny").read_bytes() == first
    if shutil.which("pdftotext"):
        command = ["pdftotext", experiment / "figures/tiny-paper.pdf", "-"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "??" not in text and "[?]" not in text


@latex
def test_where_latex_stops_its_words_are_told(experiment):
    main = experiment / "paper/main.tex"
    main.write_text(main.read_text().replace(r"\maketitle", r"\nosuchcommand"))
    with pytest.raises(ValueError, match=r"Undefined control sequence[\s\S]*nosuchcommand"):
        make_paper("tiny")
