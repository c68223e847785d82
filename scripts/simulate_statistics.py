"""Simulates what the intervals and tests of `iqa_core.stats` promise; prints the tables of
docs/statistics.md.

python scripts/simulate_statistics.py    # about 6 minutes on one core, fixed seeds

Every population is jointly normal, so its true SRCC is known: 6 / pi asin(rho / 2) for pooled
images (Pearson 1907), and for n images of one content 6 / (pi (n + 1)) (asin(rho) + (n - 2)
asin(rho / 2)) on average (Moran 1948, DOI 10.1093/biomet/35.1-2.203). +- is the Monte-Carlo
standard error.
"""

import time

import numpy as np

from iqa_core import stats
from iqa_core.metrics import per_content

# name -> correlation within a content, its spread over contents on the z scale, images a content
WITHIN = {
    "equal contents": (0.9, 0.0, 24),
    "as the demo": (0.9, 0.2, 48),
    "unlike contents": (0.6, 0.3, 24),
}
# name -> share of content in the variance of predictions and of labels, correlation of contents,
# and within
POOLED = {
    "few offsets": (0.05, 0.05, 0.9, 0.9),
    "offsets that agree": (0.3, 0.3, 0.8, 0.8),
    "offsets that do not": (0.3, 0.05, 0.0, 0.9),
}
KONIQ = 0.9378  # SRCC on KonIQ-10k that power is asked about


def share(hits) -> dict:
    """Mean of yes and no, and its Monte-Carlo error."""
    mean = float(np.mean(hits))
    return dict(value=mean, error=float(np.sqrt(max(mean * (1 - mean), 1e-4) / len(hits))))


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
    truth, hits, content = (
        expected @ weights / weights.sum(),
        [],
        np.repeat(np.arange(contents), images),
    )
    for run in range(runs):
        generator = np.random.default_rng([run, contents])
        own = np.tanh(np.arctanh(rho) + spread * generator.normal(size=contents))[content]
        y, noise = generator.normal(size=(2, len(content)))
        result = per_content(own * y + np.sqrt(1 - own**2) * noise, y, content)
        hits.append(
            [
                inside(result["interval"], truth),
                inside(stats.t_interval(list(result["values"].values())), truth),
            ]
        )
    return {"t on z": share([a for a, _ in hits]), "t, plain": share([b for _, b in hits])}


def cover_pooled(name: str, contents: int, runs: int, *, plain: int = 0, draws: int = 300) -> dict:
    """Coverage of the interval of the pooled SRCC by content; of the percentile interval too, in
    the first `plain` runs.
    """
    of_x, of_y, between, within = POOLED[name]
    rho = np.sqrt(of_x * of_y) * between + np.sqrt((1 - of_x) * (1 - of_y)) * within
    truth, hits, plain_hits, content = (
        6 / np.pi * np.arcsin(rho / 2),
        [],
        [],
        np.repeat(np.arange(contents), 24),
    )
    for run in range(runs):
        generator = np.random.default_rng([run, contents, 1])
        (u, v), (y, x) = (
            generator.normal(size=(2, contents)),
            generator.normal(size=(2, len(content))),
        )
        v, x = between * u + np.sqrt(1 - between**2) * v, within * y + np.sqrt(1 - within**2) * x
        x, y = (
            np.sqrt(of_x) * v[content] + np.sqrt(1 - of_x) * x,
            np.sqrt(of_y) * u[content] + np.sqrt(1 - of_y) * y,
        )
        ranked, options = (stats.codes(x), stats.codes(y)), dict(draws=draws, seed=run)
        error, units, _ = stats.standard_error(
            rank_correlation, *ranked, content=content, fisher=True, **options
        )
        hits.append(
            inside(stats.correlation_interval(rank_correlation(*ranked), error, units), truth)
        )
        if run < plain:
            samples = stats.bootstrap(rank_correlation, *ranked, group=content, **options)
            plain_hits.append(inside(stats.percentile_interval(samples), truth))
    return {"t on z": share(hits)} | ({"percentile": share(plain_hits)} if plain else {})


