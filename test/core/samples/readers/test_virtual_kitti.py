"""Virtual KITTI 2 in its exact layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.virtual_kitti import SCENES, VirtualKitti

HEIGHT, WIDTH = 15, 50
INTRINSICS = "725.0087 725.0087 620.5 187"
TURN = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])  # the camera looks along -x of the world


def place(number: int, camera: int) -> np.ndarray:
    """4x4 world from camera: two metres a frame forward, the right camera 0.532725 m to the right."""
    matrix = np.eye(4)
    matrix[:3, :3] = TURN
    matrix[:3, 3] = TURN @ np.array([0.532725 * camera, 0.0, 2.0 * number]) + [10.0, 1.0, -3.0]
    return matrix


def write_scene(rgb: Path, depth: Path, text: Path, sequence: str, frames: int = 3) -> None:
    stored = np.full((HEIGHT, WIDTH), 1234, np.uint16)
    stored[:4] = 65535
    stored[7, 7] = 0
    for camera in (0, 1):
        for folder in (
            rgb / sequence / "frames/rgb" / f"Camera_{camera}",
            depth / sequence / "frames/depth" / f"Camera_{camera}",
        ):
            folder.mkdir(parents=True)
        for number in range(frames):
            image = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 40 * number + 100 * camera, np.uint8))
            image.save(rgb / sequence / "frames/rgb" / f"Camera_{camera}" / f"rgb_{number:05d}.jpg")
            Image.fromarray(stored).save(
                depth / sequence / "frames/depth" / f"Camera_{camera}" / f"depth_{number:05d}.png"
            )
    (text / sequence).mkdir(parents=True, exist_ok=True)
    intrinsic = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
    extrinsic = ["frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1"]
    for number in range(frames):
        for camera in (0, 1):
            intrinsic.append(f"{number} {camera} {INTRINSICS}")
            numbers = np.linalg.inv(place(number, camera)).ravel()
            extrinsic.append(f"{number} {camera} " + " ".join(f"{value:.9g}" for value in numbers))
    (text / sequence / "intrinsic.txt").write_text("\n".join(intrinsic) + "\n")
    (text / sequence / "extrinsic.txt").write_text("\n".join(extrinsic) + "\n")


@pytest.mark.parametrize("archives", [False, True])
def test_a_frame_is_read_whole(tmp_path, archives):
    trees = [tmp_path / f"vkitti_2.0.3_{kind}" if archives else tmp_path for kind in ("rgb", "depth", "textgt")]
    write_scene(*trees, "Scene18/clone")
    write_scene(*trees, "Scene18/fog")
    data = VirtualKitti(tmp_path, "test")
    assert data.frames == tuple(Frame("Scene18/clone", number) for number in range(3))
    sample = data[2]
    assert sample.images == ("rgb", "rgb_right")
    assert abs(int(sample.rgb[0, 0, 0]) - 80) < 3  # JPEG
    assert abs(int(sample.rgb_right[0, 0, 0]) - 180) < 3
    depth = sample.depth["rgb"]
    assert np.isposinf(depth[:4]).all()
    assert np.isnan(depth[7, 7])
    assert depth[8, 8] == np.float32(12.34)
    np.testing.assert_allclose(sample.world_from_reference, place(2, 0), atol=1e-7)
    np.testing.assert_allclose(sample.rig.reference_from("rgb_right")[:3, 3], [0.532725, 0, 0], atol=1e-7)
    camera = sample.rig.cameras["rgb"]
    assert (camera.fx, camera.cx, camera.cy) == (725.0087, 620.5, 187)
    step = np.linalg.inv(data[0].world_from_reference) @ data[1].world_from_reference
    np.testing.assert_allclose(step[:3, 3], [0, 0, 2], atol=1e-7)
    assert VirtualKitti(tmp_path, "test-fog")[0].meta["condition"] == "fog"


def test_scenes_of_a_split(tmp_path):
    trees = [tmp_path] * 3
    for scene in SCENES["train"][:3]:
        write_scene(*trees, f"{scene}/rain", frames=1)
    with pytest.raises(ValueError, match="split train-rain takes 4 folders, 1 are missing: Scene20/rain; `partial`"):
        VirtualKitti(tmp_path, "train-rain")
    assert len(VirtualKitti(tmp_path, "train-rain", partial=True)) == 3
    with pytest.raises(ValueError, match=r"has the splits train, test, train-15-deg-left, .*'train-snow'"):
        VirtualKitti(tmp_path, "train-snow")


def test_what_is_missing_or_broken_is_named(tmp_path):
    write_scene(*[tmp_path] * 3, "Scene18/clone")
    folder = tmp_path / "Scene18/clone"
    text = (folder / "extrinsic.txt").read_text()
    (folder / "extrinsic.txt").write_text(text.replace("\n1 0 ", "\n7 0 "))
    with pytest.raises(ValueError, match=r"extrinsic.txt has no line for frame 1 of camera 0"):
        VirtualKitti(tmp_path, "test")[1]
    (folder / "intrinsic.txt").write_text("heading\n0 0 725 725\n")
    with pytest.raises(ValueError, match=r"intrinsic.txt, line 2: expected 6 numbers, found 4"):
        VirtualKitti(tmp_path, "test")[0]
    (folder / "intrinsic.txt").write_text("heading\n0 0 a b c d\n")
    with pytest.raises(ValueError, match=r"intrinsic.txt, line 2: expected numbers"):
        VirtualKitti(tmp_path, "test")[0]
    for content, said in ((b"inf 0 1 1 1 1", "expected finite numbers"), (b"0 0 \xff 1 1 1", "expected numbers")):
        (folder / "intrinsic.txt").write_bytes(b"heading\n" + content)
        with pytest.raises(ValueError, match=rf"intrinsic.txt, line 2: {said}"):
            VirtualKitti(tmp_path, "test")[0]
    (folder / "frames/rgb/Camera_1/rgb_00002.jpg").unlink()
    write_scene(*[tmp_path / "other"] * 3, "Scene18/clone")
    (tmp_path / "other/Scene18/clone/intrinsic.txt").rename(folder / "intrinsic.txt")
    with pytest.raises(ValueError, match=r"no file .*Camera_1/rgb_00002.jpg"):
        VirtualKitti(tmp_path, "test")[2]
