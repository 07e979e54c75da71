"""A small network follows a larger one's maps, whatever their strides and scales."""

import pytest
import torch
from conftest import LIGHT, random_architecture
from short import short
from torch.nn import functional as F

import nni_count.commands.retrain as MODULE
from nni_count.cli import main
from nni_count.errors import Interrupted, ModelError, SettingError
from nni_count.model import Model, load_model, save_model
from nni_count.networks import create, initialise
from nni_count.tasks.classes import CountingClasses
from nni_count.tasks.counting import Counting
from nni_count.training.objective import Objective
from nni_count.training.teacher import Teacher, attention_loss

retrain = short(MODULE.retrain)
TINY = {"crop_size": 32, "batch_size": 2, "accelerator": "cpu"}


def made(name, task=None, **settings):
    torch.manual_seed(1)
    cells = random_architecture(0, LIGHT) if name == "amsnet" else None
    task = task or Counting()
    network = create(name, cells, out_channels=task.out_channels, **settings)
    initialise(network)
    return Model(network, name, cells, task)


@pytest.fixture
def file(tmp_path):
    save_model(made("csrnet"), tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


@pytest.mark.parametrize(
    ("teacher", "stride", "size"),
    [
        (("mcnn",), 1, 48),
        (("csrnet",), 4, 40),
        (("unet",), 8, 48),
        (("amsnet", Counting(density_scale=7, sigma=2), "map_stride", 2), 4, 48),
        (("mcnn", Counting(bins=(1, 2, 5))), 2, 48),
        (("can",), 8, 24),  # 32 is what neither divides
    ],
)
def test_maps_of_any_two_strides_are_compared_where_both_have_cells(teacher, stride, size):
    name, *more = teacher
    model = made(name, *more[:1], **dict(zip(more[1::2], more[2::2], strict=True)))
    follower, task = Teacher(model.network, model.task, 3.0), Counting()
    follower.check(task, stride, size)
    images = torch.randn(2, 3, size, size)
    taught = follower.maps(images, task)
    side = size // model.network.map_stride
    assert taught.shape == (2, 1, side, side)
    with torch.inference_mode():
        more = -size % model.network.multiple
        padded = F.pad(images, (0, more, 0, more), mode="replicate")
        read = model.task.read(model.network(padded)[..., :side, :side], model.network.map_stride)
        people = model.task.estimate(read, model.network.map_stride).sum((2, 3))
    torch.testing.assert_close(
        task.estimate(taught, model.network.map_stride).sum((2, 3)), people, rtol=1e-4, atol=1e-4
    )
    ratio = model.network.map_stride / stride
    same = taught.repeat_interleave(int(ratio), 2).repeat_interleave(int(ratio), 3) if ratio >= 1 else None
    maps = F.avg_pool2d(taught, int(1 / ratio)) if same is None else same
    assert follower.loss(maps, taught).item() == pytest.approx(0, abs=1e-8)
    further = (maps + 1).requires_grad_()
    follower.loss(further, taught).backward()
    assert follower.loss(further, taught).item() > 2.9
    assert (further.grad != 0).all()


@pytest.mark.parametrize("teacher", ["unet", "csrnet", "can"])
@pytest.mark.parametrize("student", ["amsnet", "ablation", "mcnn", "sanet", "tednet", "unet"])
def test_features_follow_where_both_have_them(student, teacher):
    """In padded images too: of 48 pixels the ablation and SANet take 48, the teachers 48."""
    model, net, task = made(teacher), made(student).network.train(), Counting()
    model.network.eval()
    follower, images = Teacher(model.network, model.task, 2.0), torch.randn(2, 3, 48, 48)
    target = torch.zeros(2, 1, 48 // net.map_stride, 48 // net.map_stride)
    objective = Objective(task, F.mse_loss, net.map_stride, teacher=follower)
    with follower.followed_by(net):
        loss = net.training_loss(images, target, objective.of(images), 0)
        assert follower.seen == follower.shown == []  # once each
        norms = net.state_dict()
    net.load_state_dict(norms)
    maps_alone = net.training_loss(images, target, objective.of(images), 0)
    assert 1e-3 < (loss - maps_alone).item() < 2 * maps_alone.item() + 2
    layer = net.last_layer()
    assert not layer._forward_pre_hooks
    assert not model.network.last_layer()._forward_pre_hooks
    given = []
    hook = layer.register_forward_pre_hook(lambda _, of: given.append(of[0]))
    net(images)
    hook.remove()
    assert layer(given[0]).shape == target.shape  # the map is read from what it is given


def test_attention_is_where_features_are_large():
    features = torch.zeros(2, 5, 8, 8)
    features[:, :, 2:4, 2:4] = torch.randn(2, 5, 1, 1)
    taught = torch.zeros(2, 3, 4, 4, requires_grad=True)
    with torch.no_grad():
        taught[:, :, 1, 1] = 7
    assert attention_loss(taught, 100 * features).item() == pytest.approx(0, abs=1e-6)
    elsewhere = torch.zeros(2, 3, 4, 4, requires_grad=True)
    with torch.no_grad():
        elsewhere[:, :, 3, 0] = 1
    assert attention_loss(elsewhere, features).item() == pytest.approx(2)
    (attention_loss(elsewhere + 0.1, features) + attention_loss(torch.zeros_like(taught), features)).backward()
    assert elsewhere.grad.isfinite().all()
    assert (elsewhere.grad[:, :, 1, 1] < 0).all()


@pytest.mark.parametrize("student", ["mcnn", "tednet", "switch_cnn"])
def test_every_map_of_a_student_follows_beside_the_truth(student):
    model, task = made("unet"), Counting()
    net, teacher = made(student).network, Teacher(model.network, model.task, 2.0)
    images, target = torch.randn(2, 3, 32, 32), torch.zeros(2, 1, 32 // net.map_stride, 32 // net.map_stride)
    plain, both = (Objective(task, F.mse_loss, net.map_stride, teacher=t) for t in (None, teacher))
    taught = teacher.maps(images, task)
    alone = net.training_loss(images, target, plain.of(images), 0)
    more = net.training_loss(images, target, both.of(images), 0)
    number = {"mcnn": 1, "tednet": 4, "switch_cnn": 3}[student]
    followed = more - alone
    assert followed.item() > 0
    maps = net.densities(images).unbind(1) if student == "switch_cnn" else net.maps(images)
    each = [teacher.loss(one, taught) for one in maps]
    assert len(each) == number
    torch.testing.assert_close(followed, torch.stack(each).sum(), rtol=1e-3, atol=1e-4)


def test_a_student_is_changed_by_its_teacher_and_goes_on_after_an_interruption(shanghaitech, file, tmp_path):
    before = load_model(file).network.state_dict()
    settings = {**TINY, "data": shanghaitech, "network": "mcnn", "max_steps": 6, "learning_rate": 1e-3, "seed": 1}
    settings |= {"teacher": file, "teacher_weight": 5.0}
    straight = retrain(out=tmp_path / "straight", **settings)
    assert straight.facts["teacher"] == load_model(file).parameters

    class Stop(MODULE.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "broken" / "checkpoints" / "last.ckpt")
                raise Interrupted("here")

    with pytest.raises(Interrupted):
        retrain(out=tmp_path / "broken", callbacks=[Stop()], **settings)
    state = torch.load(tmp_path / "broken" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not [name for name in state["state_dict"] if "front_end" in name]  # the teacher is no part of it
    resumed = retrain(out=tmp_path / "broken", resume=True, **settings)
    torch.testing.assert_close(resumed.network.state_dict(), straight.network.state_dict(), rtol=0, atol=1e-6)
    alone = retrain(out=tmp_path / "alone", **{**settings, "teacher": None})
    assert alone.facts["teacher"] is None
    images = torch.randn(2, 3, 32, 32)
    taught = (teacher := Teacher((model := load_model(file)).network, model.task, 1.0)).maps(images, Counting())
    near, far = (teacher.loss(one.network(images), taught).item() for one in (straight, alone))
    assert near != far
    torch.testing.assert_close(load_model(file).network.state_dict(), before, rtol=0, atol=0)


def test_a_teacher_that_cannot_be_followed_is_refused_before_the_first_step(shanghaitech, file, tmp_path, capsys):
    settings = {**TINY, "data": shanghaitech}
    for task, message in (
        (Counting(things="cells"), r"teacher: its task is Counting \(.*things cells.*\), that of the network Counting"),
        (CountingClasses(classes=("a",)), r"teacher: its task is CountingClasses \(.*; give one of the same"),
    ):
        save_model(made("mcnn", task), tmp_path / "other.safetensors")
        with pytest.raises(SettingError, match=message):
            retrain(out=tmp_path / "run", network="mcnn", teacher=tmp_path / "other.safetensors", **settings)
    with pytest.raises(SettingError, match=r"crop_size: 36; with this teacher, give a multiple of 8"):
        Teacher(load_model(file).network, Counting(), 1.0).check(Counting(), 4, 36)
    with pytest.raises(ModelError, match=r"lost\.safetensors"):
        retrain(out=tmp_path / "run", network="mcnn", teacher=tmp_path / "lost.safetensors", **settings)
    line = f"retrain --data {shanghaitech} --network mcnn --max_steps 1 --teacher {file} --out {tmp_path}/run"
    assert main([*line.split(), "--teacher_weight", "0"]) == 2
    assert "teacher_weight: 0; give a number above 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert CountingClasses(classes=("A", "b")).follows(CountingClasses(classes=("a", "B"), sigma=2.0))
    assert not CountingClasses(classes=("a", "b")).follows(CountingClasses(classes=("b", "a")))
