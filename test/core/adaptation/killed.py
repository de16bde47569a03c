"""Processes that keep snapshots, killed at random: `python -m test.core.adaptation.killed FOLDER KILLS`.

Each is a fork of this one, which has imported everything: so fifty of them take seconds. What a process says it has
kept has to be there after it was killed. Exits with an AssertionError where it is not.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from spike_depth_core.adaptation import Snapshots
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork

TINY = Architecture(sensors=("spikes",), widths=(8, 8, 8, 8, 8), trunk_blocks=1)
FIRST = CheckpointInfo(TINY, sha256="first")


def keep_on(folder: Path, network: DepthNetwork, told: int) -> None:
    """Keep snapshots, numbered by a bias, and say each number when it is done, until killed."""
    snapshots = Snapshots(folder, keep=3)
    number, info = last(snapshots)
    while True:
        number += 1
        with torch.no_grad():
            network.decoder.head.bias.fill_(float(number))
        info = snapshots.save(network, info, {"number": number})
        snapshots.serve(info.sha256)
        os.write(told, number.to_bytes(4, "little"))


def last(snapshots: Snapshots) -> tuple[int, CheckpointInfo]:
    """The newest snapshot's number and description."""
    found = snapshots.latest()
    return (0, FIRST) if found is None else (round(found[0].decoder.head.bias[0].item()), found[1])


def kill_one(folder: Path, network: DepthNetwork, chance: random.Random) -> None:
    """Fork, kill, and look at what is there."""
    hear, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            keep_on(folder, network, told)
        finally:
            os._exit(1)
    os.close(told)
    said = os.read(hear, 4)  # it is at work
    time.sleep(chance.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself: {status}"
    while more := os.read(hear, 4):
        said = more
    os.close(hear)
    done = int.from_bytes(said, "little")
    snapshots = Snapshots(folder, keep=3)
    number, info = last(snapshots)
    assert done <= number <= done + 1, f"{done} was kept, {number} is there"
    assert info.training["adaptation"]["number"] == number
    path = snapshots.find(snapshots.serving())
    assert path is not None, "what is in service is not there"
    assert round(load_checkpoint(path)[0].decoder.head.bias[0].item()) in (done, done + 1)


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)
    network = DepthNetwork(TINY)
    chance = random.Random(0)
    for _ in range(kills):
        kill_one(folder, network, chance)
    number, info = last(Snapshots(folder))
    Snapshots(folder, keep=3).save(network, info, {"number": number + 1})
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 7, f"three snapshots of two files, and what is in service: {names}"
    print(number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
