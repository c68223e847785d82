"""Simulates what the intervals and tests of `iqa_core.stats` promise; prints the tables of
docs/statistics.md.

python scripts/simulate_statistics.py    # about 15 minutes on one core, fixed seeds

Every population is jointly normal, so its true SRCC is known: 6 / pi asin(rho / 2) for pooled
images (Pearson 1907), and for n images of one content 6 / (pi (n + 1)) (asin(rho) + (n - 2)
asin(rho / 2)) on average (Moran 1948, DOI 10.1093/biomet/35.1-2.203). +- is the Monte-Carlo
standard error.
"""

import time

import numpy as np
import pandas as pd

from iqa_core import stats
from iqa_core.metrics import per_content

# name -> correlation within a content, its spread over contents on the z scale, images a content
WITHIN = {
    "equal contents": (0.9, 0.0, 24),
    "as the demo": (0.9, 0.2, 48),
    "unlike contents": (0.6, 0.3, 24),
}
# name -> share of content in the variance of predictions and of labels; correlation of what content
# adds, and within contents
POOLED = {
    "few offsets": (0.05, 0.05, 0.9, 0.9),
    "offsets that agree": (0.3, 0.3, 0.8, 0.8),
    "offsets that do not": (0.3, 0.05, 0.0, 0.9),
}
# name -> how much of what is a photograph's own the predictions know, one number a content
SPECIFIC = {
    "another photograph's scores": lambda generator, contents: np.zeros(contents),
    "looks": lambda generator, contents: np.full(contents, 0.5),
    "looks unevenly": lambda generator, contents: generator.uniform(0, 1.2, contents),
    "looks well": lambda generator, contents: np.full(contents, 2.0),
}
KONIQ = 0.9378  # SRCC on KonIQ-10k that power is asked about


def share(hits) -> dict:
    """Mean of yes and no, and its Monte-Carlo error."""
    mean = float(np.mean(hits))
    variance = max(mean * (1 - mean), 1e-4)
    return dict(value=mean, error=float(np.sqrt(variance / len(hits))))


def shares(rows: list[dict]) -> dict:
    """name -> share, of the rows of all simulations, {name: yes or no}."""
    return {name: share([row[name] for row in rows]) for name in rows[0]}


def mixed(rho, signal, noise) -> np.ndarray:
    """A standard normal variable that correlates by `rho` with `signal`, from independent noise."""
    return rho * signal + np.sqrt(1 - rho**2) * noise


def inside(interval, truth) -> bool:
    return interval[0] <= truth <= interval[1]


def cover_within(name: str, contents: int, runs: int) -> dict:
    """Coverage of the interval of the mean per-content SRCC, and of Student's t on the plain
    scale.
    """
    rho, spread, images = WITHIN[name]
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    each = np.tanh(np.arctanh(rho) + spread * nodes)
    expected = 6 / (np.pi * (images + 1)) * (np.arcsin(each) + (images - 2) * np.arcsin(each / 2))
    truth = expected @ weights / weights.sum()
    content = np.repeat(np.arange(contents), images)
    rows = []
    for run in range(runs):
        generator = np.random.default_rng([run, contents])
        rho_of_content = np.tanh(np.arctanh(rho) + spread * generator.normal(size=contents))
        label, noise = generator.normal(size=(2, len(content)))
        predicted = mixed(rho_of_content[content], label, noise)
        result = per_content(predicted, label, content)
        plain = stats.t_interval(list(result["values"].values()))
        rows.append({"t on z": inside(result["interval"], truth), "t, plain": inside(plain, truth)})
    return shares(rows)


def cover_pooled(name: str, contents: int, runs: int, *, plain: int = 0, draws: int = 300) -> dict:
    """Coverage of the interval of the pooled SRCC by content; of the percentile interval too, in
    the first `plain` runs.
    """
    of_x, of_y, between, within = POOLED[name]
    rho = np.sqrt(of_x * of_y) * between + np.sqrt((1 - of_x) * (1 - of_y)) * within
    truth = 6 / np.pi * np.arcsin(rho / 2)
    content = np.repeat(np.arange(contents), 24)
    hits, percentile_hits = [], []
    for run in range(runs):
        # Label and prediction are sums of what content adds and of what differs within.
        generator = np.random.default_rng([run, contents, 1])
        label_of_content, noise_of_content = generator.normal(size=(2, contents))
        label_within, noise_within = generator.normal(size=(2, len(content)))
        x_of_content = mixed(between, label_of_content, noise_of_content)
        x_within = mixed(within, label_within, noise_within)
        x = np.sqrt(of_x) * x_of_content[content] + np.sqrt(1 - of_x) * x_within
        y = np.sqrt(of_y) * label_of_content[content] + np.sqrt(1 - of_y) * label_within

        arrays = (stats.codes(x), stats.codes(y))
        options = dict(draws=draws, seed=run)
        error, units, _ = stats.standard_error(
            rank_correlation, *arrays, content=content, fisher=True, **options
        )
        interval = stats.correlation_interval(rank_correlation(*arrays), error, units)
        hits.append(inside(interval, truth))
        if run < plain:
            samples = stats.bootstrap(rank_correlation, *arrays, group=content, **options)
            percentile_hits.append(inside(stats.percentile_interval(samples), truth))
    found = {"t on z": share(hits)}
    if plain:
        found["percentile"] = share(percentile_hits)
    return found


