"""What a network is built of: each block's widths, parameters and multiply-accumulates, counted on
the network itself.

Which parts make a block stands here and not in the models' files: their code is in the key of every
training, and a diagram must not cost one.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

WHOLE = (384, 512)  # height and width by which a network of whole images is counted
BLOCKS = {  # class of networks: its blocks, and their parts; elsewhere each part is a block
    "LightHyperIQA": {
        "local": ("standardise", "project", "dropout"),
        "hyper": ("reduce", "weight", "bias"),
        "target": ("static",),
    },
}


def describe(model: nn.Module) -> dict:
    """The blocks of a network, for one image as its contract takes it.

    Returns a dict of plain values:

    backbone     timm's name of the pyramid; None for another network
    input        channels, height and width of the image
    parameters   of the whole network
    gmacs        of the whole: billions of multiply-accumulates of convolutions and matrix products
    blocks       a dict each: block (its name), parameters and gmacs, which add up to those of the
                 whole, and where they are known reads and gives (shapes of what goes in and comes
                 out, without the batch), widths (of its longest chain of layers), branches (what
                 each of its parallel layers gives), generated (how many numbers it writes for the
                 target network)

    A pyramid's stages are blocks: stage 1 to 4 at strides 4 to 32, stage 0 for a finer map. fusion
    stands where a part reads all stages at once; target is the network whose weights are generated.
    Other names are those of the network's parts; rest is what no part of it computes.
    """
    count = _Count(model)
    rows = _stages(count) + _parts(count)
    names = [row["block"] for row in rows]
    if "hyper" in names:
        hyper = rows[names.index("hyper")]
        rows[names.index("hyper") : names.index("hyper")] = _fusion(hyper, count)
        if "target" not in names:
            rows.append(_target(count))
    _add_rest(rows, count)
    for row in rows:
        row["gmacs"] = row.pop("macs") / 1e9
    body = getattr(_pyramid(model), "body", None)
    return {
        "backbone": body.default_cfg["architecture"] if body is not None else None,
        "input": list(count.images[0].shape[1:]),
        "parameters": _size(model),
        "gmacs": count.total / 1e9,
        "blocks": rows,
    }


# ---- one forward pass, watched


class _Count:
    """What every module of a network did in one forward pass: its multiply-accumulates, the shapes
    that it read and gave, how many numbers it gave, and after how many maps of the pyramid it ran.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.taps = _taps(model)
        self.images = [torch.zeros(1, 3, *size) for size in _sizes(model.contract)]
        state = dict(model.named_parameters()) | dict(model.named_buffers())
        # On torch's meta device there are shapes and no numbers: no time, no memory.
        try:
            self._run({name: value.to("meta") for name, value in state.items()}, "meta")
        except (RuntimeError, NotImplementedError):  # a network that looks at numbers
            self._run(state, next(model.parameters()).device)

    @torch.no_grad()
    def _run(self, state, device):
        self.macs, self.reads, self.gives, self.numbers, self.stage = {}, {}, {}, {}, {}
        self.at_tap = []
        modes = {module: module.training for module in self.model.modules()}
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # fused kernels are not counted
            counter = stack.enter_context(FlopCounterMode(display=False))
            for module in modes:
                self._watch(module, counter, stack)
            try:
                images = tuple(image.to(device) for image in self.images)
                functional_call(self.model.eval(), state, images)
            finally:
                for module, training in modes.items():
                    module.training = training
        self.total = counter.get_total_flops() // 2

    def _watch(self, module, counter, stack):
        started = []

        def begin(module, inputs):
            started.append(counter.get_total_flops() // 2)
            self.stage.setdefault(module, len(self.at_tap))
            self.reads[module] = next((shape for shape, _ in _tensors(inputs)), None)

        def end(module, inputs, outputs):
            now = counter.get_total_flops() // 2
            self.macs[module] = self.macs.get(module, 0) + now - started.pop()
            given = list(_tensors(outputs))
            self.gives[module] = [shape for shape, _ in given]
            self.numbers[module] = sum(number for _, number in given)
            if module in self.taps[len(self.at_tap) :]:
                self.at_tap.append(now)

        for handle in (module.register_forward_pre_hook(begin), module.register_forward_hook(end)):
            stack.callback(handle.remove)

    def macs_of(self, module: nn.Module) -> int:
        """Of a module, or of those inside it where it was not itself called, as a list of layers is
        not.
        """
        if module in self.macs:
            return self.macs[module]
        return sum(self.macs_of(part) for part in module.children())


def _sizes(contract):
    """Height and width of every image that the network takes."""
    size = (contract.crop, contract.crop) if contract.crop else WHOLE
    sizes = [size]
    if contract.reference:
        sizes.append(size)
    if contract.context:
        sizes.append((contract.context, contract.context))
    return sizes


def _tensors(values) -> Iterator[tuple[list[int], int]]:
    """Shape (without the batch) and size of every tensor in nested tuples and lists."""
    if isinstance(values, torch.Tensor):
        yield list(values.shape[1:]), values.numel()
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _size(module):
    return sum(parameter.numel() for parameter in module.parameters())


# ---- blocks


def _pyramid(model):
    """The backbone, where it gives maps."""
    backbone = getattr(model, "backbone", None)
    return backbone if hasattr(getattr(backbone, "body", None), "feature_info") else None


def _taps(model):
    """The modules whose outputs are a pyramid's maps."""
    pyramid = _pyramid(model)
    if pyramid is None:
        return []
    inside = dict(pyramid.body.named_modules())
    names = pyramid.body.feature_info.module_name()
    # timm flattens `layers.0` to `layers_0` where it cuts a network into its stages
    found = [inside.get(name, inside.get(name.replace(".", "_"))) for name in names]
    return [] if None in found else found


def _stages(count):
    """A row for each map of the pyramid, with all that runs between it and the one before."""
    pyramid = _pyramid(count.model)
    if not count.taps or len(count.at_tap) != len(count.taps):
        return []
    rows = []
    counted, before = set(), 0
    for place, channels in enumerate(pyramid.channels):
        stride = pyramid.body.feature_info.reduction()[place]
        side = count.images[0].shape[-1] // stride
        ran = [module for module in pyramid.modules() if count.stage.get(module) == place]
        own = [p for module in ran for p in module.parameters(recurse=False) if p not in counted]
        counted.update(own)
        row = {
            "block": f"stage {stride.bit_length() - 2}",
            "parameters": sum(parameter.numel() for parameter in own),
            "macs": count.at_tap[place] - before,
            "gives": [channels, side, side],
        }
        rows.append(row)
        before = count.at_tap[place]
    return rows


def _parts(count):
    """A row for each block behind the stages."""
    parts = dict(count.model.named_children())
    if _stages(count):
        del parts["backbone"]
    named = BLOCKS.get(type(count.model).__name__) or {name: (name,) for name in parts}
    return [_row(name, [parts[part] for part in of], count) for name, of in named.items()]


def _row(name, modules, count):
    row = {
        "block": name,
        "parameters": sum(map(_size, modules)),
        "macs": sum(map(count.macs_of, modules)),
    }
    first = modules[0]
    if first in count.reads:
        row["reads"] = count.reads[first]
    if len(modules) == 1 and len(count.gives.get(first, [])) == 1:
        row["gives"] = count.gives[first][0]
    if widths := max((_chain(module) for module in modules), key=len):
        row["widths"] = widths
    if name == "local":
        row["branches"] = _branches(modules)
    if name == "hyper":
        writers = modules if len(modules) == 1 else [one for m in modules[1:] for one in m]
        row["generated"] = sum(count.numbers[writer] for writer in writers)
    return row


def _chain(module):
    """The widths of the longest chain of layers, each of which reads what the one before gives, in
    a sequence or list of a module.
    """
    longest = []
    for inner in module.modules():
        if not isinstance(inner, nn.Sequential | nn.ModuleList):
            continue
        pairs = [_in_and_out(layer) for layer in inner]
        pairs = [pair for pair in pairs if pair is not None]
        if any(before[1] != after[0] for before, after in pairwise(pairs)):
            continue  # side by side
        widths = [inputs for inputs, _ in pairs] + [outputs for _, outputs in pairs[-1:]]
        longest = max(longest, widths, key=len)
    return longest


def _in_and_out(layer):
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return (layer.in_channels, layer.out_channels) if isinstance(layer, nn.Conv2d) else None


def _branches(modules):
    """What each linear layer of a block gives."""
    layers = [inner for module in modules for inner in module.modules()]
    return [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]


def _fusion(hyper, count):
    """The stages side by side, where the hyper-network reads them so: nothing to learn."""
    reads = hyper.get("reads") or []
    channels = _pyramid(count.model).channels
    if len(reads) != 3 or reads[0] != sum(channels):
        return []
    return [{"block": "fusion", "parameters": 0, "macs": 0, "gives": reads}]


def _target(count):
    """The network of generated weights: it has none of its own."""
    shapes = [shape for shape in count.gives[count.model.hyper] if len(shape) == 2]
    widths = [shapes[0][1], *(outputs for outputs, _ in shapes)]
    return {"block": "target", "parameters": 0, "macs": 0, "widths": widths}


def _add_rest(rows, count):
    """What no part computes is the target network's where there is one: its weights are no
    module's.
    """
    parameters = _size(count.model) - sum(row["parameters"] for row in rows)
    macs = count.total - sum(row["macs"] for row in rows)
    if rows and rows[-1]["block"] == "target" and not parameters:
        rows[-1]["macs"] += macs
    elif parameters or macs:
        rows.append({"block": "rest", "parameters": parameters, "macs": macs})
