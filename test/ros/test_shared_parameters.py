"""What is handed over from the depth node's parameter file is what that node itself reads there."""

from __future__ import annotations

import pytest
import rclpy
import yaml
from rclpy.node import Node

from spike_depth_ros.adaptation_parameters import ADAPTATION_NODE
from spike_depth_ros.depth_parameters import DEPTH_NODE
from spike_depth_ros.parameters import nested
from spike_depth_ros.shared_parameters import handed_over

SOME = {"rig": "/a.yaml", "sensors": ["spikes", "rgb"], "rgb": {"offset": -0.02}, "thermal.compressed": True}
OF_EVERY_NODE = {"use_sim_time", "start_type_description_service"}
INFO = "/front/rgb/camera_info"


def entry(**values):
    return {"ros__parameters": values}


@pytest.mark.parametrize(
    "content",
    [
        {"/**": entry(**SOME)},
        {"/front/depth_node": entry(**SOME)},
        {"front/depth_node": entry(**SOME)},
        {"front": {"depth_node": entry(**SOME)}},
        {"/**": {"depth_node": entry(**SOME)}},
        {"/*/depth_node": entry(**SOME)},
        {"/*": entry(**SOME)},
        {"depth_node": entry(**SOME)},
        {"/rear/depth_node": entry(**SOME), "/front/other": entry(rig="/b.yaml")},
        {"/**": entry(**SOME), "/front/depth_node": entry(rig="/b.yaml", jump=0.2)},
        {"/front/depth_node": entry(rig="/b.yaml", jump=0.2), "/**": entry(**SOME)},
        {"/**": entry(qos_overrides={INFO: {"subscription": {"durability": "transient_local"}}})},
    ],
)
def test_it_is_what_the_node_reads(tmp_path, content):
    path = tmp_path / "depth.yaml"
    path.write_text(yaml.dump(content, sort_keys=False))
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node(
        "depth_node",
        namespace="front",
        context=context,
        cli_args=["--ros-args", "--params-file", str(path)],
        automatically_declare_parameters_from_overrides=True,
    )
    read = {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()}
    node.destroy_node()
    rclpy.shutdown(context=context)
    assert handed_over(path, "/front/depth_node") == {n: v for n, v in read.items() if n not in OF_EVERY_NODE}


def test_of_what_both_have_only_what_each_has_for_itself_is_left_out(tmp_path):
    path = tmp_path / "depth.yaml"
    path.write_text(yaml.dump({"/**": entry(**nested(DEPTH_NODE))}))
    both = {parameter.name for parameter in DEPTH_NODE} & {parameter.name for parameter in ADAPTATION_NODE}
    assert both - handed_over(path, "/depth_node").keys() == {"device", "threads", "max_uncertainty", "parallax"}
    assert handed_over(path, "/depth_node").keys() <= both


def test_an_empty_file_has_nothing(tmp_path):
    (tmp_path / "depth.yaml").write_text("# as it was\n")
    assert handed_over(tmp_path / "depth.yaml", "/depth_node") == {}
