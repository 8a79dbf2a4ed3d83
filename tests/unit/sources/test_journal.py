"""A journal keeps what was answered, whatever ends the process that writes it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flickcast.sources.flickr_client import Answer, RefusedError, Verdict
from flickcast.sources.journal import Journal, Session

NOW = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)


def filled(path: Path, *records: tuple[str, bytes]) -> Path:
    journal = Journal(path)
    for name, content in records:
        journal.put(name, content)
    journal.close()
    return path


def test_records_are_there_after_opening_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "sub" / "j", ("a", b"one\ntwo"), ("b", b""), ("ü", bytes(range(256))))
    journal = Journal(path)
    assert [journal.get(name) for name in ("a", "b", "ü", "c")] == [b"one\ntwo", b"", bytes(range(256)), None]


def test_wherever_the_end_is_torn_the_whole_records_before_it_stay(tmp_path: Path) -> None:
    whole = filled(tmp_path / "whole", ("a", b"first"), ("b", b"second")).read_bytes()
    first = len(filled(tmp_path / "first", ("a", b"first")).read_bytes())
    for length in range(len(whole)):
        path = tmp_path / "torn"
        path.write_bytes(whole[:length])
        journal = Journal(path)
        assert journal.get("a") == (b"first" if length >= first else None)
        assert journal.get("b") is None
        journal.put("c", b"third")
        journal.close()
        assert Journal(path).get("c") == b"third", f"torn at {length}"


@pytest.mark.parametrize(
    "damage",
    [
        b"garbage",
        b"\0" * 100,
        b'{"name": 1}\n',
        b"[]\n",
        b"[" * 100_000,
        b'{"name":"x","bytes":9,"crc32":0}\nno',
        b'{"name":"x","bytes":-1,"crc32":0}\nno\n',
        b'{"name":"x","bytes":"2","crc32":0}\nno\n',
        b'{"name":"x","bytes":1e15,"crc32":0}\nno\n',
        b'{"name":"x","bytes":1000000000000,"crc32":0}\nno\n',
        b'{"name":"x","bytes":99999999999999999999,"crc32":0}\nno\n',
        b'{"name":[],"bytes":0,"crc32":0}\n\n',
    ],
)
def test_a_damaged_end_is_cut_off(tmp_path: Path, damage: bytes) -> None:
    path = filled(tmp_path / "j", ("a", b"first"))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + damage)
    journal = Journal(path)
    assert (len(journal), journal.get("a"), path.stat().st_size) == (1, b"first", size)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = filled(tmp_path / "j", ("a", b"first"), ("b", b"second"))
    content = bytearray(path.read_bytes())
    content[content.index(b"second")] ^= 1
    path.write_bytes(content)
    journal = Journal(path)
    assert (journal.get("a"), journal.get("b")) == (b"first", None)


def test_a_killed_writer_leaves_whole_records(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from flickcast.sources.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); number = 0\n"
        "while True:\n"
        "    journal.put(str(number), str(number).encode() * 5000); number += 1\n"
        "    if number == 20: print('going', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path / "j"], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
    journal = Journal(tmp_path / "j")
    assert len(journal) >= 20
    assert all(journal.get(str(number)) == str(number).encode() * 5000 for number in range(len(journal)))


class Service:
    """Answers from a list, counts how often it is asked."""

    def __init__(self, *answers: Callable[[], Answer]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def call(self, method: str, expect: str, **arguments: str | int) -> Answer:
        self.asked += 1
        return self.answers.pop(0)()

    def fetch(self, url: str, expected: tuple[int, int] | None = None) -> bytes:
        self.asked += 1
        return url.encode()


def says(number: int, at: datetime | None = NOW, received_at: datetime = NOW) -> Callable[[], Answer]:
    return lambda: Answer({"number": number}, at, received_at)


def refuses(verdict: Verdict) -> Callable[[], Answer]:
    def answer() -> Answer:
        raise RefusedError("no", verdict)

    return answer


def test_a_second_try_asks_only_what_the_first_did_not(tmp_path: Path) -> None:
    for answers, asked in (((says(1), says(2)), 2), ((says(3),), 1)):
        service = Service(*answers)
        session = Session(service, service, Journal(tmp_path / "j"))
        numbers = [session.call("m", "e", page=page).content["number"] for page in (1, 2, 3)[: 2 + 2 - asked]]
        assert service.asked == asked
    assert numbers == [1, 2, 3]
    assert session.calls == {"m": 3}


def test_a_page_asked_twice_on_purpose_has_two_answers_in_every_try(tmp_path: Path) -> None:
    for answers in ((says(1), says(2)), ()):
        service = Service(*answers)
        session = Session(service, service, Journal(tmp_path / "j"))
        assert [session.call("m", "e").content["number"] for _ in range(2)] == [1, 2]


def test_who_is_gone_is_gone_in_the_next_try_too(tmp_path: Path) -> None:
    for answers in ((refuses(Verdict.GONE),), ()):
        service = Service(*answers)
        with pytest.raises(RefusedError) as caught:
            Session(service, service, Journal(tmp_path / "j")).call("m", "e")
        assert caught.value.verdict is Verdict.GONE


def test_our_own_mistake_is_asked_again_after_it_is_mended(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        Session(Service(refuses(Verdict.BUG)), Service(), Journal(tmp_path / "j")).call("m", "e")
    assert Session(Service(says(1)), Service(), Journal(tmp_path / "j")).call("m", "e").content == {"number": 1}


def test_pictures_are_downloaded_once(tmp_path: Path) -> None:
    service = Service()
    for _ in range(2):
        assert Session(service, service, Journal(tmp_path / "j")).fetch("http://x/1.jpg") == b"http://x/1.jpg"
    assert service.asked == 1


def test_answers_of_another_service_are_not_taken(tmp_path: Path) -> None:
    for number, origin in ((1, "http://a"), (2, "http://b")):
        service = Service(says(number))
        answer = Session(service, service, Journal(tmp_path / "j"), origin).call("m", "e")
        assert answer.content == {"number": number}


def test_an_answer_dated_hours_off_gets_the_time_of_the_others(tmp_path: Path) -> None:
    minutes = [NOW + timedelta(minutes=number) for number in range(5)]
    years = timedelta(days=365)  # the service lives in another time than we do: that alone is no fault
    dates = [minutes[0] - timedelta(hours=30), *minutes[1:4], None]
    answers = [says(1, at, minute - years) for at, minute in zip(dates, minutes, strict=True)]
    session = Session(Service(*answers), Service(), Journal(tmp_path / "j"))
    given = [session.call("m", "e", page=number) for number in range(5)]
    assert [session.moment(answer) for answer in given] == minutes


def test_a_large_file_that_is_no_journal_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk, and would take all memory
    assert len(Journal(path)) == 0
    assert path.stat().st_size == 0
