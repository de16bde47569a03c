"""`spike-depth simulate --bag`: a drive through the procedural street as a bag, with its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spike_depth_core.cli.console import console, progress_bar
from spike_depth_core.geometry import SensorRig


def record_simulation(
    path: Path,
    seed: int,
    duration_s: float,
    condition: str | None,
    rig: SensorRig | None,
    start_s: float,
    workers: int | None = None,
    **options: Any,
) -> None:
    """Render a drive and record it. The arguments are those of `DrivePlayer.prepare`."""
    from spike_depth_core.bags import BagWriter
    from spike_depth_core.bags.recording import drive_metadata, record_drive
    from spike_depth_core.samples import SENSORS
    from spike_depth_core.world import DrivePlayer, vehicle_rig

    if path.exists():  # said before the rendering, not after it
        raise ValueError(f"{path} exists already; choose another name, or remove it")
    cameras = (rig or vehicle_rig()).cameras
    sensors = [sensor for sensor in SENSORS if sensor in cameras and sensor != "spikes"]
    with progress_bar() as bar:
        task = bar.add_task("Rendering the street", total=None)
        player = DrivePlayer.prepare(
            seed,
            duration_s,
            condition,
            rig,
            sensors=sensors,
            start_s=start_s,
            workers=workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **options,
        )
        world = player.world
        about = {"seed": seed, "condition": world.condition, "layout": world.scene.layout, "duration_s": duration_s}
        poses = [player.pose(frame) for frame in range(player.frame_count)]
        task = bar.add_task("Recording", total=round(player.duration_s * 1e9))
        path.parent.mkdir(parents=True, exist_ok=True)
        with BagWriter(path, custom=drive_metadata(world.rig, about)) as bag:
            for done_ns in record_drive(player, world.rig, bag, poses=poses):
                bar.update(task, completed=done_ns)
    console.print(f"{path}: {player.duration_s:g} s of street {seed}, {world.condition}", highlight=False)
