"""Full-reference measures: against the libraries that people compare with, convention by
convention, and against formulas.

No ImageNet weights are here. LPIPS and DISTS are compared on random weights of their networks,
which lie where torchvision looks for the true ones: that tests the computation, and makes no LPIPS.
"""

import itertools
import pickle
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import piq
import pytest
import torch
import torchmetrics.functional.image as torchmetrics_image
import torchvision
from conftest import REPOSITORY
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from iqa_core import measuring
from iqa_core.apps import scoring
from iqa_core.distortions import distort
from iqa_core.full_reference import (
    REGISTRY,
    TRUNKS,
    absent,
    conventions,
    fr_measure,
    list_measures,
    weights_file,
)

PHOTO = data.astronaut()[:96, 160:288]
FLAT = np.zeros((40, 48, 3), np.uint8)
TORCHMETRICS = Path(torchmetrics_image.__file__).parent
AS_THE_AUTHORS = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
TAPS = {  # the ReLUs of torchvision's networks whose features LPIPS compares
    "alex": (1, 4, 7, 9, 11),
    "vgg": (3, 8, 15, 22, 29),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
}
EVERY = [
    (name, dict(zip(conventions(name), values, strict=True)))
    for name in list_measures()
    for values in itertools.product(*conventions(name).values())
]


@pytest.fixture(scope="module")
def pairs():
    """(distorted, reference), 384 x 512: photographs of the demo, damaged enough that 1e-8 beside
    their mean squared error is nothing.
    """
    pairs = []
    for photo, name, level in (
        ("clock", "white_noise", 4),
        ("nuthatch", "jpeg", 5),
        ("meadow", "gaussian_blur", 4),
        ("drum", "color_saturation_1", 5),
    ):
        image = np.asarray(Image.open(REPOSITORY / f"data/demo/{photo}.png").convert("RGB"))
        pairs.append((distort(image, name, level, 0), image))
    return pairs


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A TORCH_HOME with seeded weights of the three networks under torchvision's file names."""
    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub/checkpoints"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for network in TRUNKS.values():
        with torch.device("meta"):
            shapes = {
                key: tensor.shape
                for key, tensor in torchvision.models.get_model(network).state_dict().items()
            }
        state = {}
        for key, shape in shapes.items():
            if not key.startswith("features"):
                state[key] = torch.zeros(()).expand(shape)  # one number in the file
            elif key.endswith("bias"):
                state[key] = torch.randn(shape, generator=generator) / 20
            else:
                gain = (2 / shape[1:].numel()) ** 0.5
                state[key] = torch.randn(shape, generator=generator) * gain
        torch.save(state, folder / file_name(network))
    heads = torch.load(TORCHMETRICS / "lpips_models/vgg.pth", map_location="cpu")
    torch.save([*heads.values()], folder / "lpips_weights.pt")  # as piq's own file holds them
    torch.save(torch.load(TORCHMETRICS / "dists_models/weights.pt"), folder / "dists_weights.pt")
    return home


