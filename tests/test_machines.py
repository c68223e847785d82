"""Vision models: real ones on real photographs, answers in files, and a pickle that is never
executed.
"""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from conftest import REPOSITORY
from test_detections import found, with_masks

from iqa_core.machines import Machine, classifiers, open_machine
from iqa_core.machines.classifiers import read_arrays
from iqa_core.machines.detectors import machine_of
from iqa_core.machines.responses import file_of, read_answers, state_of, write_answers
from iqa_core.pixels import read_image

CLASSES = torchvision.models._meta._IMAGENET_CATEGORIES
SEEN = {"coffee": "espresso", "roebling": "suspension bridge", "daisies": "daisy", "bee": "bee"}
PACKAGED = ["timm:tf_efficientnet_lite1", "timm:tf_efficientnet_lite2", "ndf:squeezenet"]


@pytest.mark.parametrize("name", PACKAGED)
def test_weights_of_packages_know_what_is_in_photographs(name):
    """Wrong channel order, mean, crop or a layer out of place loses these."""
    machine = open_machine(name, views=("centre", "whole"))
    images = [read_image(REPOSITORY / f"data/demo/{photo}.png") for photo in SEEN]
    answers = machine.respond(images)
    assert [answer.shape for answer in answers] == [(2, 1000)] * 4
    assert [CLASSES[answer[0].argmax()] for answer in answers] == list(SEEN.values())
    assert all(answer.sum(1) == pytest.approx([1, 1], abs=1e-5) for answer in answers)
    half = open_machine(name, views=("centre",), precision="bf16")
    assert half.identity != machine.identity, "another way to look is another machine"
    assert np.abs(half.respond(images[:1])[0][0] - answers[0][0]).max() < 0.05


def test_a_packaged_classifier_is_timms(monkeypatch):
    """The same picture by timm's own transform: another resampling moves probabilities a little."""
    from PIL import Image

    from iqa_core.models.pyramid import timm_model

    name = "tf_efficientnet_lite1"
    network = timm_model(name, pretrained=True).eval()
    facts = timm.data.resolve_model_data_config(network)
    picture = Image.open(REPOSITORY / "data/demo/coffee.png").convert("RGB")
    with torch.inference_mode():
        logits = network(timm.data.create_transform(**facts)(picture)[None])
    theirs = logits.softmax(1)[0].numpy()
    ours = open_machine(f"timm:{name}").respond([np.asarray(picture)])[0][0]
    assert np.sqrt(theirs * ours).sum() > 0.98


@pytest.fixture
def untaught(monkeypatch):
    """Networks of timm without weights from anywhere, their batch norms as if they had some."""

    def build(name, *, pretrained):
        torch.manual_seed(0)
        network = timm.create_model(name)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
        return network

    monkeypatch.setattr(classifiers, "timm_model", build)
    return build


@pytest.mark.parametrize("name", ["resnet18", "resnetv2_50", "vit_tiny_patch16_384"])
def test_a_classifier_answers_as_its_network_does(name, untaught):
    """Batch norms before their convolutions cannot be folded, and no try may change the weights;
    a transformer takes one size.
    """
    picture = read_image(REPOSITORY / "data/demo/bee.png")
    network = untaught(name, pretrained=True).eval()
    facts = timm.data.resolve_model_data_config(network)
    seen = classifiers.Timm(network).view(picture, "centre")
    mean, std = (torch.tensor(facts[key]).view(3, 1, 1) for key in ("mean", "std"))
    values = (torch.from_numpy(seen.copy()).permute(2, 0, 1) / 255 - mean) / std
    with torch.inference_mode():
        expected = untaught(name, pretrained=True).eval()(values[None]).softmax(1)[0]
    answer = open_machine(f"timm:{name}").respond([picture])[0][0]
    assert np.abs(answer - expected.numpy()).max() < 1e-4


@pytest.mark.parametrize("name", ["vit_small_patch16_224.dino", "convnext_tiny.in12k"])
def test_a_network_of_other_classes_is_no_member_of_a_panel(name, monkeypatch):
    def build(name, *, pretrained):
        return timm.create_model(name, pretrained=False)

    monkeypatch.setattr(classifiers, "timm_model", build)
    with pytest.raises(ValueError, match="names none of ImageNet's 1000 classes but has"):
        open_machine(f"timm:{name}")