def rank_correlation(x, y) -> float:
    return stats.plcc(stats.midranks(x), stats.midranks(y))


def two_predictors(generator, content, *, clustered: float, rho: float = 0.9, errors: float = 0.5):
    """Two predictions and a label (n,): the predictors have one SRCC, and `clustered` of their
    errors belongs to contents.
    """
    contents = content.max() + 1

    def drawn(part):
        """(n,) standard normal, with `part` of its variance the same for all of a content."""
        of_content = generator.normal(size=contents)[content]
        return np.sqrt(part) * of_content + np.sqrt(1 - part) * generator.normal(size=len(content))

    label = drawn(clustered / 4)
    shared, first, second = (drawn(clustered) for _ in range(3))
    predictions = []
    for own in (first, second):
        error = np.sqrt(errors) * shared + np.sqrt(1 - errors) * own
        predictions.append(mixed(rho, label, error))
    return *predictions, label


def sizes(contents: int, images: int, runs: int, *, clustered: float, draws: int = 200) -> dict:
    """How often two equal predictors differ with p < .05 by each test; interval: how often it
    leaves out 0.
    """
    content = np.repeat(np.arange(contents), images)
    rows = []
    for run in range(runs):
        generator = np.random.default_rng([run, contents, 2])
        x, other, y = two_predictors(generator, content, clustered=clustered)
        by_image = stats.compare(x, other, y, draws=draws, seed=run)
        row = {"exchange by image": by_image["p"] < 0.05}
        if images > 1:
            result = stats.compare(x, other, y, content=content, draws=draws, seed=run)
            row["exchange by content"] = result["p"] < 0.05
            row["interval by content"] = not inside(result["interval"], 0)
            row["within, signs"] = result["within"]["p"] < 0.05
            row["within, t interval"] = not inside(result["within"]["interval"], 0)
        row["Steiger (Pearson)"] = stats.steiger(x, other, y)["p"] < 0.05
        rows.append(row)
    return shares(rows)


def size_of_seeds(
    runs: int, *, images: int = 300, trained: int = 3, spread: float = 0.08, draws: int = 200
) -> dict:
    """The same for two equal methods of `trained` runs each: by `compare_seeds`, and by `compare`
    of one run each.

    Runs of a method share half of their errors; their correlations with the label spread by
    `spread` on the z scale.
    """
    rows = []
    for run in range(runs):
        generator = np.random.default_rng([run, 3])
        y = generator.normal(size=images)
        methods = []
        for _ in range(2):
            rho = np.tanh(np.arctanh(0.9) + spread * generator.normal(size=(trained, 1)))
            methods.append(runs_of_a_method(generator, rho, y, trained))
        seeds = stats.compare_seeds(*methods, y, draws=draws, seed=run)
        one_each = stats.compare(methods[0][0], methods[1][0], y, draws=draws, seed=run)
        rows.append(
            {"seeds as a random effect": seeds["p"] < 0.05, "one run each": one_each["p"] < 0.05}
        )
    return shares(rows)


def runs_of_a_method(generator, rho, label, trained: int) -> np.ndarray:
    """Predictions (trained, n) that correlate by `rho` with the label and share half of their
    errors.
    """
    shared = generator.normal(size=len(label))
    own = generator.normal(size=(trained, len(label)))
    return mixed(rho, label, (shared + own) / np.sqrt(2))


