"""rosbag2 bags read and written without ROS."""

from spike_depth_core.bags.messages import MessageError
from spike_depth_core.bags.reader import BagMessage, BagReader, DamagedMessages, Topic
from spike_depth_core.bags.storage import BagError, Damage
from spike_depth_core.bags.writer import BagWriter

__all__ = ["BagError", "BagMessage", "BagReader", "BagWriter", "Damage", "DamagedMessages", "MessageError", "Topic"]
