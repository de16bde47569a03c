"""Packets: bits where the documentation says, no copies, and a reason for every fault."""

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_depth_core.spikes import PackedSpikes, check_packet, decode_packet, encode_packet
from spike_depth_core.spikes.packets import PACKET_ENCODINGS


@pytest.mark.parametrize("encoding", PACKET_ENCODINGS)
def test_each_bit_is_where_the_encoding_says(encoding):
    planes = np.random.default_rng(0).integers(0, 2, (3, 5, 13), dtype=np.uint8)
    data = encode_packet(PackedSpikes.from_planes(planes), encoding).tobytes()
    assert len(data) == 3 * 5 * 2
    for (t, row, column), value in np.ndenumerate(planes):
        stored = row if encoding == "packed_lsb" else 4 - row
        assert (data[(t * 5 + stored) * 2 + column // 8] >> column % 8) & 1 == value
    spikes = decode_packet(5, 13, 3, 40_000, encoding, data, start_ns=7)
    np.testing.assert_array_equal(spikes.planes(), planes)
    assert (spikes.period_ns, spikes.start_ns) == (40_000, 7)


def test_nothing_is_copied():
    data = array.array("B", bytes(2 * 3 * 2))
    for encoding in PACKET_ENCODINGS:
        spikes = decode_packet(3, 16, 2, 50_000, encoding, data)
        assert np.shares_memory(spikes.data, np.frombuffer(data, np.uint8))
        assert np.shares_memory(encode_packet(spikes, encoding), spikes.data)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"encoding": "png"}, "encoding"),
        ({"encoding": ""}, "encoding"),
        ({"height": 0}, "size"),
        ({"width": 2**32 - 1}, "size"),
        ({"count": 0}, "count"),
        ({"count": 2**32 - 1}, "count"),
        ({"period_ns": 0}, "period"),
        ({"length": 23}, "length"),
        ({"length": 25}, "length"),
        ({"length": 0}, "length"),
    ],
)
def test_faults_have_a_reason(changed, reason):
    good = dict(height=3, width=16, count=4, period_ns=50_000, encoding="packed_lsb", length=24)
    assert check_packet(**good) is None
    bad = good | changed
    fault = check_packet(**bad)
    assert fault is not None
    assert fault.reason == reason
    length = bad.pop("length")
    with pytest.raises(ValueError, match="bad spike packet"):
        decode_packet(**bad, data=bytes(length))


@given(
    st.integers(-(2**40), 2**40),
    st.integers(-(2**40), 2**40),
    st.integers(0, 2**32),
    st.integers(0, 2**32),
    st.sampled_from([*PACKET_ENCODINGS, "x" * 1000, "packed_lsb "]),
    st.integers(0, 2**40),
)
def test_no_field_makes_the_check_raise(height, width, count, period_ns, encoding, length):
    fault = check_packet(height, width, count, period_ns, encoding, length)
    if fault is None:
        assert length == count * height * -(-width // 8)
    else:
        assert len(fault.detail) < 200