def size_of_seeds_within(
    contents: int, runs: int, *, images: int = 24, trained: int = 3, spread: float = 0.08
) -> dict:
    """The same within contents: by `compare_seeds`, by the paired t over contents of the runs'
    means, and of one run each.

    Correlations with the label spread on the z scale over contents by .3, over a method's contents
    by .15, over runs and over a run's contents by `spread`; runs of a method share half of their
    errors.
    """
    content = np.repeat(np.arange(contents), images)
    rows = []
    for run in range(runs):
        generator = np.random.default_rng([run, contents, 4])
        y = generator.normal(size=len(content))
        of_contents = np.arctanh(0.85) + 0.3 * generator.normal(size=contents)
        methods = []
        for _ in range(2):
            z = of_contents + 0.15 * generator.normal(size=contents)
            z = z + spread * generator.normal(size=(trained, contents))
            z = z + spread * generator.normal(size=(trained, 1))
            methods.append(runs_of_a_method(generator, np.tanh(z)[:, content], y, trained))
        seeds = stats.compare_seeds(*methods, y, content=content, draws=2)["within"]

        # SRCC of every method, run and content, and what the first method has more of it
        srcc = []
        for method in methods:
            found = [per_content(predicted, y, content)["values"] for predicted in method]
            srcc.append([list(values.values()) for values in found])
        gains = np.mean(srcc[0], axis=0) - np.mean(srcc[1], axis=0)
        gains_of_one = np.array(srcc[0][0]) - srcc[1][0]
        rows.append(
            {
                "seeds as a random effect": seeds["p"] < 0.05,
                "t over contents of the means": not inside(stats.t_interval(gains), 0),
                "one run each": not inside(stats.t_interval(gains_of_one), 0),
            }
        )
    return shares(rows)


def cover_splits(runs: int, *, images: int = 500, splits: int = 10) -> dict:
    """Coverage of the interval over random 80/20 splits of the same images, and of Student's t, for
    one fixed predictor.
    """
    truth = 6 / np.pi * np.arcsin(0.8 / 2)
    test = images // 5
    rows = []
    for run in range(runs):
        generator = np.random.default_rng([run, splits, 4])
        y, noise = generator.normal(size=(2, images))
        x = 0.8 * y + 0.6 * noise
        parts = [generator.permutation(images)[:test] for _ in range(splits)]
        values = [stats.srcc(x[part], y[part]) for part in parts]
        resampled = stats.resampled_interval(values, train=images - test, test=test)
        student = stats.t_interval(values)
        rows.append({"resampled": inside(resampled, truth), "Student's t": inside(student, truth)})
    return shares(rows)


def cover_pairs(runs: int, images: int = 100) -> dict:
    """Coverage of the intervals of `significant_pairs`; the truth is the mean of 4 samples of 3,000
    images.
    """

    def sample(n, seed):
        generator = np.random.default_rng([seed, n])
        quality, noise, error = generator.normal(size=(3, n))
        predicted = quality + 0.4 * error
        label = quality + 0.8 / np.sqrt(15) * noise
        return stats.significant_pairs(predicted, label, label_std=np.full(n, 0.8), votes=15)

    large = [sample(3000, seed) for seed in range(4)]
    truth = {name: np.mean([result[name] for result in large]) for name in large[0]["intervals"]}
    rows = []
    for seed in range(runs):
        intervals = sample(images, seed)["intervals"]
        rows.append({name: inside(intervals[name], truth[name]) for name in truth})
    return shares(rows)


def photographs(generator, contents: int, *, looks) -> list[np.ndarray]:
    """Two predictions and a label (contents, 48) of twelve types at four levels. What a version
    does is a rule, one for the label and one for both predictions; what a photograph makes of a
    type, its level and a version is its own. The predictions know `looks` of that, one number a
    content, beside errors of the same kind.
    """
    kind, level = np.repeat(np.arange(12), 4), np.tile(np.arange(4), 12)
    # The same rules in all simulations: how they press ranks together is part of the truth.
    rules = 0.6 * np.random.default_rng(0).normal(size=(2, 12))[:, kind] - level

    def own():
        of_type, of_level = generator.normal(size=(2, contents, 12))[:, :, kind]
        of_version = generator.normal(size=(contents, 48))
        return 0.35 * of_type + 0.125 * of_level * level + 0.25 * of_version

    label = own()
    share = looks(generator, contents)[:, None]
    predictions = [share * label + 0.8 * own() + rules[0] for _ in range(2)]
    return [*predictions, label + rules[1]]


def cover_specific(name: str, contents: int, size: int, runs: int) -> dict:
    """Coverage of the content-specific correlation's interval, and of a plain t on z, contents
    judged `size` together; how often p of 0 is below .05; how often two equal predictors differ.
    """
    content = np.repeat(np.arange(contents), 48)
    together = content // size
    version = np.tile(np.arange(48), contents)
    found, pairs = [], []
    for run in range(runs):
        generator = np.random.default_rng([run, contents, 4])
        first, second, label = photographs(generator, contents, looks=SPECIFIC[name])
        judged = (label.ravel(), content, version)
        found.append(stats.content_specific(first.ravel(), *judged, together=together))
        pairs.append(
            stats.compare_specific(first.ravel(), second.ravel(), *judged, together=together)
        )
    # What so many contents together have on average: centring by few costs a little of it.
    truth = np.mean([one["value"] for one in found])
    rows = []
    for one, pair in zip(found, pairs, strict=True):
        values = pd.Series(one["values"])
        error = values.sem() / (1 - one["value"] ** 2)
        plain = stats.correlation_interval(one["value"], error, contents)
        row = {"interval": inside(one["interval"], truth), "t on z, plain": inside(plain, truth)}
        rows.append(row | {"p below .05": one["p"] < 0.05, "pair, p below .05": pair["p"] < 0.05})
    return shares(rows)


