"""What each kind of teacher does when its student moves."""

import pytest
import torch

from spike_depth_core.recipes.teaching import MODES, Teaching


def student():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@pytest.mark.parametrize("mode", MODES)
def test_who_learns_and_who_follows(mode):
    teaching, network = Teaching(mode, decay=0.9), student()
    teacher = teaching.teacher(network, learned=True)
    assert all(p.requires_grad == (mode in ("online", "mutual")) for p in teacher.parameters())
    assert all(p.requires_grad for p in network.parameters())
    before = teacher[0].weight.detach().clone()
    with torch.no_grad():
        network[0].weight.add_(1.0)
        network[1].running_mean.fill_(7.0)
    teaching.follow(teacher, network)
    moved = 0.1 if mode == "ema" else 0.0
    torch.testing.assert_close(teacher[0].weight.detach(), before + moved)
    assert (teacher[1].running_mean == (7.0 if mode == "ema" else 0.0)).all()


def test_only_mutual_teachers_are_drawn_to_their_student():
    there, back = torch.tensor(2.0), torch.tensor(3.0)
    assert {mode: float(Teaching(mode).pulls(there, back)) for mode in MODES} == {
        "frozen": 2.0,
        "ema": 2.0,
        "online": 2.0,
        "mutual": 5.0,
    }
    with pytest.raises(ValueError, match="'distant'"):
        Teaching("distant")


@pytest.mark.parametrize("mode", MODES)
def test_who_only_teaches_must_have_learned(mode):
    if Teaching(mode).learns:
        Teaching(mode).teacher(student(), learned=False)
    else:
        with pytest.raises(ValueError, match=f"'{mode}' begins as a copy of a network that has learned"):
            Teaching(mode).teacher(student(), learned=False)
