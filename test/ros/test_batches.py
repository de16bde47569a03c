"""Messages that are taken several at a time, over real DDS."""

from __future__ import annotations

import functools
import itertools

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import UInt32

from spike_depth_ros.batches import Batches, waiting
from test.ros.harness import Observer

DEEP = QoSProfile(depth=1000)
NEVER_S = 3600.0


def send(observer, publisher, count):
    observer.wait(lambda: publisher.get_subscription_count() == 2, "both subscriptions")
    for number in range(count):
        publisher.publish(UInt32(data=number))


def test_what_has_gathered_is_taken_whole_and_in_order(graph):
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    batches, gathered, single = Batches(node, 0.02), [], []
    node.create_subscription(UInt32, "/numbers", lambda m: gathered.append(m.data), DEEP, callback_group=batches.group)
    node.create_subscription(UInt32, "/numbers", lambda m: single.append(m.data), DEEP)
    count = 200
    send(observer, observer.create_publisher(UInt32, "/numbers", DEEP), count)
    observer.wait(lambda: len(single) == len(gathered) == count, "all of both")
    assert gathered == single == list(range(count))


def test_messages_that_gather_do_not_keep_the_executor_busy(graph, monkeypatch):
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    batches, gathered, single = Batches(node, NEVER_S), [], []
    node.create_subscription(UInt32, "/numbers", gathered.append, DEEP, callback_group=batches.group)
    node.create_subscription(UInt32, "/numbers", single.append, DEEP)
    send(observer, observer.create_publisher(UInt32, "/numbers", DEEP), 20)
    observer.wait(lambda: len(single) == 20, "the messages")
    turns, asked = [], graph.executor.get_nodes  # each turn asks for the nodes that it is to wait for

    def counted():
        turns.append(None)
        return asked()

    monkeypatch.setattr(graph.executor, "get_nodes", counted)
    ticks = []
    node.create_timer(0.02, lambda: ticks.append(None))
    observer.wait(lambda: len(ticks) >= 5, "some ticks of a timer")
    assert gathered == []
    assert len(turns) < 100  # a tick takes three; one that is woken by what it leaves alone takes thousands


def test_who_has_a_message_takes_those_behind_it(graph):
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    batches, taken = Batches(node, NEVER_S), []
    subscription = node.create_subscription(UInt32, "/numbers", taken.append, DEEP, callback_group=batches.group)
    single = []
    node.create_subscription(UInt32, "/numbers", single.append, DEEP)
    send(observer, observer.create_publisher(UInt32, "/numbers", DEEP), 10)
    observer.wait(lambda: len(single) == 10, "the messages")
    assert [message.data for message in itertools.islice(waiting(subscription), 4)] == [0, 1, 2, 3]
    assert [message.data for message in waiting(subscription)] == [4, 5, 6, 7, 8, 9]
    assert list(waiting(subscription)) == []


def test_nothing_is_taken_after_the_end(graph):
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    batches, gathered, single = Batches(node, 0.01), [], []
    node.create_subscription(UInt32, "/numbers", gathered.append, DEEP, callback_group=batches.group)
    node.create_subscription(UInt32, "/numbers", single.append, DEEP)
    batches.close()
    send(observer, observer.create_publisher(UInt32, "/numbers", DEEP), 5)
    ticks = []
    observer.wait(lambda: len(single) == 5, "the messages")
    node.create_timer(0.02, lambda: ticks.append(None))
    observer.wait(lambda: len(ticks) >= 3, "some ticks of a timer")
    assert gathered == []


def test_of_two_topics_the_one_subscribed_to_last_is_taken_first(graph):
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    batches, taken, single = Batches(node, NEVER_S), [], []
    for name in ("pictures", "intrinsics"):
        take = functools.partial(lambda name, _: taken.append(name), name)
        node.create_subscription(UInt32, f"/{name}", take, DEEP, callback_group=batches.group)
        node.create_subscription(UInt32, f"/{name}", single.append, DEEP)
    for name in ("pictures", "intrinsics"):
        send(observer, observer.create_publisher(UInt32, f"/{name}", DEEP), 2)
    observer.wait(lambda: len(single) == 4, "the messages")
    later = Batches(node, 0.01)
    later.group = batches.group
    observer.wait(lambda: len(taken) == 4, "the batch")
    assert taken == ["intrinsics", "intrinsics", "pictures", "pictures"]
