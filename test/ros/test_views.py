"""What RViz and Foxglove are set up to show is what the depth node publishes."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from spike_depth_ros.outputs import KINDS

CONFIG = Path(__file__).resolve().parents[2] / "config"
PUBLISHED = {topic.replace("~", "/depth_node", 1): kind.__name__ for topic, kind in KINDS.items()}
RVIZ_KINDS = {"rviz_default_plugins/Image": "Image", "rviz_default_plugins/PointCloud2": "PointCloud2"}


def test_rviz_shows_topics_of_their_kind():
    content = yaml.safe_load((CONFIG / "spike_depth.rviz").read_text())
    displays = content["Visualization Manager"]["Displays"]
    assert len(displays) >= 3
    for display in displays:
        topic = display["Topic"]
        # Relative: RViz is started in the namespace of the node that it shows.
        assert RVIZ_KINDS[display["Class"]] == PUBLISHED[f"/{topic['Value']}"]
        assert topic["Reliability Policy"] == "Best Effort"


def test_foxglove_shows_topics_that_are_published_in_panels_that_are_laid_out():
    content = json.loads((CONFIG / "foxglove_layout.json").read_text())
    panels = content["configById"]

    def laid_out(node) -> set[str]:
        return {node} if isinstance(node, str) else laid_out(node["first"]) | laid_out(node["second"])

    assert laid_out(content["layout"]) == set(panels)
    images = {panel["imageMode"]["imageTopic"] for panel in panels.values() if "imageMode" in panel}
    clouds = {topic for panel in panels.values() for topic in panel.get("topics", {})}
    assert len(images) >= 2
    assert {PUBLISHED[topic] for topic in images} == {"Image"}
    assert {PUBLISHED[topic] for topic in clouds} == {"PointCloud2"}
    assert [p["topicToRender"] for name, p in panels.items() if name.startswith("Diagnostic")] == ["/diagnostics"]
