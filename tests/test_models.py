"""Contracts over the model registry; what is particular to a model stands in a file of its own."""

import contextlib
import importlib
import inspect
import re

import numpy as np
import pytest
import timm
import torch
import torchvision

from iqa_core.evaluation import predict
from iqa_core.models import create_model, list_models, published, weights
from iqa_core.models.layers import Attention

MODULES = {name: importlib.import_module(f"iqa_core.models.{name}") for name in list_models()}
CONSTANTS = {
    "VARIANTS": dict,
    "REPORTED": str,
    "AUTHORS_DO": str,
    "PUBLISHED": tuple,
    "UNUSED": tuple,
    "TEST_KWARGS": list,
    "TEST_SWITCHES": dict,
}


def cases(constant):
    """(model, entry) for every entry of a constant; what is missing is told by a test below."""
    entries = {name: getattr(module, constant, []) for name, module in MODULES.items()}
    return [(name, entry) for name in MODULES for entry in entries[name]]


SMALL = cases("TEST_KWARGS")
FULL = [(name, MODULES[name].VARIANTS[variant]) for name, variant in cases("VARIANTS")]
SWITCHES = cases("TEST_SWITCHES")
# the most that bfloat16 may move a score, in units of its size or of 1, whichever is larger
BF16 = 0.05
AMPLIFIERS = (
    "resnet50",
    "efficientnet_b5",
)  # measured: bfloat16 moves scores by .3 and 2.1 that span 1.7 and 2.4
CONTRASTS = (1.0, 0.5, 0.1, 0.25)  # of the test images, so that their scores are apart


@pytest.mark.parametrize("name", MODULES)
def test_a_model_file_has_what_pages_and_tests_read(name):
    module, file = MODULES[name], f"iqa_core/models/{name}.py"
    for constant, kind in CONSTANTS.items():
        assert isinstance(getattr(module, constant, None), kind), (
            f"{file} needs {constant}, a {kind.__name__}: see docs/extending.md"
        )
    title, _, rest = module.__doc__.partition("\n\n")
    assert re.match(r"[^\n:]+: ", title), (
        f"begin the docstring of {file} with `Name: what it does.`"
    )
    assert re.match(r'[^;"]+"[^;"]+",[^;]*\b\d{4}\b[^;]*;', rest), (
        f"begin the second paragraph of the docstring of {file} with "
        '`Authors, "Title", where and year, DOI or arXiv;`'
    )


def identity(case):
    return "-".join([case[0], *(str(v) for v in case[1].values())])


def build(name, kwargs):
    torch.manual_seed(0)
    model = create_model(name, **kwargs, pretrained=False)
    with (
        torch.no_grad()
    ):  # timm starts some norms at zero, behind which nothing would learn at the first step
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    norms = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.BatchNorm2d) and module.training
    ]
    usual = [norm.momentum for norm in norms]
    for (
        norm
    ) in norms:  # statistics of one batch: with none measured, differences fade from layer to layer
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model(*inputs(model, 4))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    return model


@pytest.fixture(
    params=SMALL + [pytest.param(case, marks=pytest.mark.slow) for case in FULL], ids=identity
)
def model(request):
    return build(*request.param)


def inputs(model, number=3):
    """What the model's contract asks for: one batch, or two."""
    contract, generator = model.contract, torch.Generator().manual_seed(1)
    sides = [(contract.crop,) * 2 if contract.crop else (96, 128)]
    sides += (
        [sides[0]] if contract.reference else [(contract.context,) * 2] if contract.context else []
    )
    contrast = torch.tensor(CONTRASTS[:number])[:, None, None, None]
    return [
        0.5 + contrast * (torch.rand(number, 3, *side, generator=generator) - 0.5) for side in sides
    ]


def test_scores_are_one_finite_number_an_image_and_do_not_depend_on_the_batch(model):
    model.eval()
    batch = inputs(model)
    with torch.no_grad():
        scores = model(*batch)
        alone = torch.cat([model(*(part[i : i + 1] for part in batch)) for i in range(3)])
        turned = model(*(part.flip(0) for part in batch)).flip(0)
    assert scores.shape == (3,) and torch.isfinite(scores).all()
    spread = scores.max() - scores.min()
    assert spread > 1e-5, "different images, different scores"
    for same in (alone, turned):
        assert (scores - same).abs().max() < max(1e-3 * spread, 1e-6 * scores.abs().max())


def test_every_parameter_learns_but_the_declared_ones(model):
    unused = MODULES[model.config["name"]].UNUSED
    model.train()
    (model(*inputs(model, 4)) - torch.tensor([0.0, 1.0, -1.0, 2.0])).square().sum().backward()
    dead = set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if re.search(
            r"\.(key|c_k)\.bias$", name
        ):  # the same number added to all logits of a softmax: zero by mathematics
            weight = model.get_parameter(name.replace("bias", "weight"))
            assert parameter.grad.abs().max() <= 1e-3 * weight.grad.abs().max(), name
            continue
        if parameter.grad is None or not parameter.grad.any():
            dead.add(name)
        else:
            assert torch.isfinite(parameter.grad).all(), name
    declared = {
        name
        for name, p in model.named_parameters()
        if p.requires_grad and any(re.search(r, name) for r in unused)
    }
    assert dead == declared


def test_a_saved_model_predicts_the_same(model, tmp_path):
    contract = model.contract
    contract.offset, contract.scale = 50.0, 20.0
    side = max(contract.crop or 0, 100)
    images = [
        np.random.default_rng(i).integers(0, 256, (side + 6, side + 36, 3), dtype=np.uint8)
        for i in range(4)
    ]
    reference = images[2:] if contract.reference else None
    weights.save(model, tmp_path)
    again = weights.load(tmp_path)
    before, after = (
        predict(m, images[:2], reference=reference, crops=contract.crop and 1)
        for m in (model, again)
    )
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert again.contract == contract and again.config == model.config


