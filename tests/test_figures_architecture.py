"""The architecture of networks: counted on themselves, kept in model.json, drawn from it."""

import itertools
import json
import re

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch
from torch import nn

from iqa_core import architecture, figures
from iqa_core.figures.page import inches
from iqa_core.models import create_model, weights

LAYOUTS = ("boxes", "merged", "flow")
LITE = {"backbone": "tf_efficientnet_lite0"}
NETWORKS = {
    "smart": ("smart_iqa", {"size": "micro"}),
    "static": ("smart_iqa", LITE | {"gate": "static"}),
    "plain": ("smart_iqa", LITE | {"attention": False}),
    "single": ("smart_iqa", LITE | {"multiscale": False}),
    "hyper": ("hyperiqa", {"backbone": "resnet50"}),
    "light": ("hyperiqa", LITE | {"head": "light"}),
}
DRAWN = ("smart", "hyper")  # the others are these with less
COUNTED = {}  # name -> network, model.json


def counted(name):
    if name not in COUNTED:
        model, arguments = NETWORKS[name]
        network = create_model(model, **arguments, pretrained=False)
        facts = network.config | {"architecture": architecture.describe(network)}
        COUNTED[name] = network, json.loads(json.dumps(facts))
    return COUNTED[name]


@pytest.fixture(autouse=True)
def styled():
    figures.style()
    yield
    plt.close("all")


def blocks_of(facts):
    return {row["block"]: row for row in facts["architecture"]["blocks"]}


def size(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


# ---- counting


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_add_up_to_the_network(name):
    network, facts = counted(name)
    described = facts["architecture"]
    assert described["parameters"] == size(network)
    assert sum(row["parameters"] for row in described["blocks"]) == size(network)
    macs = sum(row["gmacs"] for row in described["blocks"])
    assert macs == pytest.approx(described["gmacs"], rel=1e-9)


def test_each_block_is_what_its_part_holds():
    network, facts = counted("smart")
    blocks = blocks_of(facts)
    body = network.backbone.body
    assert blocks["stage 1"]["parameters"] == size(body.patch_embed, body.layers_0)
    for number in (2, 3, 4):
        stage = getattr(body, f"layers_{number - 1}")
        assert blocks[f"stage {number}"]["parameters"] == size(stage)
    for part in ("local", "gate", "hyper"):
        assert blocks[part]["parameters"] == size(getattr(network, part))
    assert blocks["fusion"]["parameters"] == blocks["target"]["parameters"] == 0


def test_shapes_and_widths_are_those_of_a_forward_pass():
    network, facts = counted("smart")
    blocks = blocks_of(facts)
    with torch.no_grad():
        maps = network.eval().backbone(torch.rand(1, 3, 224, 224))
        pooled = [nn.functional.adaptive_avg_pool2d(stage, 7) for stage in maps]
        made, biases = network.hyper(network.fuse(pooled))
    for number, stage in enumerate(maps, 1):
        assert blocks[f"stage {number}"]["gives"] == list(stage.shape[1:])
    assert blocks["fusion"]["gives"] == [sum(stage.shape[1] for stage in maps), 7, 7]
    assert blocks["gate"]["widths"] == [maps[-1].shape[1], 256, 4]
    assert blocks["target"]["widths"] == [224, *(weight.shape[1] for weight in made)]
    assert blocks["hyper"]["generated"] == sum(tensor.numel() for tensor in made + biases)
    # a multiply-accumulate for each generated weight, none for a bias
    products = sum(weight.numel() for weight in made)
    assert blocks["target"]["gmacs"] * 1e9 == pytest.approx(products)


def test_counting_leaves_the_network_as_it_was():
    network = create_model("hyperiqa", **LITE, head="light", pretrained=False)
    network.train()
    network.backbone.eval()
    modes = [module.training for module in network.modules()]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    architecture.describe(network)
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_that_looks_at_numbers_is_counted_all_the_same():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 5)
            self.contract = create_model("hyperiqa", **LITE, pretrained=False).contract

        def forward(self, images):
            made = self.layer(images.mean((2, 3)))
            return made[:, 0] if made.sum().item() > 0 else made[:, 1]

    described = architecture.describe(Looks())
    assert described["gmacs"] == 15 / 1e9 and described["parameters"] == 20


def test_a_saved_model_says_what_it_is_built_of_and_an_older_one_still_loads(tmp_path):
    network, facts = counted("single")
    weights.save(network, tmp_path)
    written = json.loads((tmp_path / "model.json").read_text())
    assert written["architecture"] == facts["architecture"]
    del written["architecture"]
    (tmp_path / "model.json").write_text(json.dumps(written))
    assert size(weights.load(tmp_path)) == size(network)
    with pytest.raises(ValueError, match=r"earlier version.*weights\.save\(weights\.load"):
        figures.architecture(written)


# ---- drawing


