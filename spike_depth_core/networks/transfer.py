"""A sensor's path through the network started from another sensor's."""

from __future__ import annotations

import torch

from spike_depth_core.networks.blocks import SensorNorm
from spike_depth_core.networks.depth_network import DepthNetwork


@torch.no_grad()
def start_sensor_from(network: DepthNetwork, sensor: str, learned: str) -> tuple[str, ...]:
    """Copy, in place, all that is one sensor's own in the network to another sensor, where name and shape fit.

    What is a sensor's own: its stem, and its normalisations in the shared encoder. All else is shared already. Of
    sensors with different numbers of channels everything fits but the first convolution, which stays as it is; of a
    stem of spiking neurons (`networks.spiking`) what it has in common with a plain one.

    Args:
        network: one that knows both sensors.
        sensor: the sensor that starts anew.
        learned: the sensor to start from.

    Returns:
        The names of the tensors of the stem that did not fit.
    """
    for name in (sensor, learned):
        if name not in network.architecture.sensors:
            raise ValueError(f"the network knows the sensors {network.architecture.sensors}, not {name!r}")
    for module in network.modules():
        if isinstance(module, SensorNorm):
            module.norms[sensor].load_state_dict(module.norms[learned].state_dict())
    theirs = network.encoder.stems[learned].state_dict()
    own = network.encoder.stems[sensor].state_dict()
    fitting = {key for key, value in own.items() if key in theirs and theirs[key].shape == value.shape}
    for key in fitting:
        own[key].copy_(theirs[key])
    return tuple(key for key in own if key not in fitting)
