"""RA-MIQA: a vision transformer reads a crop together with one token that sums up a wider view of
the image.

Wang et al., "Image Quality Assessment for Machines: Paradigm, Large-scale Database, and Models",
arXiv 2508.19850; code github.com/SYSU-Video/MIQA (MIT). "Region-aware" uses no region: no mask is
predicted or read. The second encoder is frozen, its last map is averaged over all places, and that
one vector is all it says.

The code is followed, as its weights are: the base's own position table stays beside the new one
and learns nothing. Two of its slips are switches, off unless asked for: the region token starts
from the pretrained position of the class token, and the class token from noise
(`swapped_positions`); the frozen encoder drops paths in training (`region_drop_path`, there .1).
"""

import logging
from typing import Literal

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from . import Contract, published
from .arguments import Chance, TimmName, TransformerName
from .layers import Normalise, no_autocast
from .pyramid import timm_model

log = logging.getLogger(__name__)

VIEW, CONTEXT = 224, 288  # pixels a side
SERE = "sere_vit_small"
VARIANTS = {"RA-MIQA": {}}
REPORTED = (
    "MIQD-2.5M, composite labels of models for classification .7003 / .6989, detection .8125 / "
    ".8264, instance segmentation "
    ".8188 / .8340: the images on which the best of about ten validations was chosen, PLCC "
    "apparently after a fit (the code's "
    "README)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "as here at inference; training takes the 224 at random from the resized picture."
)
UNUSED = (r"^backbone\.pos_embed$",)
TEST_KWARGS = [
    {"backbone": "vit_tiny_patch16_224", "region": "mobilenetv3_small_050"},
    {"backbone": "vit_tiny_patch16_224", "region": "vit_tiny_patch16_224"},
]
TEST_SWITCHES = {
    "backbone": {"backbone": "vit_small_patch32_224"},
    "region": {"region": "resnet18"},
    "swapped_positions": {"swapped_positions": True},
    "region_drop_path": {"region_drop_path": 0.5},
}
AT_THE_START = ("swapped_positions",)  # arguments that change the first weights alone
PUBLISHED = (  # published state-dict key -> ours; the region encoder's are mmsegmentation's
    (r"^base_model\.", "backbone."),
    (r"^mask_encoder\.patch_embed\.projection\.", "region.patch_embed.proj."),
    (r"^mask_encoder\.layers\.(\d+)\.ln([12])\.", r"region.blocks.\1.norm\2."),
    (r"^mask_encoder\.layers\.(\d+)\.attn\.attn\.in_proj_", r"region.blocks.\1.attn.qkv."),
    (r"^mask_encoder\.layers\.(\d+)\.attn\.attn\.out_proj\.", r"region.blocks.\1.attn.proj."),
    (r"^mask_encoder\.layers\.(\d+)\.ffn\.layers\.0\.0\.", r"region.blocks.\1.mlp.fc1."),
    (r"^mask_encoder\.layers\.(\d+)\.ffn\.layers\.1\.", r"region.blocks.\1.mlp.fc2."),
    (r"^mask_encoder\.ln1\.", "region.norm."),
    (r"^mask_encoder\.", "region."),
    (r"^mask_projector\.", "project."),
    (r"^quality_regressor\.", "regress."),
)


def build(
    backbone: TransformerName = "vit_small_patch16_224.augreg_in21k_ft_in1k",
    region: Literal["sere_vit_small"] | TimmName = "sere_vit_small",
    pretrained: bool = True,
    swapped_positions: bool = False,
    region_drop_path: Chance = 0.0,
) -> nn.Module:
    """RA-MIQA; as published 43,851,649 parameters, of which 21,665,664 are frozen.

    `backbone`: a timm vision transformer with one class token. `region`: SERE's ViT-S/16, or any
    timm model that gives feature maps. `pretrained` takes weights for both, SERE's from its
    published file (FileNotFoundError telling where to put it). `swapped_positions` and
    `region_drop_path`, from 0 to below 1: slips of the published training, which matter to no
    finished weights.
    """
    return RAMIQA(backbone, region, pretrained, swapped_positions, region_drop_path)