def row(*cells) -> str:
    """A line of a Markdown table; shares with their error."""
    texts = []
    for cell in cells:
        if isinstance(cell, dict):
            cell = f"{cell['value']:.3f} +- {cell['error']:.3f}"
        texts.append(str(cell))
    return f"| {' | '.join(texts)} |"


def table(title: str, head: list[str], rows) -> None:
    """Prints a Markdown table line by line, as its rows come."""
    print(f"\n{title}\n\n{row(*head)}\n{row(*['---'] * len(head))}")
    for cells in rows:
        print(row(*cells), flush=True)


def power_rows():
    """Rows of what differences between two predictors KonIQ-10k's test images can tell."""
    for difference in (0.0015, 0.0025, 0.02):
        for errors in (0.5, 0.8, 0.95):
            found = stats.power(2010, KONIQ, KONIQ - difference, errors=errors, runs=500)
            power = dict(value=found["power"], error=found["error"])
            yield (
                f"+{difference}",
                errors,
                power,
                f"{found['sd']:.4f}",
                f"{found['detectable']:.4f}",
            )


def main() -> None:
    start = time.process_time()
    table(
        "Coverage of a nominal 95 %: mean per-content SRCC, 5,000 simulations",
        ["population", "contents", "t on z (`per_content`)", "t, plain"],
        (
            (name, contents, *cover_within(name, contents, 5000).values())
            for name in WITHIN
            for contents in (6, 21)
        ),
    )
    table(
        "Coverage of a nominal 95 %: pooled SRCC by content, 24 images each, 1,500 simulations "
        "(percentile 500) of 300 draws",
        ["population", "contents", "t on z (`correlations`)", "percentile"],
        (
            (name, contents, *cover_pooled(name, contents, 1500, plain=500).values())
            for name in POOLED
            for contents in (6, 21)
        ),
    )
    table(
        "Content-specific correlation, 48 versions, 600 simulations: coverage of a nominal 95 %, "
        "size at .05",
        ["population", "contents", "together", "interval", "plain t on z", "p of 0", "pair, p"],
        (
            (name, contents, size, *cover_specific(name, contents, size, 600).values())
            for name in SPECIFIC
            for contents, size in ((7, 7), (20, 7), (28, 7), (12, 4), (12, 3))
        ),
    )
    shapes = {
        "200 images": (200, 1, 0.0),
        "6 contents of 24": (6, 24, 0.4),
        "21 contents of 24": (21, 24, 0.4),
    }
    results = {name: sizes(*shape[:2], 1000, clustered=shape[2]) for name, shape in shapes.items()}
    tests = list(dict.fromkeys(test for result in results.values() for test in result))
    table(
        "Size at .05 (share of findings between two equal predictors), 1,000 simulations, 200 "
        "draws",
        ["test", *shapes],
        ((test, *(result.get(test, "") for result in results.values())) for test in tests),
    )
    table(
        "Size at .05 with 3 runs a method, 300 images, 1,000 simulations",
        ["test", "size"],
        size_of_seeds(1000).items(),
    )
    within = {contents: size_of_seeds_within(contents, 1000) for contents in (6, 21)}
    table(
        "Size at .05 with 3 runs a method within contents, 24 images each, 1,000 simulations",
        ["test", *(f"{contents} contents" for contents in within)],
        ((test, *(result[test] for result in within.values())) for test in within[6]),
    )
    table(
        "Coverage of a nominal 95 %: significant pairs, 100 images of 15 votes, 1,000 simulations",
        ["figure", "coverage"],
        cover_pairs(1000).items(),
    )
    table(
        "Coverage of a nominal 95 %: mean SRCC over ten random splits of 500 images, 2,000 "
        "simulations",
        ["interval", "coverage"],
        cover_splits(2000).items(),
    )
    table(
        f"Power at .05 with 2,010 images, SRCC {KONIQ}, by the exchange test, 500 simulations of "
        f"500 exchanges",
        [
            "difference",
            "correlation of errors",
            "power",
            "sd of the difference",
            "found with power .8",
        ],
        power_rows(),
    )
    print(f"\n{time.process_time() - start:.0f} s of one core, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
