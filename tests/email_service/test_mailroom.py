"""The mail room whole: a real broker, a real ledger, a server that misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from email_service.ledger import Ledger
from email_service.report import Reporter
from shared import topology
from shared.amqp import Consumer, Delivery, Publisher
from shared.contracts import Attachment, Heartbeat, Mailbox, decode, encode
from shared.fields import NOT_SHOWN
from shared.lanes import Lane
from tests.support.mailroom import Rig, command, settings, starting
from tests.support.smtp_server import TAKEN_THEN_CLOSE, Answer, SmtpServer
from tests.support.waiting import eventually


@pytest.fixture
async def work(rig: Rig, server: SmtpServer, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts a worker against rig and server; stopped at the end."""
    async with starting(rig, server.port, tmp_path) as start:
        yield start


async def test_accepted(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    cmd = command(subject="Hej {{ name }}", fields={"name": "Ida"})
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "accepted")
    assert server.mails_to("ida@example.com")[0].subject_line == "Subject: Hej Ida"
    assert (outcome.attempt, outcome.generation, outcome.worker, outcome.lane) == (1, 0, "north/1", Lane.normal)
    assert (outcome.code, outcome.queue_id) == (250, server.mails[0].id)
    assert outcome.received_at <= outcome.started_at <= outcome.finished_at
    assert outcome.next_at is None
    assert any("RCPT TO" in line.text for line in outcome.talk)
    await rig.until_empty()
    assert await rig.depth(topology.DEAD_QUEUE) == 0


@pytest.mark.parametrize("pipelining", [False, True], ids=["in turn", "pipelined"])
@pytest.mark.parametrize("text", ["421 4.7.0 Too many messages in this session", "451 4.3.0 Restarting"])
async def test_a_worn_connection_costs_no_attempt_and_no_connections(
    rig: Rig, server: SmtpServer, work, pipelining: bool, text: str
) -> None:
    if pipelining:
        server.extensions += ("PIPELINING",)
    worker = await work()
    first, second = command(), command("bo@example.com")
    await rig.send(first)
    await rig.until(first, "accepted")
    server.answer("mail", text)
    await rig.send(second)
    (outcome,) = await rig.until(second, "accepted")
    assert outcome.attempt == 1
    assert text in [line.text for line in outcome.talk]  # it is told all the same
    assert worker._throttle.limit == worker._throttle.most


async def test_a_large_message_that_is_refused_midway_is_not_sent_again(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("content", Answer("552 5.3.4 Too big", after=200_000, half=True), always=True)
    cmd = command(text="All that there is to say.\n" * 100_000)
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "failed")
    assert (outcome.phase, outcome.code, outcome.suppress) == ("data", 552, False)
    assert len(server.lines("DATA")) == 1
    await rig.until_empty()
    assert len(await rig.dead()) == 1


@pytest.mark.parametrize(
    ("phase", "text", "came"),
    [
        ("dot", "451 4.7.1 https://crm.example/links/{} is listed, try later", "deferred"),
        ("dot", "554-5.7.1 Rejected:\r\n554 5.7.1 hxxp://crm[.]example/links/{}?x=1", "failed"),
        ("dot", "250 2.0.0 Ok: queued as {}", "accepted"),
        ("content", "552 5.3.4 too long: {}", "failed"),
    ],
)
async def test_a_server_that_quotes_a_secret_tells_it_to_nobody_else(
    rig: Rig, server: SmtpServer, work, phase: str, text: str, came: str
) -> None:
    token = "Zm9yIHRoZSByZWNpcGllbnQgYWxvbmU_-x"
    await work()
    answer = Answer(raw=text.format(token).encode() + b"\r\n", store=came == "accepted")
    server.answer(phase, replace(answer, half=True, after=200_000) if phase == "content" else answer)
    much = "There is much to say.\n" * (50_000 if phase == "content" else 1)
    cmd = command(text="{{ secret_link }}\n" + much, fields={"secret_link": f"https://crm.example/links/{token}"})
    await rig.send(cmd)
    outcome = (await rig.until(cmd, *([came] if came != "deferred" else [came, "accepted"])))[0]
    assert token not in str(outcome)
    assert NOT_SHOWN in (outcome.reply or "")
    assert NOT_SHOWN in str(outcome.talk)