@pytest.fixture
def weights(random_weights, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(random_weights))


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An empty hub cache and no network; the list of addresses that were asked for."""
    asked = []

    def unreachable(request, timeout):
        asked.append(request.full_url)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    return asked


def file_name(network):
    return torchvision.models.get_model_weights(network).DEFAULT.url.rpartition("/")[2]


def tensors(pair):
    return [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in pair]


def cut(pair, height, width):
    return [image[:height, :width] for image in pair]


def luma(image):
    return image.astype(float) @ [0.299, 0.587, 0.114]


# ---- every measure, in every convention


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(("name", "convention"), EVERY, ids=str)
def test_a_measure_is_best_for_the_reference_itself_and_falls_with_noise(name, convention):
    sign = 1 if REGISTRY[name].higher_is_better else -1
    values = [
        sign * fr_measure(name, image, PHOTO, **convention)
        for image in (PHOTO, *(distort(PHOTO, "white_noise", k, 0) for k in (1, 3, 5)))
    ]
    assert values == sorted(values, reverse=True) and len(set(values)) == 4


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(("name", "convention"), EVERY, ids=str)
def test_identical_images_have_the_identity_and_flat_ones_finite_values(name, convention):
    kind = REGISTRY[name]
    sign = 1 if kind.higher_is_better else -1
    for image in (PHOTO, *(FLAT + np.uint8(value) for value in (0, 1, 128, 255))):
        assert fr_measure(name, image, image.copy(), **convention) == kind.identity
        changed = fr_measure(name, image ^ 1, image, **convention)
        assert changed != kind.identity or name == "vsi"  # which sees no offset
    for value in (1, 128, 255):
        other = fr_measure(name, FLAT + np.uint8(value), FLAT, **convention)
        assert np.isfinite(other) and sign * other <= sign * kind.identity


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(("name", "convention"), EVERY, ids=str)
def test_distorted_and_reference_can_change_places(name, convention):
    noisy = distort(PHOTO, "white_noise", 3, 0)
    there = fr_measure(name, noisy, PHOTO, **convention)
    back = fr_measure(name, PHOTO, noisy, **convention)
    # MDSI adds how near the mean of both is to the distorted one, less how near to the reference
    assert (back == pytest.approx(there, abs=1e-5)) == (name != "mdsi")


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(("name", "convention"), EVERY, ids=str)
def test_the_smallest_side_is_enough_in_every_convention(name, convention):
    smallest = REGISTRY[name].smallest
    assert np.isfinite(fr_measure(name, PHOTO[:smallest], PHOTO[:smallest, ::-1], **convention))
    if smallest > 1:
        short = PHOTO[: smallest - 1]
        why = f"is 128x{smallest - 1}, and {name} needs {smallest} p"
        with pytest.raises(ValueError, match=why):
            fr_measure(name, short, short[:, ::-1], **convention)


def test_the_conventions_of_each_measure_and_their_defaults():
    assert {name: conventions(name) for name in list_measures()} == {
        "dists": {"shrink": (True, False)},
        "fsim": {},
        "haarpsi": {},
        "lpips": {"trunk": ("alex", "vgg", "squeeze")},
        "mdsi": {},
        "psnr": {"channels": ("rgb", "y")},
        "ssim": {
            "downsample": (True, False),
            "channels": ("rgb", "y"),
            "window": ("gaussian", "uniform"),
        },
        "vsi": {},
    }


def test_unknown_names_conventions_and_values_are_told_what_there_is():
    with pytest.raises(
        KeyError, match=r"no full-reference measure 'lpipz'; there are dists, fsim, haar"
    ):
        fr_measure("lpipz", PHOTO, PHOTO)
    known = r"ssim has no convention 'chanels'; did you mean 'channels'\? \(it has downsample, ch"
    with pytest.raises(KeyError, match=known):
        fr_measure("ssim", PHOTO, PHOTO, chanels="y")
    with pytest.raises(KeyError, match=r"mdsi has no convention 'channels' \(it has none\)"):
        fr_measure("mdsi", PHOTO, PHOTO, channels="y")
    with pytest.raises(ValueError, match="trunk of lpips is 'vgg19'; it may be 'alex' or 'vgg' or"):
        absent("lpips", trunk="vgg19")


def test_images_of_other_sizes_and_kinds_are_refused():
    with pytest.raises(ValueError, match="it is 128x96, its reference 128x95; they must be of one"):
        fr_measure("ssim", PHOTO, PHOTO[1:])
    with pytest.raises(ValueError, match="wanted uint8"):
        fr_measure("psnr", PHOTO / 255, PHOTO / 255)


# ---- against other libraries


@pytest.mark.parametrize("name", ["psnr", "ssim", "vsi", "fsim", "mdsi", "haarpsi"])
def test_defaults_are_those_of_piq(name, pairs):
    for pair in pairs:
        theirs = getattr(piq, name)(*tensors(pair), data_range=1.0).item()
        assert fr_measure(name, *pair) == pytest.approx(theirs, abs=1e-6)


def test_psnr_is_that_of_scikit_image_and_torchmetrics(pairs):
    for distorted, reference in pairs:
        ours = fr_measure("psnr", distorted, reference)
        assert ours < 33, "damaged enough to compare to 1e-4"
        theirs = peak_signal_noise_ratio(reference, distorted, data_range=255)
        assert ours == pytest.approx(theirs, abs=1e-4)
        theirs = torchmetrics_image.peak_signal_noise_ratio(
            *tensors((distorted, reference)), data_range=1.0
        )
        assert ours == pytest.approx(theirs.item(), abs=1e-4)
        theirs = peak_signal_noise_ratio(luma(reference), luma(distorted), data_range=255)
        assert fr_measure("psnr", distorted, reference, channels="y") == pytest.approx(
            theirs, abs=1e-4
        )


# torchmetrics is left out: it mirrors the borders and averages over them too, so that its SSIM of
# these pairs differs from all others in the third decimal.
@pytest.mark.parametrize(
    ("window", "settings"), [("gaussian", AS_THE_AUTHORS), ("uniform", {})], ids=["authors", "own"]
)
def test_ssim_is_that_of_scikit_image(window, settings, pairs):
    for distorted, reference in pairs:
        options = dict(downsample=False, window=window)
        theirs = structural_similarity(
            reference, distorted, data_range=255, channel_axis=2, **settings
        )
        assert fr_measure("ssim", distorted, reference, **options) == pytest.approx(
            theirs, abs=1e-4
        )
        gray = luma(reference), luma(distorted)
        theirs = structural_similarity(*gray, data_range=255, **settings)
        ours = fr_measure("ssim", distorted, reference, channels="y", **options)
        assert ours == pytest.approx(theirs, abs=1e-4)
        means = [image.reshape(192, 2, 256, 2).mean((1, 3)) for image in gray]
        theirs = structural_similarity(*means, data_range=255, **settings)
        ours = fr_measure("ssim", distorted, reference, channels="y", window=window)
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_conventions_are_other_numbers(pairs):
    distorted, reference = pairs[3]  # less colour: luma hardly sees it
    assert fr_measure("psnr", distorted, reference, channels="y") > 5 + fr_measure(
        "psnr", distorted, reference
    )
    noisy, reference = pairs[0]
    values = [
        fr_measure("ssim", noisy, reference, **convention)
        for name, convention in EVERY
        if name == "ssim"
    ]
    assert len({round(value, 3) for value in values}) == 8


def test_psnr_is_its_formula():
    other = np.clip(PHOTO.astype(int) + 10, 0, 255).astype(np.uint8)
    error = ((PHOTO / 255.0 - other / 255.0) ** 2).mean()
    assert fr_measure("psnr", other, PHOTO) == pytest.approx(-10 * np.log10(error), abs=1e-3)


# ---- LPIPS and DISTS


def features(network, *, pool=None):
    """The network's convolutions as torchvision builds them, each max pooling changed to `pool`."""
    body = torchvision.models.get_model(network, weights="DEFAULT").features.eval()
    return [pool if pool and isinstance(m, torch.nn.MaxPool2d) else m for m in body]


