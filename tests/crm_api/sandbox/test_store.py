"""The sandbox's file."""

from pathlib import Path

import pytest

from crm_api.sandbox.store import NewMail, SandboxStore


@pytest.fixture
def store(tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / "sandbox.sqlite")


def _mail(to: str = "anna@example.com", words: str = "hello") -> NewMail:
    return NewMail("crm@example.com", (to,), f"Subject: {words}\r\n\r\n{words}\r\n".encode())


def test_a_mail_comes_back_as_it_was(store: SandboxStore) -> None:
    content = b"Subject: x\r\n\r\n\xff\x00 8 bit\r\n\r\n.\r\n"
    (mail_id,) = store.add([NewMail("", ("Anna@Example.com", "ünal@example.com"), content)])
    mail = store.get(mail_id)
    assert mail is not None
    assert mail.content == content
    assert mail.head == b"Subject: x\r\n\r\n"
    assert (mail.sender, mail.recipients, mail.size) == ("", ["Anna@Example.com", "ünal@example.com"], len(content))
    assert store.get(mail_id + 1) is None


def test_lists_are_by_address_newest_first_and_by_key(store: SandboxStore) -> None:
    ids = store.add([_mail("anna@example.com" if n % 2 else "Bert@example.com", str(n)) for n in range(10)])
    assert [mail.id for mail in store.list()] == ids[::-1]
    assert [mail.id for mail in store.list("bert@EXAMPLE.com ")] == ids[::2][::-1]
    assert [mail.id for mail in store.list(limit=3)] == ids[:-4:-1]
    assert [mail.id for mail in store.list(before=ids[2])] == [ids[1], ids[0]]
    assert [mail.id for mail in store.list("anna@example.com", after=ids[7])] == [ids[9]]
    assert store.list("ann@example.com") == []
    assert (store.count(), store.count("anna@example.com"), store.count("nobody@example.com")) == (10, 5, 0)
    assert all(mail.body == b"" for mail in store.list())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    store = SandboxStore(tmp_path / "sandbox.sqlite", kept_mails=10)
    for n in range(35):
        store.add([_mail(words=str(n))])
    assert 10 <= store.count() < 20
    assert store.list()[0].id == 35
    assert store.count("anna@example.com") == store.count()


def test_large_mails_leave_room_for_fewer_but_the_newest_stays(tmp_path: Path) -> None:
    store = SandboxStore(tmp_path / "sandbox.sqlite", kept_mails=4, kept_bytes=1000)
    store.add([_mail(words="x" * 600) for _ in range(4)])
    assert [mail.id for mail in store.list()] == [4]


def test_clearing_says_how_many_and_ids_go_on(store: SandboxStore) -> None:
    assert store.newest() == 0
    store.add([_mail(), _mail()])
    newest = store.newest()
    store.add([_mail()])
    assert store.clear(newest) == 2
    assert store.clear(newest) == 0
    assert [mail.id for mail in store.list("anna@example.com")] == [3]
    assert store.clear(store.newest()) == 1
    assert store.list("anna@example.com") == []
    assert store.add([_mail()]) == [4]


def test_tries_are_counted_by_key_and_survive_a_restart(store: SandboxStore) -> None:
    assert [store.count_try("a"), store.count_try("a"), store.count_try("b")] == [1, 2, 1]
    assert SandboxStore(store.path).count_try("a") == 3


def test_nothing_of_a_group_is_stored_if_one_of_it_cannot_be(store: SandboxStore) -> None:
    with pytest.raises(TypeError):
        store.add([_mail(), NewMail("a@example.com", (object(),), b"")])  # type: ignore[arg-type]
    assert store.count() == 0
    assert store.add([_mail()])
