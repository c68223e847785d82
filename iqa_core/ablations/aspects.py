"""What notebook 06 asks of models that read whole images: what a change of shape does to a score,
whether padding can be told, and what their features know.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from .. import evaluation, study
from ..loading import evaluation_views, floats, open_samples
from ..loading.parallel import each_image
from ..loading.views import batch
from ..models.patches import OWN_ENCODERS
from ..models.pyramid import Pyramid
from ..pixels import resize
from ..stats import srcc, t_interval

AREA = 512 * 384  # pixels of a picture whose shape is changed, at most


def reshaped(image: np.ndarray, ratio: float) -> np.ndarray:
    """A uint8 image (h, w, 3) with height / width `ratio` and the area that it has, at most `AREA`:
    Pillow's bicubic, which smooths where it shrinks.
    """
    area = min(image.shape[0] * image.shape[1], AREA)
    size = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
    return resize(image, size, "bicubic")


def whole_pictures(rows: pd.DataFrame, number: int) -> pd.Series:
    """The paths of so many pictures of a table's rows to look at: the references of different
    contents where there are such, else the first images.
    """
    named = {"reference", "content"} <= set(rows) and rows.reference.fillna("").ne("").all()
    if named:
        return rows.drop_duplicates("content").reference.iloc[:number]
    return rows.image.iloc[:number]


def aspect_curves(
    networks: dict[str, torch.nn.Module],
    images: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    ratios: Sequence[float],
    spread: dict[str, float],
) -> pd.DataFrame:
    """Predicted labels of pictures that are stretched to other shapes, and of their own one.

    networks   by the name of the method
    names      of the images
    ratios     height / width
    spread     standard deviation of each method's predictions of the test images, its unit

    Returns a row a photograph, method and ratio: photograph, method, ratio, own (whether it is the
    photograph's own ratio), predicted, spread.
    """
    rows = []
    for name, image in zip(names, images, strict=True):
        own = image.shape[0] / image.shape[1]
        pictures = [reshaped(image, ratio) for ratio in (own, *ratios)]
        for method, network in networks.items():
            predicted = evaluation.predict(network, pictures)
            facts = {"photograph": name, "method": method, "spread": spread[method]}
            for number, ratio in enumerate((own, *ratios)):
                row = facts | {"ratio": ratio, "own": number == 0}
                rows.append(row | {"predicted": predicted[number]})
    return pd.DataFrame(rows)


def aspect_sensitivity(curves: pd.DataFrame) -> pd.DataFrame:
    """How far stretching moves scores: for each method the mean, over ratios and photographs, of
    the distance from the score of the own shape, in standard deviations of its predictions.

    Returns columns network, n (photographs), ratios, moved, low, high (95 % t over photographs),
    unit.
    """
    rows = []
    for method, of_method in curves.groupby("method", sort=False):
        own = of_method[of_method.own].set_index("photograph").predicted
        others = of_method[~of_method.own]
        distance = (others.predicted - others.photograph.map(own)).abs() / others.spread
        values = distance.groupby(others.photograph).mean()
        low, high = t_interval(values)
        row = {"network": method, "n": len(values), "unit": "content"}
        row |= {"ratios": others.ratio.nunique(), "moved": values.mean()}
        rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)


@torch.no_grad()
def padding_check(network, images: Sequence[np.ndarray]) -> pd.DataFrame:
    """Scores of images of different sizes one by one, and in one batch in which shorter ones are
    filled up by masked tokens: a row an image, its tokens, the tokens that were added, both scores.
    """
    views = [_seen(network, image) for image in images]
    alone = [network.eval()(view).item() for view in views]
    tokens = [network.tokens(view)[0] for view in views]
    together = network.judged(network.read(tokens))
    lengths = [sequence.shape[1] for sequence in tokens]
    return pd.DataFrame(
        {
            "height": [view.shape[2] for view in views],
            "width": [view.shape[3] for view in views],
            "tokens": lengths,
            "added": max(lengths) - np.array(lengths),
            "alone": alone,
            "filled up": together.tolist(),
        }
    )


def _seen(network, image):
    """An image as the network takes it, (1, 3, h, w)."""
    (view,) = evaluation_views({"image": image}, network.contract)
    return floats(batch([view]), next(network.parameters()).device, torch.float32)


def attended(network, images: Sequence[np.ndarray], names: Sequence[str]) -> list[dict]:
    """Where a MUSIQ looks in pictures, as its contract resizes them, for `figures.scale_attention`;
    the native scale first, then the larger ones.
    """
    examples = []
    for image, name in zip(images, names, strict=False):
        view = _seen(network, image)
        found = network.scale_maps(view)
        maps = {scale: found[scale][0].float().cpu().numpy() for scale in reversed(found)}
        sides = {"native" if side is None else str(side): side for side in network.sides}
        sizes = {scale: network.size_of(sides[scale], *view.shape[2:]) for scale in maps}
        title = f"{Path(name).stem}, {image.shape[1]}x{image.shape[0]}"
        examples.append({"image": image, "title": title, "maps": maps, "sizes": sizes})
    return examples


def features_of(network, data: study.Data, *, frozen_crops: int = 0) -> dict[str, np.ndarray]:
    """What a MUSIQ's head reads of every row's image (n, width), and beside it the mean over each
    image of the whole pyramid (n, channels) of the ImageNet network whose first stages encode its
    patches, or of EfficientNet-Lite0.

    frozen_crops   as the network was trained: 1, its kept tokens stand for the images
    """
    device = next(network.parameters()).device
    encoder = network.config["arguments"].get("patch_encoder", "resnet")
    known = encoder if encoder not in OWN_ENCODERS else "tf_efficientnet_lite0"
    trunk = evaluation.prepared(Pyramid(known, pretrained=True)).to(device)
    kept = open_samples(data.table, network, root=data.root, frozen_crops=frozen_crops)
    whole = open_samples(data.table, network, root=data.root)
    network.eval()

    @torch.no_grad()
    def read(parts):
        tokens, image = parts
        (seen,) = evaluation_views({"image": tokens}, network.contract)
        own = network.features(floats(batch([seen]), device, torch.float32))[0]
        stages = trunk(floats(batch([image[None]]), device, torch.float32))
        beside = torch.cat([stage.mean((2, 3))[0] for stage in stages])
        return own.float().cpu().numpy(), beside.float().cpu().numpy()

    images = zip(kept.parts["image"], whole.parts["image"], strict=True)
    computed = each_image(read, images, device)
    own, beside = zip(
        *tqdm(computed, total=len(data.table), desc="features", mininterval=5), strict=True
    )
    return {"MUSIQ": np.array(own), f"{known}, ImageNet": np.array(beside)}


def linear_probe(
    features: dict[str, np.ndarray],
    table: pd.DataFrame,
    part: pd.Series,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """What a linear reader finds in features: the type of distortion, and its level within types.

    features   name -> (n, width), a row a table row
    table      columns content, distortion, level
    part       train, val (left aside) or test of each row

    Widths are brought to the smallest, by principal components of the training rows. Returns a row
    a name: width, n (test images), unit, units (contents), accuracy of a logistic regression on the
    type, and the mean over contents of the SRCC of ridge regressions, one a type, with the level,
    both less the mean level of the type's training rows, so that knowing the type earns nothing;
    each with the ends of a 95 % t interval over contents, and the accuracy of chance.
    """
    width = min(values.shape[1] for values in features.values())
    train, test = (part == "train").to_numpy(), (part == "test").to_numpy()
    kinds, levels = table.distortion.to_numpy(str), table.level.to_numpy(float)
    content = table.content[test].to_numpy()
    rows = []
    for name, values in features.items():
        values = StandardScaler().fit(values[train]).transform(values)
        centred = values - values[train].mean(0)
        _, _, directions = np.linalg.svd(centred[train], full_matrices=False)
        reduced = centred @ directions[:width].T
        reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
        right = reader.fit(reduced[train], kinds[train]).predict(reduced[test]) == kinds[test]
        accuracy = pd.Series(right).groupby(content).mean()

        found, above = np.full(len(table), np.nan), np.full(len(table), np.nan)
        for kind in np.unique(kinds):
            of_kind = kinds == kind
            if (train & of_kind).sum() < 2:
                continue
            ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
            ridge.fit(reduced[train & of_kind], levels[train & of_kind])
            usual = levels[train & of_kind].mean()
            found[test & of_kind] = ridge.predict(reduced[test & of_kind]) - usual
            above[test & of_kind] = levels[test & of_kind] - usual
        tested = pd.DataFrame({"content": content, "found": found[test], "level": above[test]})
        order = tested.groupby("content").apply(_order_of_levels, include_groups=False)
        row = {"features": name, "width": width, "n": int(test.sum()), "unit": "content"}
        row |= {"units": len(accuracy), "type accuracy": accuracy.mean()}
        row["type_low"], row["type_high"] = t_interval(accuracy)
        row["level srcc"] = order.mean()
        row["level_low"], row["level_high"] = t_interval(order.dropna())
        row["chance"] = pd.Series(kinds[test]).value_counts(normalize=True).max()
        rows.append(row)
    return pd.DataFrame(rows)


def _order_of_levels(rows):
    rows = rows.dropna()
    alike = len(rows) < 3 or not rows.found.std() or not rows.level.std()
    return np.nan if alike else float(srcc(rows.found.to_numpy(), rows.level.to_numpy()))
