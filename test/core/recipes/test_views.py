"""One draw for all that belongs to a sample: sensors, truth, intrinsics and poses stay one scene under a mirror."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.recipes.views import mirrored, mirrored_motion


def test_all_images_of_a_sample_are_mirrored_together():
    width = 12
    columns = torch.arange(width, dtype=torch.float32).expand(64, 1, 6, width)
    images = {"rgb": columns, "spikes": columns + 100, "rgb_right": columns + 200}
    camera = torch.tensor([[10.0, 10.0, 4.0, 3.0]]).repeat(64, 1)
    places = {"rgb": torch.tensor([[0.0, 0.0, 0.0]]), "rgb_right": torch.tensor([[0.5, -0.1, 0.2]])}
    inputs, truth = mirrored(
        NetworkInput(dict(images), camera, torch.ones(64), places), columns[:, 0], torch.Generator().manual_seed(1)
    )
    flipped = inputs.camera[:, 2] != 4.0
    assert 10 < flipped.sum() < 54
    assert (inputs.camera[flipped, 2] == width - 1 - 4.0).all()
    for name, image in images.items():
        expected = torch.where(flipped[:, None, None, None], image.flip(-1), image)
        assert torch.equal(inputs.images[name], expected), name
    assert torch.equal(truth, torch.where(flipped[:, None, None], columns[:, 0].flip(-1), columns[:, 0]))
    sides = torch.where(flipped, -1.0, 1.0)
    for name, place in places.items():  # what is to the right of the reference is then to its left
        assert torch.equal(inputs.centres[name][:, 0], sides * place[:, 0]), name
        assert torch.equal(inputs.centres[name][:, 1:], place[:, 1:].expand(64, 2)), name


def test_a_mirrored_motion_moves_the_mirrored_scene():
    rng = np.random.default_rng(4)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [0.1, -0.4, 0.2]).as_matrix()
    motion[:3, 3] = [0.3, -0.1, 1.2]
    points = np.column_stack([rng.uniform(-5, 5, (20, 3)), np.ones(20)])
    motions = torch.from_numpy(motion).expand(2, 4, 4)
    kept, changed = mirrored_motion(motions, torch.tensor([False, True])).numpy()
    np.testing.assert_allclose(kept, motion)
    mirror = np.array([-1.0, 1.0, 1.0, 1.0])
    # Mirroring where the points come to is the same as moving the mirrored points.
    np.testing.assert_allclose((points * mirror) @ changed.T, (points @ motion.T) * mirror, atol=1e-12)
    assert np.linalg.det(changed[:3, :3]) > 0.999999  # still a rotation, no mirror
