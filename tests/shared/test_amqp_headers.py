"""What a sender has put into the properties of a message holds up neither it nor those beside it."""

import asyncio
import struct
from typing import Any

import pika
import pika.data
import pytest

from shared import topology
from shared.amqp import Delivery, properties, walk_queue
from tests.shared.test_amqp import NORMAL, SEND, consuming, publisher, until_depth

__all__ = ["publisher"]


class Raw(bytes):
    """A value of a header as it goes over the wire, its type before it."""


def nested(kind: bytes, entry: bytes, levels: int) -> Raw:
    value = b"V"
    for _ in range(levels):
        value = kind + struct.pack(">I", len(entry) + len(value)) + entry + value
    return Raw(value)


ODD: dict[str, dict[str, Any]] = {
    "a time that no calendar has": {"headers": {"x": Raw(b"T" + struct.pack(">Q", 2**63))}},
    "the year 36812": {"headers": {"x": [Raw(b"T" + struct.pack(">Q", 2**40)), {"y": 1}]}},
    "tables in tables": {"headers": {"x": nested(b"F", b"\x01k", 3000)}},
    "lists in lists": {"headers": {"x": nested(b"A", b"", 5000)}},
    "a name that is no UTF-8": {"headers": {b"\xff\xfe": 1}},
    "a value that is no UTF-8": {"headers": {"x": Raw(b"S\x00\x00\x00\x02\xff\xfe")}},
    "a type that is no UTF-8": {"type": b"mail.\xff"},
    "an id that is no UTF-8": {"message_id": b"\xff\x00\x80"},
    "a key for one lane and a time": {"timestamp": 2**64 - 1, "priority": 255, "expiration": "600000"},
}


def put(amqp_url: str, body: bytes, monkeypatch: pytest.MonkeyPatch, **members: Any) -> None:
    usual = pika.data.encode_value

    def encode(pieces: list[bytes], value: object) -> int:
        if not isinstance(value, Raw):
            return int(usual(pieces, value))  # type: ignore[no-untyped-call, unused-ignore]
        pieces.append(bytes(value))
        return len(value)

    with monkeypatch.context() as patch, pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        patch.setattr(pika.data, "encode_value", encode)
        made = {"type": "t", "message_id": "odd", "delivery_mode": 2} | members
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(*SEND, body, pika.BasicProperties(**made))


@pytest.mark.parametrize("members", ODD.values(), ids=ODD)
async def test_odd_properties_are_read(
    publisher: Any, amqp_url: str, monkeypatch: pytest.MonkeyPatch, members: dict[str, Any]
) -> None:
    await asyncio.to_thread(put, amqp_url, b"odd", monkeypatch, **members)
    await publisher.publish(*SEND, b"good", properties("t", "good"))
    await until_depth(amqp_url, NORMAL, 2)
    (odd, good) = await asyncio.wait_for(walk_queue([amqp_url], NORMAL), 30)
    assert isinstance(odd.key, str)
    assert isinstance(odd.type, str)
    assert good.key == "good"

    got: asyncio.Queue[Delivery] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        delivery.nack(requeue=False) if delivery.body == b"odd" else delivery.ack()
        got.put_nowait(delivery)

    consumer = await consuming([amqp_url], take)
    found = [await asyncio.wait_for(got.get(), 30) for _ in range(2)]
    assert [each.body for each in found] == [b"odd", b"good"]
    assert not any(each.redelivered and each.headers.get("x-delivery-count", 0) > 1 for each in found)
    assert isinstance(found[0].properties.type, str)
    await consumer.close()
    await until_depth(amqp_url, topology.DEAD_QUEUE, 1)
    (dead,) = await asyncio.wait_for(walk_queue([amqp_url], topology.DEAD_QUEUE), 30)
    assert dead.died_of == "rejected"


def test_what_can_be_held_is_read_as_ever() -> None:
    pieces: list[bytes] = []
    table = {"a": {"b": [1, "c", None, {"d": 2**40}]}, "e": True}
    pika.data.encode_table(pieces, table)
    assert pika.data.decode_table(b"".join(pieces), 0)[0] == table
    for value in (float("nan"), float("inf")):
        raw = b"\x00\x00\x00\x0b\x01x" + b"d" + struct.pack(">d", value)
        assert pika.data.decode_table(raw, 0)[0] == {"x": None}