def activations(layers, taps, image):
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    maps, kept = (image - mean) / std, []
    for number, layer in enumerate(layers):
        maps = layer(maps)
        kept += [maps] if number in taps else []
    return kept


@torch.no_grad()
def lpips_by_its_formula(pair, trunk):
    """Eq. 1 of arXiv 1801.03924: sum over layers, mean over places, of w (a - b)^2, a and b the
    features at a place scaled to length 1.
    """
    layers = features(TRUNKS[trunk])
    heads = torch.load(TORCHMETRICS / f"lpips_models/{trunk}.pth", map_location="cpu")
    total = 0.0
    a, b = (activations(layers, TAPS[trunk], image) for image in tensors(pair))
    for a_layer, b_layer, w in zip(a, b, heads.values(), strict=True):
        a_unit, b_unit = a_layer / a_layer.norm(dim=1), b_layer / b_layer.norm(dim=1)
        total += ((a_unit - b_unit) ** 2 * w).sum(1).mean().item()
    return total


def hann_pooling(maps):
    """Root of the mean square under a 3 x 3 Hann window at every second pixel."""
    window = torch.tensor([0.25, 0.5, 0.25])
    window = (window[:, None] * window).expand(maps.shape[1], 1, 3, 3)
    squares = torch.nn.functional.conv2d(maps**2, window, stride=2, padding=1, groups=maps.shape[1])
    return (squares + 1e-12).sqrt()


