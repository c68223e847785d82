"""Scores beyond one machine: Ray Data decodes on CPUs and hands pictures to actors that score them,
one a GPU or some on CPUs. docs/scaling.md has what it costs.

    out/manifest.json          settings, and of each shard the hash of its pictures' names
    out/part-00017.parquet     a finished shard: image, width, height, a column a scorer, failure
"""

import hashlib
import json
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from iqa_core.apps import scoring
from iqa_core.apps.listing import list_images
from iqa_core.apps.pictures import read_picture, readable
from iqa_core.apps.scorers import SHIPPED, settings_of
from iqa_core.files import read_json, replacing, write_json

CHUNK = 8  # pictures that travel together from a decoder to a scorer: of 12 megapixels 290 MB
WAVE = 20  # shards that are planned at a time, so that plans do not fill the driver's memory


def scale(
    paths: str | Path | Sequence[str | Path],
    out: Path,
    model: str | Sequence[str] = SHIPPED,
    *,
    reference: str | Path | None = None,
    per_shard: int = 10_000,
    workers: int = 1,
    address: str | None = None,
    progress: bool = True,
    **options: object,
) -> pd.DataFrame:
    """Scores pictures into shards of Parquet in `out`; a second start skips those that are there.

    paths, model, reference, options
                as `scoring.score` takes them; a path may be an address (s3://bucket/folder)
    per_shard   pictures a file; `workers` actors score, each on a GPU or its share of the cores
    address     of a Ray cluster that runs already ("auto": the one here); None starts one here

    Returns file, images, failures of each shard. Errors as there; ValueError for another job's out.
    """
    names = [model] if isinstance(model, str) else list(model)
    table = list_images([paths] if isinstance(paths, str | Path) else paths, reference=reference)
    table = table.map(lambda path: os.path.abspath(path) if path and "://" not in path else path)
    scorers = scoring.open_scorers(names, **options)
    scoring.check_references(scorers, table, given=reference is not None)
    shards = [table[start : start + per_shard] for start in range(0, len(table), per_shard)]
    _check_manifest(Path(out), shards, settings_of(scorers), per_shard)
    missing = [number for number in range(len(shards)) if not _part(out, number).is_file()]
    wants_reference = any(scorer.reference for scorer in scorers)
    left = sum(len(shards[number]) for number in missing)
    bar = dict(total=len(table), initial=len(table) - left, unit=" images", disable=not progress)
    with _cluster(address) if missing else nullcontext(), tqdm(**bar, mininterval=2) as bar:
        for start in range(0, len(missing), WAVE):
            wave = {number: shards[number] for number in missing[start : start + WAVE]}
            stream = _streamed(wave, names, options, workers, wants_reference)
            for number, rows in _whole_shards(stream, wave, bar):
                _write(_part(out, number), rows, scorers)
    return _summary(out, shards)


@contextmanager
def _cluster(address):
    """A cluster that runs already, or one of this machine for as long as it is needed."""
    try:
        import ray
    except ModuleNotFoundError as error:
        fix = "python -m pip install -e '.[scale]'"
        raise ValueError(f"more than one machine needs Ray, which is not here: {fix}") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {} if address else dict(_node_ip_address="127.0.0.1", include_dashboard=False)
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False, logging_level="warning", **here)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


# ---- shards and their manifest


def _part(out, number) -> Path:
    return Path(out) / f"part-{number:05d}.parquet"


def _check_manifest(out, shards, settings, per_shard):
    """Writes the manifest, or compares with the one that is there."""
    texts = ["\n".join([*shard.image, *shard.reference]) for shard in shards]
    hashes = [hashlib.sha256(os.fsencode(text)).hexdigest()[:16] for text in texts]
    manifest = {"settings": json.loads(settings), "per_shard": per_shard, "shards": hashes}
    file = Path(out) / "manifest.json"
    if not file.is_file():
        write_json(file, manifest)
    before = read_json(file)
    changed = [key for key, value in manifest.items() if before.get(key) != value]
    if changed:
        raise ValueError(
            f"{out} holds scores of another job (other {', '.join(changed)}): give another folder, "
            "or remove it"
        )