def drawn(name, layout, width):
    with plt.rc_context({"figure.figsize": (inches(width), 2)}):
        figure, data = figures.architecture(counted(name)[1], layout=layout)
    figure.canvas.draw()
    return figure, data


def texts_of(figure):
    return figure.axes[0].texts


@pytest.mark.parametrize("width", ["column", "slide"])  # the page's type in more room
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", DRAWN)
def test_all_text_is_inside_apart_and_readable(name, layout, width):
    figure, _ = drawn(name, layout, width)
    assert figure.get_size_inches()[0] == pytest.approx(inches(width))
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
    for (one, box), (other, another) in itertools.combinations(boxes, 2):
        across = min(box.x1, another.x1) - max(box.x0, another.x0)
        along = min(box.y1, another.y1) - max(box.y0, another.y0)
        assert across < 1 or along < 1, f"{one!r} lies on {other!r}"
    assert min(text.get_fontsize() for text in texts_of(figure)) >= 7


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", DRAWN)
def test_generated_weights_go_along_a_dashed_red_arrow(name, layout):
    for width in ("column", "page"):
        figure, _ = drawn(name, layout, width)
        arrows = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
        red = [arrow for arrow in arrows if to_hex(arrow.get_edgecolor()) == "#f44336"]
        assert len(red) == 1 and red[0].get_linestyle() not in ("-", "solid")
        assert "Dynamic weights" in [text.get_text() for text in texts_of(figure)]


def printed(figure, pattern):
    """Numbers in front of a unit, times what its letter says."""
    words = " ".join(text.get_text() for text in texts_of(figure))
    scale = {"k": 1e3, "M": 1e6, "G": 1e9, "": 1}
    return [float(number) * scale[letter] for number, letter in re.findall(pattern, words)]


@pytest.mark.parametrize("layout", ["boxes", "merged"])
@pytest.mark.parametrize("name", DRAWN)
def test_printed_costs_are_those_of_the_network(name, layout):
    network, facts = counted(name)
    figure, data = drawn(name, layout, "page")
    described = facts["architecture"]
    stages = [row for row in described["blocks"] if row["block"].startswith("stage")]
    whole = {k: sum(row[k] for row in stages) for k in ("parameters", "gmacs")}
    shown = [row for row in described["blocks"] if row["block"] != "fusion"]
    parameters = printed(figure, r"([\d.]+) ?([kM]?) param\.")
    known = [row["parameters"] for row in [*shown, whole] if row["parameters"]]
    if name == "static":
        known.remove(4)  # said in other words: 4 learnt numbers
    assert sorted(parameters) == pytest.approx(sorted(known), rel=6e-3)
    macs = printed(figure, r"([\d.]+) ([MG])MACs")
    known = [1e9 * row["gmacs"] for row in [*shown, whole, described] if row["gmacs"]]
    assert sorted(macs) == pytest.approx(sorted(known), rel=6e-3)
    assert f"{size(network):,} parameters" in texts_of(figure)[0].get_text()
    rows = data.set_index("block")
    assert rows.parameters.drop("all").sum() == rows.parameters["all"] == size(network)
    assert list(rows.index[:-1]) == [row["block"] for row in described["blocks"]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_and_shapes_are_those_of_the_code(layout):
    facts = counted("smart")[1]
    figure, _ = drawn("smart", layout, "slide")
    words = " ".join(text.get_text() for text in texts_of(figure)).replace("\xa0", " ")
    blocks = blocks_of(facts)
    for block in ("stage 1", "stage 2", "stage 3", "stage 4", "fusion"):
        assert " × ".join(map(str, blocks[block]["gives"])) in words
    for block in ("gate", "target"):
        assert " → ".join(map(str, blocks[block]["widths"])) in words
    assert f"{blocks['hyper']['generated']:,} numbers" in words
    assert "the code has 5" in words and "w₄" in words


def test_what_a_network_lacks_is_not_drawn():
    figure, data = drawn("hyper", "boxes", "page")
    words = " ".join(text.get_text() for text in texts_of(figure))
    assert "AFA" not in words and "Stage weights" not in words and "ResNet-50" in words
    assert {"fusion", "gate"}.isdisjoint(data.block)


def test_the_svg_holds_text(tmp_path):
    for layout in LAYOUTS:
        figures.export(figures.architecture, counted("smart")[1], folder=tmp_path, layout=layout)
        assert ">Dynamic weights<" in (tmp_path / "architecture.svg").read_text()


def test_unknown_networks_and_layouts_are_refused_with_the_known_ones():
    facts = counted("smart")[1]
    with pytest.raises(ValueError, match="no layout 'tree'; there are boxes, merged, flow"):
        figures.architecture(facts, layout="tree")
    with pytest.raises(ValueError, match="musiq has no diagram; there is one of smart_iqa, hyper"):
        figures.architecture(facts | {"name": "musiq"})