class RAMIQA(nn.Module):
    """A crop and a wider view of one image, both in [0, 1] -> scores (b,), not bounded; for the
    machine that looks.
    """

    def __init__(
        self,
        backbone: str,
        region: str,
        pretrained: bool,
        swapped_positions: bool,
        region_drop_path: float,
    ):
        super().__init__()
        source = "github.com/SYSU-Video/MIQA: shorter side 288, centre crops of 224 and of 288"
        units = "MMOS, though nothing bounds them"
        self.contract = Contract(
            source,
            resize=CONTEXT,
            crop=VIEW,
            crops=1,
            context=CONTEXT,
            units=units,
            low=0.0,
            high=1.0,
        )
        self.region = _region(region, pretrained, region_drop_path)
        self.backbone = _base(backbone, pretrained)
        width, seen = self.backbone.embed_dim, self.region.feature_info[-1]["num_chs"]
        self.project = nn.Sequential(nn.Linear(seen, width), nn.LayerNorm(width), nn.GELU())
        places = self.backbone.pos_embed.detach()
        noise = 0.02 * torch.randn(1, 1, width)
        first = [places[:, :1], noise] if swapped_positions else [noise, places[:, :1]]
        self.pos_embed = nn.Parameter(torch.cat([*first, places[:, 1:]], dim=1))
        self.regress = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(0.2), nn.Linear(width, 1)
        )
        self.normalise, self.region_normalise = (
            Normalise(self.backbone.default_cfg),
            Normalise(self.region.default_cfg),
        )

    def train(self, mode: bool = True):
        super().train(mode)
        self.region.eval()
        for module in self.region.modules():
            if isinstance(module, timm.layers.DropPath):
                module.train(mode)
        return self

    def forward(self, view: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """(b, 3, 224, 224) and (b, 3, 288, 288), both in [0, 1] -> scores (b,)."""
        sides = tuple(view.shape[-2:]), tuple(context.shape[-2:])
        if sides != ((VIEW, VIEW), (CONTEXT, CONTEXT)):
            raise ValueError(
                f"RA-MIQA takes a view of 224 x 224 and a context of 288 x 288, not {sides[0]} and "
                f"{sides[1]}"
            )
        patches = self.backbone.patch_embed(self.normalise(view))
        first = self.project(self.summary(context))[:, None]
        tokens = (
            torch.cat([first, self.backbone.cls_token.expand(len(view), -1, -1), patches], dim=1)
            + self.pos_embed
        )
        tokens = self.backbone.norm(self.backbone.blocks(self.backbone.norm_pre(tokens)))
        with no_autocast(view):  # bfloat16 has 8 bits, too few for a score
            read = torch.cat([tokens[:, 1], tokens[:, 0]], dim=1).to(view.dtype)
            return self.regress(read)[:, 0]

    @torch.no_grad()
    def summary(self, context: torch.Tensor) -> torch.Tensor:
        """The wider view (b, 3, 288, 288) in [0, 1] -> the mean over all places of the region
        encoder's last map (b, c).
        """
        maps = self.region.forward_intermediates(
            self.region_normalise(context),
            indices=1,
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return maps[0].mean((2, 3))


class SereViT(VisionTransformer):
    """ViT-S/16 as mmsegmentation runs it: positions of a 14 x 14 grid, resampled bicubically
    without antialiasing.
    """

    def __init__(self, drop_path: float = 0.0):
        super().__init__(
            img_size=224,
            embed_dim=384,
            num_heads=6,
            num_classes=0,
            dynamic_img_size=True,
            drop_path_rate=drop_path,
        )
        self.default_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}

    def _pos_embed(self, patches):
        grid = self.pos_embed[:, 1:].unflatten(1, self.patch_embed.grid_size).permute(0, 3, 1, 2)
        grid = nn.functional.interpolate(
            grid, size=patches.shape[1:3], mode="bicubic", align_corners=False
        )
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        return torch.cat([first, (patches + grid.permute(0, 2, 3, 1)).flatten(1, 2)], dim=1)


def _base(name, pretrained):
    if not timm.is_model(name) or not timm.models.is_model_in_modules(
        name, ("vision_transformer", "deit")
    ):
        raise ValueError(
            f"backbone is {name!r}, no vision transformer of timm; one is 'vit_small_patch16_224'"
        )
    vit = timm_model(
        name, pretrained=pretrained, num_classes=0, img_size=VIEW, dynamic_img_size=False
    )
    if (
        vit.num_prefix_tokens != 1
        or vit.pos_embed is None
        or vit.pos_embed.shape[1] != vit.patch_embed.num_patches + 1
    ):
        raise ValueError(
            f"{name} does not start with one class token that has a position; "
            f"'vit_small_patch16_224' does"
        )
    return vit


def _region(name, pretrained, drop_path):
    if name == SERE:
        encoder = SereViT(drop_path)
        if pretrained:
            _load_sere(encoder)
        return encoder.requires_grad_(False)
    if not timm.is_model(name):
        raise ValueError(f"region is {name!r}; it is {SERE!r} or a model of timm")
    sized = {"img_size": CONTEXT} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    dropping = {"drop_path_rate": drop_path} if drop_path else {}
    encoder = timm_model(name, pretrained=pretrained, num_classes=0, **sized, **dropping)
    if not hasattr(encoder, "forward_intermediates"):
        raise ValueError(
            f"region is {name!r}, from which timm gives no feature maps; 'resnet50' is one that "
            f"does"
        )
    return encoder.requires_grad_(False)


def _load_sere(encoder):
    """SERE's weights by name; the final norm is its `fc_norm`, or for want of one the second norm
    of the last block.
    """
    path = published.local_file(SERE)
    state = published.read(path)
    last = f"blocks.{len(encoder.blocks) - 1}.norm2."
    for part in ("weight", "bias"):
        state[f"norm.{part}"] = state.get(f"fc_norm.{part}", state.get(last + part))
    wanted = encoder.state_dict()
    wrong = [
        key
        for key, value in wanted.items()
        if state.get(key) is None or state[key].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"{path} is not SERE's ViT-S/16: {len(wrong)} entries do not fit: "
            f"{', '.join(wrong[:5])}"
        )
    encoder.load_state_dict({key: state[key] for key in wanted})
    log.info("%s: weights from %s", SERE, path)
