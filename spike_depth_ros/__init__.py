"""ROS 2 nodes around `spike_depth_core`."""