def test_a_pickle_is_read_and_not_executed(tmp_path):
    arrays = {"one": [np.arange(6, dtype="f4").reshape(1, 2, 3), np.ones(3, "f4")], "two": []}
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=3))
    read = read_arrays(path)
    assert [each.tolist() for each in read["one"]] == [each.tolist() for each in arrays["one"]]
    assert read["two"] == []

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    path.write_bytes(pickle.dumps({"one": Trap()}, protocol=3))
    read_arrays(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "task", "error", "message"),
    [
        ("resnet50", "cls", KeyError, "no vision model 'resnet50'. Write timm:resnet50"),
        ("tim:resnet50", "cls", KeyError, "did you mean 'timm'"),
        ("timm:resnet5", "cls", KeyError, "timm has no model 'resnet5'; did you mean 'resnet50'"),
        ("timm:resnet50", "det", ValueError, "for detection write torchvision:<name>"),
        ("timm:resnet50", "seg", ValueError, "task is 'seg'; there are cls, det, ins"),
        ("ndf:alexnet", "cls", KeyError, "the package has ndf:squeezenet"),
        ("torchvision:maskrcn", "ins", KeyError, "torchvision has no detector 'maskrcn'"),
        ("torchvision:retinanet_resnet50_fpn", "ins", ValueError, "for ins there are maskrcnn_"),
        ("callable:nowhere:f", "cls", KeyError, "no module 'nowhere'; run from its folder"),
        ("callable:json:parse", "cls", KeyError, "module json has no parse"),
    ],
)
def test_names_that_are_none(name, task, error, message):
    with pytest.raises(error, match=message):
        open_machine(name, task=task)


def test_without_learnt_weights_nobody_answers(monkeypatch, tmp_path):
    """A detector that starts at random would write labels of noise."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="fasterrcnn_resnet50_fpn are neither in the local"):
        open_machine("torchvision:fasterrcnn_resnet50_fpn", task="det")


def test_a_detector_of_torchvision_answers_in_pixels_of_the_image():
    torch.manual_seed(0)
    network = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, box_score_thresh=0.0, box_detections_per_img=5,
        min_size=96, max_size=128,
    )  # fmt: skip
    machine = machine_of(network, "tiny", "ins")
    images = [np.full((60, 80, 3), 90, np.uint8), np.full((50, 40, 3), 200, np.uint8)]
    answers = machine.respond(images)
    assert [answer.size for answer in answers] == [(60, 80), (50, 40)]
    for answer, image in zip(answers, images, strict=True):
        assert len(answer) == len(answer.masks) > 0
        assert (answer.boxes[:, [1, 3]] <= image.shape[0]).all()
        assert [mask["size"] for mask in answer.masks] == [list(image.shape[:2])] * len(answer)


def answers_of(task):
    if task == "cls":
        return list(np.random.default_rng(0).dirichlet(np.ones(5), (3, 2)))
    boxes = [[1, 2, 30, 40], [5, 5, 9, 9]]
    some = [found(boxes, [1, 7], [0.9, 0.1]), found([], []), found(boxes[:1], [3], [0.5])]
    return [with_masks(each) for each in some] if task == "ins" else some


@pytest.mark.parametrize("task", ["cls", "det", "ins"])
def test_answers_come_back_from_their_file(task, tmp_path):
    machine = Machine("m", task, list, identity="x")
    path = tmp_path / "answers.npz"
    write_answers(path, machine, answers_of(task))
    back = read_answers(path, task)
    if task == "cls":
        assert np.abs(np.array(back) - np.array(answers_of(task))).max() < 1e-3
        return
    for one, other in zip(back, answers_of(task), strict=True):
        for name in ("boxes", "classes", "scores"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
        assert (one.size, one.masks) == (other.size, other.masks)


def test_a_damaged_file_names_itself(tmp_path):
    path = tmp_path / "answers.npz"
    path.write_bytes(b"PK\x03\x04 half")
    with pytest.raises(ValueError, match="answers.npz is damaged .* remove it"):
        read_answers(path, "cls")


@pytest.mark.parametrize(
    ("task", "answers", "message"),
    [
        ("cls", [np.array([0.5, 0.9])], "answers with rows of sum 1.4 to 1.4"),
        ("cls", [np.array([1.5, -0.5])], "probabilities of classes are wanted"),
        ("det", [np.array([0.5, 0.5])], "answers with ndarray; detections.Found is wanted"),
        ("ins", [found([[0, 0, 1, 1]], [1])], "finds objects without masks"),
    ],
)
def test_answers_that_are_none(task, answers, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_answers(tmp_path / "a.npz", Machine("m", task, list), answers)


def test_answers_are_kept_under_what_they_depend_on(tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(b"1")
    machine = Machine("timm:a/b", "cls", list, ("centre",), "weights")
    state = state_of([image])
    first = file_of(tmp_path, machine, "walk/1", state)
    assert first.relative_to(tmp_path).parts[0] == "timm_a_b"
    assert file_of(tmp_path, machine, "walk/1", state_of([image])) == first
    assert file_of(tmp_path, machine, "walk_1", state) != first, "whose names look alike"
    other = Machine("timm:a/b", "cls", list, ("centre",), "other weights")
    assert file_of(tmp_path, other, "walk/1", state) != first
    image.write_bytes(b"12")
    assert file_of(tmp_path, machine, "walk/1", state_of([image])) != first


def test_a_list_of_classes_is_imagenets():
    """1,000 classes, in the order that torchvision and timm share."""
    assert (len(CLASSES), CLASSES[967], CLASSES[839]) == (1000, "espresso", "suspension bridge")
    assert json.dumps(CLASSES)