async def test_deferred_waits_in_its_queue_and_comes_back_by_itself(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("rcpt", "450 4.2.1 Greylisted", "451 4.3.0 Trouble")
    cmd = command()
    await rig.send(cmd)
    first, second, third = await rig.until(cmd, "deferred", "deferred", "accepted")
    assert [each.attempt for each in (first, second, third)] == [1, 2, 3]
    assert first.next_at is not None
    assert first.next_at <= second.received_at + timedelta(seconds=0.1)
    assert first.reason == "Their server asks us to wait (greylisting)."
    assert len(server.mails) == 1
    await rig.until_empty()


async def test_a_deferred_letter_lies_in_the_queue_of_its_step(rig: Rig, server: SmtpServer, work) -> None:
    worker = await work(retry_scale=1.0)
    server.answer("rcpt", "450 4.2.1 Later")
    cmd = command()
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "deferred")
    await rig.until_depth(topology.wait_exchange("30s"), 1)
    assert outcome.next_at is not None
    assert timedelta(seconds=23) < outcome.next_at - outcome.finished_at < timedelta(seconds=37)
    assert worker.intake.consumer.in_flight == 0


async def test_failed_lies_among_the_dead_letters_once(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("rcpt", "550 5.1.1 No such user", always=True)
    commands = [command(f"p{number}@example.com", lane=lane) for number, lane in enumerate(Lane)]
    await rig.send(*commands)
    for cmd in commands:
        (outcome,) = await rig.until(cmd, "failed")
        assert (outcome.phase, outcome.code, outcome.enhanced, outcome.suppress) == ("rcpt", 550, "5.1.1", True)
    await rig.until_depth(topology.DEAD_QUEUE, 3)
    assert sorted(await rig.dead()) == sorted((cmd.key, f"dead.{cmd.lane}") for cmd in commands)
    await rig.until_empty()


async def test_what_cannot_be_composed_fails_in_words(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    commands = {
        "company": command(text="{{ company }}"),
        "missing": command(attachments=(Attachment("0" * 64, "a.pdf", "application/pdf", 1),)),
        "line break": command(subject="x\r\nBcc: eve@example.com"),
    }
    await rig.send(*commands.values())
    for word, cmd in commands.items():
        (outcome,) = await rig.until(cmd, "failed")
        assert outcome.phase == "compose"
        assert word in outcome.reason
    await rig.until_depth(topology.DEAD_QUEUE, 3)
    assert server.conversations == []


async def test_a_command_that_cannot_be_read_fails_with_the_reason(rig: Rig, work) -> None:
    """If its id says whose it is; and its neighbours are sent."""
    await work()
    bad, good = command(), command()
    body = encode(bad).replace(b'"generation":0', b'"generation":9223372036854775808')
    await rig.send_raw(body, bad.TYPE, bad.key)
    await rig.send(good)
    await rig.until(good, "accepted")
    (outcome,) = await rig.until(bad, "failed")
    assert (outcome.phase, outcome.lane, outcome.next_at) == ("compose", Lane.normal, None)
    assert "generation" in outcome.reason
    await rig.until_depth(topology.DEAD_QUEUE, 1)


@pytest.mark.parametrize(
    "headers",
    [{"x_first_seen": 2**62}, {"x_attempt": 2**62}, {"x_unknowns": -5}, {"x_attempt": "many"}, {"x_first_seen": [1]}],
    ids=str,
)
async def test_headers_that_are_nonsense_stop_nothing(rig: Rig, work, headers: dict[str, Any]) -> None:
    await work()
    cmd = command()
    await rig.send(cmd, **headers)
    await rig.until(cmd, "accepted")


async def test_what_cannot_be_read_goes_to_the_dead_letters(rig: Rig, work) -> None:
    await work()
    await rig.send_raw(b"{ no json", "mail.send.v1", "bad json")
    await rig.send_raw(b"{}", "mail.send.v99", "bad version")
    await rig.send_raw(b'{"delivery": 1}', "mail.send.v1", "bad shape")
    await rig.until_depth(topology.DEAD_QUEUE, 3)
    cmd = command()
    await rig.send(cmd)
    await rig.until(cmd, "accepted")


async def test_too_late_is_not_sent(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    cmd = command(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "failed")
    assert outcome.phase == "expired"
    assert server.mails == []
    await rig.until_depth(topology.DEAD_QUEUE, 1)


async def test_a_deferral_whose_time_is_over_has_failed(rig: Rig, server: SmtpServer, work) -> None:
    await work(retry_scale=1.0)
    server.answer("rcpt", "450 4.2.1 Later")
    cmd = command(expires_at=datetime.now(UTC) + timedelta(seconds=20))
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "failed")
    assert (outcome.phase, outcome.code) == ("rcpt", 450)
    assert "until its time was over" in outcome.reason
    await rig.until_depth(topology.DEAD_QUEUE, 1)


async def test_unknown_is_tried_once_more_with_the_same_message_id(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("dot", TAKEN_THEN_CLOSE)
    cmd = command()
    await rig.send(cmd)
    unknown, accepted = await rig.until(cmd, "unknown", "accepted")
    assert unknown.next_at is not None
    assert accepted.attempt == 2
    assert all(f"Message-ID: {cmd.message_id}".encode() in mail.content for mail in server.mails)
    assert len(server.mails) == 2
    await rig.until_empty()
    assert await rig.depth(topology.DEAD_QUEUE) == 0


async def test_unknown_twice_is_for_a_person(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("dot", TAKEN_THEN_CLOSE, TAKEN_THEN_CLOSE)
    cmd = command()
    await rig.send(cmd)
    first, second = await rig.until(cmd, "unknown", "unknown")
    assert first.next_at is not None
    assert second.next_at is None
    await rig.until_depth(topology.DEAD_QUEUE, 1)
    await rig.until_empty()


async def test_unknown_bulk_is_held_at_once(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("dot", TAKEN_THEN_CLOSE)
    cmd = command(lane=Lane.bulk)
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "unknown")
    assert outcome.next_at is None
    await rig.until_depth(topology.DEAD_QUEUE, 1)
    assert len(server.mails) == 1


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_command_published_twice_is_sent_once(rig: Rig, server: SmtpServer, work, workers: int) -> None:
    """As after a crash of dispatch between publishing and marking."""
    for number in range(1, workers + 1):
        await work(number)
    commands = [command(f"p{number}@example.com") for number in range(30)]
    await rig.send(*commands, *commands, *commands)
    for cmd in commands:

        async def settled(cmd=cmd) -> bool:
            return len(rig.of(cmd)) >= 3

        await eventually(settled, "each copy is reported")
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)
    assert {each.kind for each in rig.outcomes} == {"accepted"}
    await rig.until_empty()
    assert await rig.depth(topology.DEAD_QUEUE) == 0


async def test_a_second_copy_of_a_failed_command_is_no_second_dead_letter(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("rcpt", "550 5.1.1 No", always=True)
    cmd = command()
    await rig.send(cmd)
    await rig.until(cmd, "failed")
    await rig.send(cmd)
    await rig.until(cmd, "failed", "failed")
    await rig.until_empty()
    assert await rig.dead() == [(cmd.key, "dead.normal")]
    assert len(server.lines("RCPT")) == 1


async def test_a_late_copy_of_an_old_attempt_only_tells_the_newest(rig: Rig, server: SmtpServer, work) -> None:
    await work(retry_scale=1.0)
    server.answer("rcpt", "450 4.2.1 Later", always=True)
    cmd = command()
    await rig.send(cmd, x_attempt=5)
    await rig.until(cmd, "deferred")
    await rig.send(cmd, x_attempt=4)
    first, again = await rig.until(cmd, "deferred", "deferred")
    assert first == again
    assert again.attempt == 5
    other = command()
    await rig.send(other)
    await rig.until(other, "deferred")
    assert len(server.lines("RCPT")) == 2


async def test_an_old_copy_tells_of_an_attempt_whose_worker_died(
    rig: Rig, server: SmtpServer, work, tmp_path: Path
) -> None:
    """The message of that attempt may be lost, and then nothing else would ever tell."""
    await work()
    cmd = command()
    dead = Ledger(settings(tmp_path).ledger, "north/1:dead")
    await dead.open()
    assert await dead.claim(cmd.key, 2, dead.token(), 100)
    assert await dead.expire("north/1:dead") == 1
    await dead.close()
    await rig.send(cmd)
    (outcome,) = await rig.until(cmd, "unknown")
    assert outcome.attempt == 2
    assert outcome.next_at is not None  # a requeue after that is its third
    await rig.until_empty()
    assert (server.mails, await rig.depth(topology.DEAD_QUEUE)) == ([], 0)
    await rig.send(cmd, x_attempt=3, x_unknowns=1)
    (_, again) = await rig.until(cmd, "unknown", "accepted")
    assert again.attempt == 3


async def test_urgent_overtakes_a_backlog(rig: Rig, server: SmtpServer, work) -> None:
    go = asyncio.Event()
    server.answer("dot", *[Answer("250 2.0.0 Ok", until=go)] * 4)
    backlog = [command(f"bulk{number}@example.com", lane=Lane.bulk) for number in range(300)]
    await rig.send(*backlog)
    await work(connections=5)

    async def stuck() -> bool:
        return len(server.lines("DATA")) == 4

    await eventually(stuck, "bulk holds all the places it may")
    urgent = command("urgent@example.com", lane=Lane.urgent)
    await rig.send(urgent)
    await rig.until(urgent, "accepted")
    assert [mail.recipient for mail in server.mails] == ["urgent@example.com"]
    assert server.most_at_once == 5
    go.set()
    for cmd in backlog:
        await rig.until(cmd, "accepted")


async def test_a_long_conversation_is_announced(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    go = asyncio.Event()
    server.answer("rcpt", Answer("250 2.1.5 Ok", until=go), recipient="slow@example.com")
    slow, quick = command("slow@example.com"), command("quick@example.com")
    await rig.send(slow, quick)

    async def announced() -> bool:
        return bool(rig.started)

    await eventually(announced, "the slow one is announced")
    go.set()
    await rig.until(slow, "accepted")
    assert [(each.delivery, each.worker) for each in rig.started] == [(slow.delivery, "north/1")]


async def test_a_heartbeat_that_nobody_hears_is_known_for_one(amqp_url: str) -> None:
    """So that a mail room that is up before dispatch is seen at once, and not five seconds later."""
    now = datetime.now(UTC)
    beat = Heartbeat("north", 1, 1, "host", 1, now, now, 0, 0, 0, 0, 0)
    publisher = Publisher([amqp_url], "test")
    await publisher.start()
    await publisher.wait_connected()

    async def hear(delivery: Delivery) -> None:
        delivery.ack()

    reporter = Reporter(publisher)
    assert await reporter.heartbeat(beat) is False
    listener = Consumer([amqp_url], "test", [], 10, hear, control_key=topology.HEARTBEAT_KEY)
    await listener.start()
    await listener.wait_connected()
    assert await reporter.heartbeat(beat) is True
    await listener.close()
    await publisher.close()


async def test_heartbeats_say_who_does_what(rig: Rig, server: SmtpServer, work) -> None:
    beats: list[Heartbeat] = []

    async def hear(delivery: Delivery) -> None:
        beat = decode(delivery.properties.type, delivery.body)
        assert isinstance(beat, Heartbeat)
        beats.append(beat)
        delivery.ack()

    listener = Consumer([rig.amqp_url], "test", [], 10, hear, control_key=topology.HEARTBEAT_KEY)
    await listener.start()
    await asyncio.wait_for(listener.wait_connected(), 30)
    worker = await work()
    go = asyncio.Event()
    server.answer("dot", Answer("250 2.0.0 Ok", until=go))
    cmd = command()
    await rig.send(cmd)

    async def in_hand() -> bool:
        return bool(beats) and beats[-1].held == {topology.lane_queue(Lane.normal): 1}

    await eventually(in_hand, "what it has in hand is told")
    go.set()
    await rig.until(cmd, "accepted")

    async def counted() -> bool:
        return bool(beats) and beats[-1].accepted == 1

    await eventually(counted, "the letter is counted")
    assert (beats[-1].room, beats[-1].worker, beats[-1].route_state) == ("north", 1, "open")
    await worker.stop()

    async def said_goodbye() -> bool:
        return beats[-1].stopping

    await eventually(said_goodbye, "the last one says that it stops")
    await listener.close()


async def test_stripped_starttls_rests_the_route_until_it_is_mended(
    rig: Rig, server: SmtpServer, work, tmp_path: Path
) -> None:
    await work(smtp_url=SecretStr(f"smtp://127.0.0.1:{server.port}?tls=starttls"), probe_seconds=0.2, connections=1)
    commands = [command(f"p{number}@example.com") for number in range(20)]
    await rig.send(*commands)

    async def first_deferred() -> bool:
        return bool(rig.outcomes)

    await eventually(first_deferred, "one is deferred")
    assert server.lines("MAIL") == []
    # the others lie in their lane, not deferred one by one
    assert len(rig.outcomes) <= 2
    assert {each.phase for each in rig.outcomes} == {"tls"}


async def test_a_message_given_back_often_is_parked_before_its_queue_gives_it_up(
    rig: Rig, server: SmtpServer, work
) -> None:
    worker = await work(retry_scale=1.0)
    worker._throttle.pause("for this test")  # the consumer goes on, so each delivery is given back
    cmd = command()
    await rig.send(cmd)
    await rig.until_depth(topology.wait_exchange("30s"), 1)
    await rig.until_depth(topology.lane_queue(Lane.normal), 0)
    assert await rig.depth(topology.DEAD_QUEUE) == 0
    assert rig.kinds(cmd) == []


async def test_a_server_that_is_away_gets_a_rest_and_all_arrives_when_it_is_back(
    rig: Rig, server: SmtpServer, work
) -> None:
    await work(probe_seconds=1.0)
    await server.stop()
    commands = [command(f"p{number}@example.com") for number in range(60)]
    await rig.send(*commands)

    async def resting() -> bool:
        return len(rig.outcomes) >= 5

    await eventually(resting, "the first ones are deferred")
    await server.start()
    for cmd in commands:

        async def arrived(cmd=cmd) -> bool:
            return rig.kinds(cmd)[-1:] == ["accepted"]

        await eventually(arrived, "it arrives after all")
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)
    await rig.until_empty()


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_broker_that_restarts_or_dies_loses_and_doubles_nothing(
    rabbitmq, rig: Rig, server: SmtpServer, work, end: str
) -> None:
    await work()
    commands = [command(f"p{number}@example.com", lane=Lane.bulk) for number in range(300)]
    await rig.send(*commands)
    await rig.until(commands[0], "accepted")
    await asyncio.to_thread(getattr(rabbitmq, end))
    await asyncio.to_thread(rabbitmq.start)
    for cmd in commands:

        async def arrived(cmd=cmd) -> bool:
            return "accepted" in rig.kinds(cmd)

        await eventually(arrived, "it is reported", seconds=60)
    assert sorted(mail.recipient for mail in server.mails) == sorted(cmd.to.address for cmd in commands)
    assert [(each.phase, each.reason) for each in rig.outcomes if each.kind != "accepted"] == []


async def test_an_own_name_for_each_recipient(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    commands = [
        command(Mailbox(f"p{n}@example.com", f"Nº {n}"), text="{{ n }}", fields={"n": str(n)}) for n in range(20)
    ]
    await rig.send(*commands)
    for number, cmd in enumerate(commands):
        await rig.until(cmd, "accepted")
        (mail,) = server.mails_to(cmd.to.address)
        assert mail.content.endswith(f"\r\n\r\n{number}\r\n".encode())


async def test_a_message_older_than_two_days_is_tried_as_long_as_it_lives(rig: Rig, server: SmtpServer, work) -> None:
    await work()
    server.answer("rcpt", "450 4.2.1 later")
    three_days_ago = datetime.now(UTC) - timedelta(days=3)
    cmd = command(expires_at=datetime.now(UTC) + timedelta(days=4))
    await rig.send(cmd, x_first_seen=int(three_days_ago.timestamp()))
    await rig.until(cmd, "deferred", "accepted")
