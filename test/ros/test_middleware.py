import xml.etree.ElementTree as ElementTree

from spike_depth_core.resources import config_path
from spike_depth_ros.middleware import PROFILE, PROFILE_VARIABLES, load_profile


def test_the_profile_is_named_for_fast_dds_2_and_3():
    environment = {}
    said = load_profile(environment)
    path = str(config_path(PROFILE))
    assert environment == dict.fromkeys(PROFILE_VARIABLES, path)
    assert path in said


def test_a_middleware_that_is_named_by_nothing_is_the_default():
    environment = {"RMW_IMPLEMENTATION": ""}  # as an unset variable of a compose file
    load_profile(environment)
    assert set(PROFILE_VARIABLES) < set(environment)


def test_a_profile_of_the_user_is_left_alone():
    for variable in PROFILE_VARIABLES:
        environment = {variable: "/mine.xml"}
        assert "/mine.xml" in load_profile(environment)
        assert environment == {variable: "/mine.xml"}


def test_another_middleware_is_left_alone():
    environment = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    assert "rmw_cyclonedds_cpp" in load_profile(environment)
    assert PROFILE_VARIABLES[0] not in environment


def test_the_profile_holds_a_second_of_packets():
    """What was measured to lose nothing: 128 MiB of shared memory, messages of 8 MiB, 1024 in a queue, and UDP."""
    space = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(config_path(PROFILE)).getroot()
    transports = root.findall(".//dds:transport_descriptor", space)
    values = {
        child.tag.rpartition("}")[2]: child.text
        for child in next(t for t in transports if t.findtext("dds:type", namespaces=space) == "SHM")
    }
    assert int(values["segment_size"]) == 128 << 20
    assert int(values["maxMessageSize"]) == 8 << 20
    assert int(values["port_queue_capacity"]) == 1024
    assert {t.findtext("dds:type", namespaces=space) for t in transports} == {"SHM", "UDPv4"}
    participant = root.find(".//dds:participant", space)
    assert participant.get("is_default_profile") == "true"
    used = {t.text for t in participant.findall(".//dds:userTransports/dds:transport_id", space)}
    assert used == {t.findtext("dds:transport_id", namespaces=space) for t in transports}