@torch.no_grad()
def dists_by_its_formula(pair):
    """Eqs. 5 to 7 of arXiv 2004.07728: 1 - sum of alpha l + beta s over all feature maps, the image
    the first.
    """
    weights = torch.load(TORCHMETRICS / "dists_models/weights.pt")
    layers, images = features("vgg16", pool=hann_pooling), tensors(pair)
    a, b = ([image, *activations(layers, TAPS["vgg"], image)] for image in images)
    luminance, structure = [], []
    for x, y in zip(a, b, strict=True):
        x, y = x.flatten(2)[0].double(), y.flatten(2)[0].double()
        x_mean, y_mean = x.mean(1), y.mean(1)
        luminance.append((2 * x_mean * y_mean + 1e-6) / (x_mean**2 + y_mean**2 + 1e-6))
        both = ((x - x_mean[:, None]) * (y - y_mean[:, None])).mean(1)
        variances = x.var(1, correction=0) + y.var(1, correction=0)
        structure.append((2 * both + 1e-6) / (variances + 1e-6))
    kept = weights["alpha"].flatten() @ torch.cat(luminance).float()
    kept += weights["beta"].flatten() @ torch.cat(structure).float()
    return 1 - (kept / (weights["alpha"].sum() + weights["beta"].sum())).item()


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("trunk", TRUNKS)
def test_lpips_is_that_of_torchmetrics_and_its_formula(trunk, pairs):
    pair = cut(pairs[0], 96, 128)
    ours = fr_measure("lpips", *pair, trunk=trunk)
    assert ours > 0.01
    theirs = torchmetrics_image.lpips.learned_perceptual_image_patch_similarity(
        *tensors(pair), net_type=trunk, normalize=True
    )
    assert ours == pytest.approx(theirs.item(), abs=1e-6)
    assert ours == pytest.approx(lpips_by_its_formula(pair, trunk), abs=1e-4)


@pytest.mark.usefixtures("weights")
def test_dists_is_that_of_torchmetrics_and_its_formula(pairs):
    pair = cut(pairs[0], 96, 128)
    ours = fr_measure("dists", *pair, shrink=False)
    assert ours > 0.005
    theirs = torchmetrics_image.dists.deep_image_structure_and_texture_similarity(*tensors(pair))
    assert ours == pytest.approx(theirs.item(), abs=1e-6)
    assert ours == pytest.approx(dists_by_its_formula(pair), abs=1e-4)
    assert fr_measure("dists", *pair) == ours, "small images are not shrunk"


@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_lpips_of_vgg_and_dists_are_those_of_piq(pairs):
    with warnings.catch_warnings():  # of torchvision's, that piq asks for weights in an old way
        warnings.simplefilter("ignore")
        theirs = piq.LPIPS()(*tensors(cut(pairs[1], 96, 128))).item()
        ours = fr_measure("lpips", *cut(pairs[1], 96, 128), trunk="vgg")
        assert ours == pytest.approx(theirs, abs=1e-4)
        pair = cut(pairs[1], 300, 320)
        theirs = piq.DISTS()(*tensors(pair)).item()
        assert fr_measure("dists", *pair) == pytest.approx(theirs, abs=1e-4)
        assert abs(fr_measure("dists", *pair, shrink=False) - theirs) > 1e-3


@pytest.mark.usefixtures("weights")
def test_a_network_is_built_once_without_gradients_or_a_draw_of_random_numbers(monkeypatch):
    fr_measure("lpips", PHOTO ^ 1, PHOTO, trunk="squeeze")
    built = []
    network = torchvision.models.get_model_builder("squeezenet1_1")
    monkeypatch.setattr(
        torchvision.models, "squeezenet1_1", lambda **k: built.append(k) or network(**k)
    )
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fr_measure("lpips", PHOTO ^ 1, PHOTO, trunk="squeeze")
    assert not built
    assert torch.equal(torch.get_rng_state(), before)


# ---- where weights are absent or spoilt


@pytest.mark.parametrize(
    ("name", "convention", "network"),
    [("lpips", {}, "alexnet"), ("lpips", {"trunk": "vgg"}, "vgg16"), ("dists", {}, "vgg16")],
)
def test_absent_weights_are_told_with_file_place_and_fix(name, convention, network, no_weights):
    place = weights_file(name, **convention)
    assert place.name == file_name(network)
    why = absent(name, **convention)
    assert f"weights of {network} are not at {place}; " in why
    assert f"torchvision.models.{network}(weights='DEFAULT')" in why
    assert f"or put https://download.pytorch.org/models/{place.name} there" in why
    assert no_weights == [] and not place.parent.exists(), "nothing is fetched to tell"
    with pytest.raises(FileNotFoundError) as told:
        fr_measure(name, PHOTO ^ 1, PHOTO, **convention)
    assert f"{name} needs the ImageNet weights of {network}" in str(told.value)
    assert f"put the file at {place}" in str(told.value)
    assert no_weights == [f"https://download.pytorch.org/models/{place.name}"], "asked for once"


