"""Make the scorer that comes with the workbook, data/demo/weak_scorer: python
scripts/make_scorer.py [FOLDER ...] [--out FOLDER] [--unseen FOLDER ...]

It is SMART-IQA's head on the fixed ImageNet backbone EfficientNet-Lite0, taught by pseudo-MOS of
distorted photographs: the demo's, and those of further FOLDERs, which are cut to 512 x 384 and put
into the demo's 48 versions. A card beside it says what it learnt and how good it is: by rotations,
each photograph judged by a head that has not seen it, and, with --unseen, on photographs of which
none is in its training.

Weakly supervised, as DeepFL-IQA (Lin, Hosu, Saupe 2020, arXiv:2001.08113): the labels are measures'
votes, not people's. The card's photographs of no set here are 25 of the Debian packages
mate-backgrounds, plasma-workspace-wallpapers, opencv-doc and kphotoalbum, by the names that it
lists. About 20 minutes on two cores for the demo's 28 photographs, and 15 s a
photograph more.
"""

import argparse
import hashlib
import io
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from make_demo_labels import pseudo_mos, raw_columns, versions
from PIL import Image, ImageFilter, ImageOps
from tqdm import tqdm

from iqa_core import evaluation, loading, metrics, training
from iqa_core.apps.listing import list_images
from iqa_core.datasets import demo
from iqa_core.files import replacing, write_json, write_text
from iqa_core.models import create_model, weights
from iqa_core.pixels import read_image
from iqa_core.stats import content_blind, content_specific
from iqa_core.stats import versions as version_of

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path("data/cache/scorer")  # the further photographs and their versions
SIZE = (512, 384)
CROPS = 4
ROTATIONS = 4
RECIPE = training.Recipe(
    epochs=6,
    validate_every=6,  # once, at the end: the weights are the last ones, nothing is chosen
    batch_size=16,
    backbone_lr=0,
    head_lr=1e-3,
    weight_decay=1e-4,
)
LABELS = {"label": "pseudo-MOS (MDSI, HaarPSI)", "label2": "SSIMULACRA2"}


# ---- photographs, versions, labels


def photographs(folders: list[Path]) -> list[Path]:
    """Photographs of some folders, cut to 4:3 in the middle and reduced; those that would have to
    be enlarged are left out, and named.
    """
    folder = ROOT / CACHE / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in list_images(folders).image:
        try:
            picture = Image.fromarray(read_image(Path(path)))
        except ValueError as error:
            print(f"left out: {error}", flush=True)
            continue
        if picture.width < SIZE[0] or picture.height < SIZE[1]:
            print(f"left out, smaller than 512 x 384: {path}", flush=True)
            continue
        name = f"{Path(path).stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}.png"
        ImageOps.fit(picture, SIZE, Image.Resampling.LANCZOS).save(folder / name)
        made.append(CACHE / "photographs" / name)
    return made


def labelled(photos: list[Path]) -> pd.DataFrame:
    """The 48 versions of photographs, with the raw values of the measures that make labels; those
    of a photograph are kept, for they take half a minute.
    """
    tables = [_versions_of(photo) for photo in photos]
    demo.make_images(pd.concat(tables), root=ROOT)
    kept = [ROOT / CACHE / f"labels/{_key_of(table)}.csv" for table in tables]
    missing = [(table, file) for table, file in zip(tables, kept, strict=True) if not file.exists()]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        values = pool.map(raw_columns, [table for table, _ in missing])
        for own, (table, file) in tqdm(
            zip(values, missing, strict=True), total=len(missing), desc="labels of photographs"
        ):
            with replacing(file) as draft:
                table.join(own).to_csv(draft, index=False)
    return pd.concat([pd.read_csv(file) for file in kept], ignore_index=True)


def _versions_of(photo):
    table = versions()
    table.insert(0, "image", [f"{CACHE}/versions/{photo.stem}-{n:02d}.png" for n in table.index])
    table.insert(1, "reference", photo.as_posix())
    table.insert(2, "content", photo.stem)
    return table


def _key_of(table):
    """What the labels of a photograph's versions depend on."""
    pixels = (ROOT / table.reference[0]).read_bytes()
    return hashlib.sha256(pixels + table.to_csv().encode()).hexdigest()[:16]


def table_of(further: list[Path]) -> pd.DataFrame:
    """The demo's table and the further photographs', labels being ranks among all of them."""
    table = demo.load(ROOT)
    demo.make_images(table, root=ROOT)
    if further:
        table = pd.concat([table, labelled(further)], ignore_index=True)
        table["label"] = pseudo_mos(table.mdsi, table.haarpsi)
    return table


def with_originals(table: pd.DataFrame) -> pd.DataFrame:
    """The photographs themselves as well, labelled 100: the top of the scale, by its definition."""
    own = table.drop_duplicates("reference")[["reference", "content"]]
    own = own.assign(image=own.reference, label=100.0)
    return pd.concat([table, own], ignore_index=True)


# ---- training and testing