def rank_correlation(x, y) -> float:
    return stats.plcc(stats.midranks(x), stats.midranks(y))


def two_predictors(generator, content, *, clustered: float, rho: float = 0.9, errors: float = 0.5):
    """Two predictions and a label (n,): the predictors have one SRCC, and `clustered` of their
    errors belongs to contents.
    """
    contents = content.max() + 1

    def mixed(part):
        return np.sqrt(part) * generator.normal(size=contents)[content] + np.sqrt(
            1 - part
        ) * generator.normal(size=len(content))

    y, shared, first, second = mixed(clustered / 4), *(mixed(clustered) for _ in range(3))
    noise = [np.sqrt(errors) * shared + np.sqrt(1 - errors) * own for own in (first, second)]
    return *(rho * y + np.sqrt(1 - rho**2) * one for one in noise), y


def sizes(contents: int, images: int, runs: int, *, clustered: float, draws: int = 200) -> dict:
    """How often two equal predictors differ with p < .05 by each test; interval: how often it
    leaves out 0.
    """
    content, found = np.repeat(np.arange(contents), images), []
    for run in range(runs):
        x, other, y = two_predictors(
            np.random.default_rng([run, contents, 2]), content, clustered=clustered
        )
        row = dict(exchange_by_image=stats.compare(x, other, y, draws=draws, seed=run)["p"] < 0.05)
        if images > 1:
            result = stats.compare(x, other, y, content=content, draws=draws, seed=run)
            row["exchange by content"], row["interval by content"] = (
                result["p"] < 0.05,
                not inside(result["interval"], 0),
            )
            row["within, signs"] = result["within"]["p"] < 0.05
            row["within, t interval"] = not inside(result["within"]["interval"], 0)
        row["Steiger (Pearson)"] = stats.steiger(x, other, y)["p"] < 0.05
        found.append(row)
    return {name.replace("_", " "): share([row[name] for row in found]) for name in found[0]}


def size_of_seeds(
    runs: int, *, images: int = 300, trained: int = 3, spread: float = 0.08, draws: int = 200
) -> dict:
    """The same for two equal methods of `trained` runs each: by `compare_seeds`, and by `compare`
    of one run each.

    Runs of a method share half of their errors; their correlations with the label spread by
    `spread` on the z scale.
    """
    found = []
    for run in range(runs):
        generator = np.random.default_rng([run, 3])
        y, methods = generator.normal(size=images), []
        for _ in range(2):
            rho = np.tanh(np.arctanh(0.9) + spread * generator.normal(size=(trained, 1)))
            shared, own = generator.normal(size=images), generator.normal(size=(trained, images))
            methods.append(rho * y + np.sqrt(1 - rho**2) * (shared + own) / np.sqrt(2))
        result = stats.compare_seeds(*methods, y, draws=draws, seed=run)
        one = stats.compare(methods[0][0], methods[1][0], y, draws=draws, seed=run)
        found.append((result["p"] < 0.05, one["p"] < 0.05))
    return {
        "seeds as a random effect": share([a for a, _ in found]),
        "one run each": share([b for _, b in found]),
    }


