"""The fixtures other tests stand on."""

from __future__ import annotations

import pika
import pytest
from sqlalchemy import create_engine, inspect

from local.rabbitmq import Node


def test_a_fresh_database_is_migrated_and_empty(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        assert {"alembic_version", "message", "delivery"} <= tables
        assert connection.exec_driver_sql("SELECT count(*) FROM delivery").scalar() == 0
    engine.dispose()


def test_a_virtual_host_takes_messages(amqp_url: str, rabbitmq: Node) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.queue_declare("mine", durable=True, arguments={"x-queue-type": "quorum"})
    channel.confirm_delivery()
    channel.basic_publish("", "mine", b"hello", mandatory=True)
    _, _, body = channel.basic_get("mine", auto_ack=True)
    connection.close()
    assert body == b"hello"


def test_tests_do_not_see_each_others_queues(amqp_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        connection.channel().queue_declare("mine", passive=True)
    connection.close()