def network():
    torch.manual_seed(RECIPE.seed)
    model = create_model("smart_iqa", backbone="tf_efficientnet_lite0")
    model.backbone.requires_grad_(False)
    # pictures of any size are judged as photographs were shown to it: 384 pixels high or wide
    model.contract = model.contract.changed(
        source="scripts/make_scorer.py", crops=CROPS, resize=SIZE[1], low=0.0, high=100.0
    )
    return model


def trained(samples, rows):
    """A network that has learnt these rows of the samples."""
    model = network()
    part = samples.take(rows)
    for row in training.fit(model, part, part, recipe=RECIPE):
        print(f"  epoch {row['epoch']}: train_l1 {row['train_l1']:.2f}", flush=True)
    return model


def rotations(samples) -> pd.DataFrame:
    """The versions of every photograph, predicted by a head that has not seen it; `group` tells
    which.
    """
    table = samples.table
    contents = sorted(table.content.unique(), key=lambda c: hashlib.sha256(c.encode()).hexdigest())
    group = table.content.map({content: k % ROTATIONS for k, content in enumerate(contents)})
    parts = []
    for number in range(ROTATIONS):
        print(f"rotation {number + 1} of {ROTATIONS}", flush=True)
        model = trained(samples, np.flatnonzero(group != number))
        rows = np.flatnonzero((group == number) & table.distortion.notna())
        tested = table.iloc[rows].assign(group=number)
        tested["predicted"] = evaluation.predict_samples(model, samples.take(rows))
        parts.append(with_rule(tested, table[(group != number) & table.distortion.notna()]))
    return pd.concat(parts)