def size_of_seeds_within(
    contents: int, runs: int, *, images: int = 24, trained: int = 3, spread: float = 0.08
) -> dict:
    """The same within contents: by `compare_seeds`, by the paired t over contents of the runs'
    means, and of one run each.

    Correlations with the label spread on the z scale over contents by .3, over a method's contents
    by .15, over runs and over a run's contents by `spread`; runs of a method share half of their
    errors.
    """
    found, content = [], np.repeat(np.arange(contents), images)
    for run in range(runs):
        generator = np.random.default_rng([run, contents, 4])
        y, level, methods = (
            generator.normal(size=len(content)),
            np.arctanh(0.85) + 0.3 * generator.normal(size=contents),
            [],
        )
        for _ in range(2):
            own = (
                level
                + 0.15 * generator.normal(size=contents)
                + spread * generator.normal(size=(trained, contents))
            )
            rho = np.tanh(own + spread * generator.normal(size=(trained, 1)))[:, content]
            shared, noise = generator.normal(size=len(y)), generator.normal(size=(trained, len(y)))
            methods.append(rho * y + np.sqrt(1 - rho**2) * (shared + noise) / np.sqrt(2))
        result = stats.compare_seeds(*methods, y, content=content, draws=2)["within"]
        values = [
            [list(per_content(p, y, content)["values"].values()) for p in method]
            for method in methods
        ]
        gains = np.mean(values[0], axis=0) - np.mean(values[1], axis=0)
        one = np.array(values[0][0]) - values[1][0]
        found.append(
            (result["p"] < 0.05, *(not inside(stats.t_interval(each), 0) for each in (gains, one)))
        )
    names = "seeds as a random effect", "t over contents of the means", "one run each"
    return {name: share(hits) for name, hits in zip(names, zip(*found, strict=True), strict=True)}


def cover_splits(runs: int, *, images: int = 500, splits: int = 10) -> dict:
    """Coverage of the interval over random 80/20 splits of the same images, and of Student's t, for
    one fixed predictor.
    """
    truth, hits, test = 6 / np.pi * np.arcsin(0.8 / 2), [], images // 5
    for run in range(runs):
        generator = np.random.default_rng([run, splits, 4])
        y, noise = generator.normal(size=(2, images))
        x, parts = (
            0.8 * y + 0.6 * noise,
            [generator.permutation(images)[:test] for _ in range(splits)],
        )
        values = [stats.srcc(x[part], y[part]) for part in parts]
        own = stats.resampled_interval(values, train=images - test, test=test)
        hits.append([inside(own, truth), inside(stats.t_interval(values), truth)])
    return {"resampled": share([a for a, _ in hits]), "Student's t": share([b for _, b in hits])}


def cover_pairs(runs: int, images: int = 100) -> dict:
    """Coverage of the intervals of `significant_pairs`; the truth is the mean of 4 samples of 3,000
    images.
    """

    def sample(n, seed):
        generator = np.random.default_rng([seed, n])
        truth, noise, error = generator.normal(size=(3, n))
        return stats.significant_pairs(
            truth + 0.4 * error,
            truth + 0.8 / np.sqrt(15) * noise,
            label_std=np.full(n, 0.8),
            votes=15,
        )

    large, small = (
        [sample(3000, seed) for seed in range(4)],
        [sample(images, seed) for seed in range(runs)],
    )
    truth = {name: np.mean([result[name] for result in large]) for name in large[0]["intervals"]}
    return {
        name: share([inside(result["intervals"][name], truth[name]) for result in small])
        for name in truth
    }


def row(*cells) -> str:
    told = (
        f"{c['value']:.3f} +- {c['error']:.3f}" if isinstance(c, dict) else str(c) for c in cells
    )
    return f"| {' | '.join(told)} |"


def table(title: str, head: list[str], rows) -> None:
    print(f"\n{title}\n\n{row(*head)}\n{row(*['---'] * len(head))}")
    for cells in rows:
        print(row(*cells), flush=True)


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
    asked = [(d, errors) for d in (0.0015, 0.0025, 0.02) for errors in (0.5, 0.8, 0.95)]
    found = [stats.power(2010, KONIQ, KONIQ - d, errors=errors, runs=500) for d, errors in asked]
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
        (
            (
                f"+{d}",
                errors,
                dict(value=r["power"], error=r["error"]),
                f"{r['sd']:.4f}",
                f"{r['detectable']:.4f}",
            )
            for (d, errors), r in zip(asked, found, strict=True)
        ),
    )
    print(f"\n{time.process_time() - start:.0f} s of one core, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