@pytest.mark.usefixtures("no_weights")
def test_measures_that_read_no_weights_are_never_absent():
    names = [name for name in list_measures() if weights_file(name) is None]
    assert names == ["fsim", "haarpsi", "mdsi", "psnr", "ssim", "vsi"]
    assert {absent(name) for name in names} == {""}


@pytest.mark.usefixtures("weights")
def test_weights_that_are_here_are_not_absent():
    assert [absent(name, **convention) for name, convention in EVERY] == [""] * len(EVERY)


class Trap:
    """Unpickled, it runs code."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("spoil", ["pickle", "cut", "other"])
def test_files_that_hold_no_weights_are_refused_and_nothing_in_them_is_run(spoil):
    file = weights_file("lpips", trunk="squeeze")
    file.parent.mkdir(parents=True)
    if spoil == "pickle":
        with file.open("wb") as opened:
            pickle.dump(Trap(), opened, protocol=2)
    else:
        torch.save({"features.0.weight": torch.zeros(3)}, file)
    if spoil == "cut":
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(
        ValueError, match="lpips cannot read the ImageNet weights .*remove the file"
    ):
        fr_measure("lpips", PHOTO ^ 1, PHOTO, trunk="squeeze")


@pytest.fixture
def table(tmp_path):
    """Two images with one reference, and where they lie."""
    for level, name in enumerate("abc"):
        image = distort(PHOTO, "white_noise", 2 * level, 0) if level else PHOTO
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    return pd.DataFrame({"image": ["b.png", "c.png"], "reference": "a.png"})


def test_a_table_goes_on_without_a_measure_whose_weights_are_absent(
    table, tmp_path, no_weights, capsys
):
    names = measuring.measurable(table, ["psnr", "lpips", "mdsi"], root=tmp_path)
    assert names == ["psnr", "mdsi"]
    line = capsys.readouterr().out
    assert line == f"lpips is absent from the measures: {absent('lpips')}\n"
    found = measuring.measure(table, names, root=tmp_path, processes=1)
    assert found.columns.tolist() == ["image", "psnr", "mdsi"] and found.notna().all(axis=None)
    assert capsys.readouterr().out == "", "said once"
    assert no_weights == [], "a table fetches nothing"
    assert measuring.measurable(table, ["dists"], root=tmp_path) == []


@pytest.mark.usefixtures("no_weights")
def test_measured_all_the_same_it_is_missing_and_no_number(table, tmp_path, capsys):
    found = measuring.measure(table, ["lpips", "psnr"], root=tmp_path, processes=1)
    assert found.columns.tolist() == ["image", "lpips", "psnr"]
    assert found.lpips.isna().all() and found.psnr.notna().all()
    assert capsys.readouterr().out.count("lpips is absent") == 1
    alone = measuring.measure(table, ["lpips"], root=tmp_path, processes=1)
    assert alone.lpips.isna().all() and alone.image.tolist() == ["b.png", "c.png"]


@pytest.mark.usefixtures("weights")
def test_in_tables_higher_is_better_for_distances_too(table, tmp_path):
    names = measuring.measurable(table, ["lpips", "psnr"], root=tmp_path)
    found = measuring.measure(table, names, root=tmp_path, processes=1)
    assert found.lpips[0] > found.lpips[1] and found.lpips.max() < 0
    noisy = np.asarray(Image.open(tmp_path / "b.png"))
    assert found.lpips[0] == -fr_measure("lpips", noisy, PHOTO)


def test_scoring_refuses_an_absent_measure_before_any_work(table, tmp_path, no_weights):
    reference = tmp_path / "a.png"
    with pytest.raises(FileNotFoundError, match="lpips cannot score here: the ImageNet weights of"):
        scoring.score(
            [tmp_path / "b.png"],
            ["psnr", "lpips"],
            reference=reference,
            save_results=tmp_path / "scores.csv",
            progress=False,
        )
    assert not list(tmp_path.glob("*scores*")) and no_weights == []


@pytest.mark.usefixtures("weights")
def test_scoring_by_lpips_says_its_direction_and_weights(tmp_path, table):
    images = [tmp_path / image for image in table.image]
    scores = scoring.score(images, "lpips", reference=tmp_path / "a.png", progress=False)
    assert scores.lpips[0] < scores.lpips[1]
    (facts,) = scores.attrs["scorers"]
    assert facts["higher_is_better"] is False and facts["low"] == 0
    assert facts["weights"] == file_name("alexnet")