def with_rule(tested: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Columns blind_label and blind_label2 beside: the mean training label of the same version,
    which sees no pixel.
    """
    both = pd.concat([train, tested], ignore_index=True)
    part = np.repeat(["train", "test"], [len(train), len(tested)])
    for label in LABELS:
        tested[f"blind_{label}"] = content_blind(both, part, label=label)[len(train) :, 0]
    return tested


def agreement(tested: pd.DataFrame) -> list[dict]:
    """Rows of the card: for each label the per-content SRCC and the content-specific correlation,
    with intervals over contents.
    """
    rows = []
    for label, name in LABELS.items():
        within = metrics.per_content(tested.predicted, tested[label], tested.content)
        columns = tested.predicted, tested[label], tested.content, version_of(tested)
        own = content_specific(*columns, together=tested.group)
        rows.append(
            {
                "label": name,
                "images": len(tested),
                "contents": tested.content.nunique(),
                "srcc": within["srcc"],
                "srcc_interval": within["interval"],
                "srcc_of_the_rule": metrics.per_content(
                    tested[f"blind_{label}"], tested[label], tested.content
                )["srcc"],
                "content_specific": own["value"],
                "content_specific_interval": own["interval"],
            }
        )
    return rows


def tested_on(model, photos: list[Path]) -> tuple[pd.DataFrame, float]:
    """The versions of other photographs, predicted, and the mean score of these as they are."""
    table = labelled(photos)
    table["label"] = pseudo_mos(table.mdsi, table.haarpsi)
    images = [read_image(ROOT / image) for image in table.image]
    table["predicted"] = evaluation.predict(model, images, progress=True)
    originals = evaluation.predict(model, [read_image(ROOT / photo) for photo in photos])
    tested = with_rule(table.assign(group=0), demo.load(ROOT))
    return tested, float(originals.mean())


def probe(model, photos: list[Path]) -> dict[str, float]:
    """Mean scores of photographs as they are and after what its training did not vary: compression
    on top of another fault.
    """
    versions = {"as they are": [], "JPEG 95": [], "JPEG 80": [], "blurred": []}
    versions["blurred, then JPEG 30"] = []
    for photo in photos:
        picture = Image.fromarray(read_image(ROOT / photo))
        blurred = picture.filter(ImageFilter.GaussianBlur(6))
        for name, image in zip(
            versions,
            (picture, _jpeg(picture, 95), _jpeg(picture, 80), blurred, _jpeg(blurred, 30)),
            strict=True,
        ):
            versions[name].append(np.asarray(image))
    return {name: float(evaluation.predict(model, some).mean()) for name, some in versions.items()}


def _jpeg(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


# ---- the card


def card_of(table, tested, unseen, original_scores, probed) -> dict:
    """What the scorer learnt and how good it is, as plain values."""
    error = float(np.sqrt(np.mean((tested.predicted - tested.label) ** 2)))
    contents = tested.content.nunique()
    facts = {
        "what": "SMART-IQA's head on EfficientNet-Lite0",
        "trained_on": f"pseudo-MOS of {len(table)} versions of {contents} photographs",
        "units": "pseudo-MOS",
        "low": 0.0,
        "high": 100.0,
        "error": {
            "rmse": error,
            "n": len(tested),
            "on": f"of {contents} photographs, each by a head that had not seen it",
        },
        "caution": (
            "taught by measures, not by people: it sorts versions of a picture, not pictures by "
            "how they are liked; compression raises its scores, so compare pictures of one format"
        ),
    }
    rows = [{"photographs": "the training's, by rotations"} | row for row in agreement(tested)]
    if unseen is not None:
        rows += [{"photographs": "of no set here"} | row for row in agreement(unseen)]
    card = {"facts": facts, "agreement": rows, "score_of_originals": original_scores}
    return card | {"probe": probed}


def card_text(card: dict, names: list[str], *, title: str) -> str:
    """The card as a page."""
    facts = card["facts"]
    lines = [
        f"# {title}",
        "",
        "Made by `scripts/make_scorer.py`; do not edit.",
        "",
        "*What it is.* A weakly supervised scorer: SMART-IQA's head, float16, on the fixed "
        "ImageNet backbone EfficientNet-Lite0, which its package brings. The idea is DeepFL-IQA's "
        "(Lin, Hosu, Saupe 2020, arXiv:2001.08113).",
        "",
        f"*What it learnt.* The {facts['trained_on']} (12 distortions, one or two at a time, and "
        "the photographs themselves with 100). The label is the mean rank of two full-reference "
        "measures, MDSI and HaarPSI: no person gave an opinion.",
        "",
        "*Range and direction.* 0 to 100, higher is better; the photographs themselves, "
        f"undistorted, get {card['score_of_originals']['training']:.0f} on average. Scores may lie "
        "a little outside.",
        "",
        "*How it looks.* The shorter side is brought to 384 pixels, then four crops of 224 are "
        "judged and averaged. So it judges how a photograph looks at about 512 x 384: of a picture "
        "of 12 megapixels fine blur and noise are gone by then, and a picture smaller than that is "
        "enlarged and looks blurred to it.",
        "",
        "*How good it is.* Typical error "
        f"{facts['error']['rmse']:.1f} (RMSE, n = {facts['error']['n']}). Correlations within a "
        "photograph, mean over photographs, 95 % t intervals on Fisher's z:",
        "",
        "| photographs | label | n | SRCC | SRCC of a rule that sees no pixel | content-specific |",
        "|---|---|---|---|---|---|",
    ]
    for row in card["agreement"]:
        lines.append(
            f"| {row['photographs']} | {row['label']} | {row['images']} images, {row['contents']} "
            f"photographs | {_number(row['srcc'], row['srcc_interval'])} | "
            f"{row['srcc_of_the_rule']:.3f} | "
            f"{_number(row['content_specific'], row['content_specific_interval'])} |"
        )
    lines += [
        "",
        "The rule is told type and level of the distortion and answers their mean label over the "
        "training's photographs. Content-specific is what only looking can earn, where it has "
        "nothing (docs/statistics.md).",
    ]
    if "unseen" in card["score_of_originals"]:
        lines.append(
            f"The photographs of no set here ({', '.join(names)}) get "
            f"{card['score_of_originals']['unseen']:.0f} on average as they are."
        )
    lines += [
        "",
        "*What it gets wrong.* Lossy compression raises its scores, most of all where it hides "
        "another fault: its training has no compression on top of a strong blur. Mean scores of "
        f"{len(card['photographs'])} photographs of its training: "
        + ", ".join(f"{name} {score:.0f}" for name, score in card["probe"].items())
        + ". So compare pictures of one format, and mistrust it on video.",
        "",
        "*What it must not be used for.* Judging people's opinion; choosing between pictures of "
        "different things; distortions that it never met (faces retouched, generated pictures, "
        "bad framing); any number in a paper but as a baseline named as what it is.",
        "",
        "On the demo's own photographs it sees its training data. Of your photographs as well, "
        "`python scripts/make_scorer.py FOLDER --out data/raw/weights/mine` makes one of your own, "
        "`python -m iqa_core score PICTURES --model mine` uses it.",
        "",
        "*Licence.* MIT, as the code; the backbone beside it is Apache-2.0.",
        "",
    ]
    return "\n".join(lines)


def _number(value, interval):
    low, high = interval
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "data/demo/weak_scorer")
    parser.add_argument("--unseen", nargs="*", type=Path, default=[])
    arguments = parser.parse_args()

    table = with_originals(table_of(photographs(arguments.folders) if arguments.folders else []))
    samples = loading.open_samples(table, network(), root=ROOT, frozen_crops=CROPS)
    tested = rotations(samples)
    print("all photographs", flush=True)
    model = trained(samples, np.arange(len(table)))
    originals = np.flatnonzero(table.distortion.isna())
    scores = {"training": float(evaluation.predict_samples(model, samples.take(originals)).mean())}
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights.save(model, arguments.out, head_alone=True)
    model = weights.load(arguments.out)  # in float16, as it will be used
    unseen, names = None, []
    if arguments.unseen:
        photos = photographs(arguments.unseen)
        names = [photo.stem.rpartition("-")[0] for photo in photos]
        unseen, scores["unseen"] = tested_on(model, photos)

    photos = sorted(table.reference.unique())
    card = card_of(table, tested, unseen, scores, probe(model, photos))
    card["photographs"] = photos
    write_json(arguments.out / "card.json", card)
    text = card_text(card, names, title=arguments.out.name)
    write_text(arguments.out / "CARD.md", text)
    print(text)


if __name__ == "__main__":
    main()