def test_bfloat16_stays_near(model):
    if model.config["arguments"].get("backbone") in AMPLIFIERS:
        pytest.skip(
            "random filters behind norms of one batch amplify any rounding to the size of the "
            "scores"
        )
    model.eval()
    batch = inputs(model)
    with torch.no_grad():
        exact = model(*batch)
        with torch.autocast("cpu", torch.bfloat16):
            near = model(*batch).float()
    assert ((near - exact).abs() / exact.abs().clamp(min=1)).max() < BF16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_scores_the_same(model):
    model.eval()
    batch = inputs(model)
    with torch.no_grad():
        here, there = model(*batch), model.cuda()(*(part.cuda() for part in batch)).cpu()
    torch.testing.assert_close(here, there, rtol=1e-2, atol=1e-2)  # TF32


@pytest.mark.parametrize(("name", "switch"), SWITCHES)
def test_every_switch_shows(name, switch):
    """It changes the number of parameters, or that of those which learn, or the scores of equal
    weights by over .0001.

    In evaluation, or, as dropouts do, in training, where both draw the same random numbers. What
    changes the first weights alone shows in those, what changes a step of training alone in its
    gradient.
    """
    base = MODULES[name].TEST_KWARGS[0]
    before, after = build(name, base), build(name, base | MODULES[name].TEST_SWITCHES[switch])
    if switch in getattr(MODULES[name], "AT_THE_START", ()):
        assert _difference(before, after, training=False) > 1e-3
        return
    if _counts(before) != _counts(after):
        return
    after.load_state_dict(before.state_dict())
    if switch in getattr(MODULES[name], "IN_TRAINING", ()):
        first, second = _gradient(before), _gradient(after)
        assert (first - second).norm() > 1e-5 * first.norm()
        return
    assert max(_difference(before, after, training=mode) for mode in (False, True)) > 1e-4


def _difference(before, after, *, training):
    scores = []
    for model in (before, after):
        torch.manual_seed(0)
        with torch.no_grad():
            scores.append(model.train(training)(*inputs(model)))
    return (scores[0] - scores[1]).abs().max()


def _gradient(model):
    """Of the last stage's loss, for images of which all parts are alike but the first."""
    objective = model.train().objective
    image, other = inputs(model)
    views = [image, *(other * share for share in (0.9, 0.8, 0.7)[: len(objective.parts) - 1])]
    target = torch.linspace(0, 1, 2 * len(image)).view(-1, 2)
    torch.manual_seed(0)
    objective.loss(objective.forward(model, *views), target, objective.stages - 1).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients])


def _counts(model):
    return [
        sum(p.numel() for p in model.parameters() if p.requires_grad or frozen)
        for frozen in (True, False)
    ]


def test_no_switch_is_tested_that_does_not_exist():
    for name, module in MODULES.items():
        assert set(module.TEST_SWITCHES) | {"pretrained"} == set(
            inspect.signature(module.build).parameters
        ), name


def _stop(*_, **__):
    raise InterruptedError


@pytest.mark.parametrize(("name", "kwargs"), [*FULL, ("ra_miqa", {"region": "resnet18.a1_in1k"})])
def test_pretrained_weights_are_asked_for_by_a_name_with_its_tag_or_not_at_all(
    name, kwargs, monkeypatch, project
):
    asked = []
    make, get = timm.create_model, torchvision.models.get_model

    def from_timm(model, *, pretrained=False, **options):
        asked.append((model, pretrained))
        return make(model, **options)

    def from_torchvision(model, weights=None):
        asked.append((f"{model}.v1" if weights == "IMAGENET1K_V1" else model, weights is not None))
        return get(model, weights=None)

    def from_file(weights):
        asked.append((f"{weights}.file", True))
        return weights

    monkeypatch.setattr(timm, "create_model", from_timm)
    monkeypatch.setattr(torchvision.models, "get_model", from_torchvision)
    monkeypatch.setattr(published, "local_file", from_file)
    monkeypatch.setattr(published, "read", _stop)
    with (
        torch.device("meta") if name == "smart_iqa" else contextlib.nullcontext(),
        contextlib.suppress(InterruptedError),
    ):
        create_model(
            name, **kwargs
        )  # a file of its own comes first where one is needed, and ends the build here
    assert asked and all(pretrained for _, pretrained in asked)
    assert all("." in model for model, _ in asked), "a tag: timm changes what a bare name means"
    asked.clear()
    with torch.device("meta") if name == "smart_iqa" else contextlib.nullcontext():
        create_model(name, **kwargs, pretrained=False)
    assert not any(pretrained for _, pretrained in asked)


def test_attention_is_the_same_fused_and_explicit():
    torch.manual_seed(0)
    attention, maps = Attention(32, 4).eval(), []
    tokens, others, mask = (
        torch.randn(2, 5, 32),
        torch.randn(2, 7, 32),
        torch.arange(7).expand(2, 7) < torch.tensor([[7], [4]]),
    )
    with torch.no_grad():
        fused, explicit = (
            attention(tokens, others, mask=mask),
            attention(tokens, others, mask=mask, maps=maps),
        )
    torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=1e-5)
    assert maps[0].shape == (2, 4, 5, 7) and not maps[0][1, :, :, 4:].any()
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, 4, 5))


def test_unknown_names_are_refused_naming_what_there_is():
    with pytest.raises(KeyError, match="no model 'hyperqa'; there are .*hyperiqa"):
        create_model("hyperqa")
    with pytest.raises(TypeError, match="no argument backbon; it has backbone"):
        create_model("hyperiqa", backbon="resnet18")