def _write(file, rows, scorers):
    """A shard as Parquet, whole or not at all."""
    values = {"image": [readable(row["image"]) for row in rows]}
    for name in ("width", "height"):
        values[name] = pd.array([row.get(name) for row in rows], dtype="Int64")
    for name in [scorer.name for scorer in scorers]:
        values[name] = np.array([row["scores"].get(name, np.nan) for row in rows], dtype=float)
    reasons = [[": ".join(filter(None, failure)) for failure in row["failures"]] for row in rows]
    values["failure"] = ["; ".join(some) for some in reasons]
    with replacing(file) as draft:
        pd.DataFrame(values).to_parquet(draft, index=False)


def _summary(out, shards):
    files = [_part(out, number) for number in range(len(shards))]
    failed = [(pd.read_parquet(file, columns=["failure"]).failure != "").sum() for file in files]
    rows = zip([file.name for file in files], map(len, shards), failed, strict=True)
    return pd.DataFrame(rows, columns=["file", "images", "failures"])


# ---- the stream: chunks of paths, chunks of pixels, chunks of scores


def _streamed(wave, names, options, workers, wants_reference) -> Iterator[dict]:
    """Rows {shard, rows} of a wave's chunks as they come. Where a worker dies Ray starts another
    and gives it the chunk again.
    """
    import ray

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    chunks = []
    for number, shard in wave.items():
        for start in range(0, len(shard), CHUNK):
            pairs = shard[start : start + CHUNK].to_numpy().tolist()
            chunks.append({"shard": number, "pairs": pickle.dumps(pairs)})
    cores, gpus = (ray.cluster_resources().get(kind, 0) for kind in ("CPU", "GPU"))
    smallest = min(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"])
    # A core is left to decoding; where there are no more, all take turns on them.
    threads = 1 if gpus else max(1, int(min((cores - 1) // workers, smallest - 1)))
    share = threads if workers * threads < cores else cores / (workers + 1)
    stream = ray.data.from_items(chunks, override_num_blocks=len(chunks))
    # Half a core, for it waits as well; with the needs of a scorer it would be merged into that.
    stream = stream.map(_decoded, num_cpus=min(share, 1) / 2, fn_args=[wants_reference])
    stream = stream.map(
        _Actor,
        fn_constructor_args=[names, options, threads],
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=share,
        num_gpus=1 if gpus else 0,
    )
    return stream.iter_rows()


def _decoded(chunk, wants_reference):
    pairs = pickle.loads(chunk["pairs"])
    pictures = [read_picture(*pair, wants_reference) for pair in pairs]
    return {"shard": chunk["shard"], "pictures": pickle.dumps(pictures, protocol=5)}


class _Actor:
    """Holds the scorers of one process."""

    def __init__(self, names, options, threads):
        import torch

        torch.set_num_threads(threads)
        self.scorers = scoring.open_scorers(names, **options)

    def __call__(self, chunk):
        rows = scoring.scored(pickle.loads(chunk["pictures"]), self.scorers)
        return {"shard": chunk["shard"], "rows": json.dumps(rows)}


def _whole_shards(stream, wave, bar) -> Iterator[tuple[int, list[dict]]]:
    """(number, rows in the shard's order) of each shard when the last of its rows has come."""
    waiting = {number: {} for number in wave}
    for chunk in stream:
        rows, number = json.loads(chunk["rows"]), chunk["shard"]
        bar.update(len(rows))
        waiting[number] |= {row["image"]: row for row in rows}
        if len(waiting[number]) == len(wave[number]):
            found = waiting.pop(number)
            yield number, [found[image] for image in wave[number].image]
