"""Who may ask, how much is taken, and what strangers' files can do."""

import asyncio
import http.client
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sitecnn.cli import main
from sitecnn.explore.guard import Guard
from sitecnn.explore.question import Question, Source
from sitecnn.explore.reading import line_of, network_of
from sitecnn.explore.tab import safe_name
from sitecnn.explore.workers import Refused, Worker
from tests.explore.chromium import NETWORKS, copy_networks, served

pytest.importorskip("nicegui")

LENET = Source("net.prototxt", (NETWORKS / "alexnet.prototxt").read_text())


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(copy_networks(tmp_path_factory.mktemp("explore"), "alexnet")) as one:
        yield urlsplit(one)


def ask(address, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """(status, body) of a request whose Host is the page's own unless `headers` has another."""
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": address.netloc, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


UPGRADE = {
    **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
}
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"


def test_the_page_answers_its_own_address(address):
    status, body = ask(address, "/")
    assert status == 200
    assert b"SiteCNN" in body
    assert ask(address, "/", Host=f"localhost:{address.port}")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil.example:{port}"])
def test_another_host_is_refused_as_in_dns_rebinding(address, host):
    host = host.format(port=address.port)
    assert ask(address, "/", Host=host)[0] == 403
    assert ask(address, SOCKET, Host=host, **UPGRADE)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}.evil.example"])
def test_another_origin_is_refused_for_websockets_too(address, origin):
    origin = origin.format(port=address.port)
    assert ask(address, "/", Origin=origin)[0] == 403
    assert ask(address, SOCKET, Origin=origin, **UPGRADE)[0] == 403
    assert ask(address, "/_nicegui_ws/socket.io/?EIO=4&transport=polling", Origin=origin)[0] == 403


def test_it_listens_on_this_machine_alone(address):
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert next(one for one in listening if one.endswith(f":{address.port:04X}")).startswith("0100007F")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(address):
    headers = {"Content-Length": str(3 << 30), "Content-Type": "multipart/form-data; boundary=x"}
    assert ask(address, "/_nicegui/client/x/upload/1", "POST", **headers)[0] == 413


def test_a_body_of_unsaid_length_is_cut_off_where_it_is_too_large(monkeypatch):
    monkeypatch.setattr("sitecnn.explore.guard.MOST_BODY_BYTES", 1000)
    taken = []

    async def application(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            taken.append(len(message["body"]))
        taken.append(message["type"])

    async def endless():
        return {"type": "http.request", "body": b"x" * 300, "more_body": True}

    headers = [(b"host", b"127.0.0.1:80"), (b"transfer-encoding", b"chunked")]
    asyncio.run(Guard(application, 80)({"type": "http", "headers": headers}, endless, None))
    assert taken == [300, 300, 300, "http.disconnect"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/_nicegui/static/..%2f..%2f..%2f..%2fetc/passwd",
        "/_nicegui/3.18.0/static/..%2f..%2f..%2fsitecnn/errors.py",
        "/_nicegui/3.18.0/resources/x/..%2f..%2fetc/passwd",
        "/config/networks/alexnet.prototxt",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_file_of_this_machine_is_readable(address, path):
    status, body = ask(address, path)
    assert b"root:" not in body
    assert b"AlexNet" not in body
    assert status == 404


def test_the_headers_allow_nothing_from_elsewhere(address):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request("GET", "/")
    policy = connection.getresponse().headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def in_a_worker(tmp_path, conversation, **options):
    """What a coroutine of a worker gives."""

    async def run():
        worker = Worker(tmp_path, **options)
        try:
            return await conversation(worker)
        finally:
            worker.stop()

    return asyncio.run(run())


def test_a_worker_that_does_not_answer_is_stopped_and_the_next_question_is_answered(tmp_path):
    async def conversation(worker):
        await worker.ask("answers", question=asdict(Question(LENET)))
        stuck = worker.process
        os.kill(stuck.pid, signal.SIGSTOP)
        with pytest.raises(Refused, match="stopped"):
            await worker.ask("answers", question=asdict(Question(LENET)))
        assert stuck.poll() == -signal.SIGKILL
        worker.longest_s = 60
        return await worker.ask("answers", question=asdict(Question(LENET)))

    assert in_a_worker(tmp_path, conversation, longest_s=5)["network"] == "AlexNet"


def test_a_worker_that_dies_is_started_anew(tmp_path):
    async def conversation(worker):
        worker.start()
        worker.process.kill()
        with pytest.raises(Refused, match="crashed or ran out of memory"):
            await worker.ask("answers", question=asdict(Question(LENET)))
        return await worker.ask("answers", question=asdict(Question(LENET)))

    assert in_a_worker(tmp_path, conversation)["network"] == "AlexNet"


def test_an_answer_without_end_is_not_taken_for_the_next_one(tmp_path, monkeypatch):
    async def conversation(worker):
        monkeypatch.setattr("sitecnn.explore.workers.READ_LIMIT_BYTES", 100)
        with pytest.raises(Refused, match="crashed or ran out of memory"):
            await worker.ask("answers", question=asdict(Question(LENET)))
        monkeypatch.undo()
        return await worker.ask("convert", question=asdict(Question(LENET)))

    assert "conv1" in in_a_worker(tmp_path, conversation)["text"]


def test_hostile_texts_are_refused_in_one_line(tmp_path):
    texts = {
        "deep": "layer { " * 20_000,
        "large": "#" * (3 << 20),
        "huge numbers": LENET.text.replace("num_output: 96", "num_output: 99999999999999999999"),
        "no layer": 'name: "nothing"',
        "binary": "\ufffd\x01\x02" * 100,
    }

    async def conversation(worker):
        errors = {}
        for what, text in texts.items():
            try:
                await worker.ask("answers", question=asdict(Question(Source("x", text))))
            except Refused as error:
                errors[what] = str(error)
        assert worker.process.poll() is None
        return errors

    errors = in_a_worker(tmp_path, conversation)
    assert set(errors) >= {"deep", "large", "huge numbers", "binary"}
    assert all("\n" not in error and "Traceback" not in error for error in errors.values())


def test_errors_of_dropped_files_show_no_path(tmp_path):
    file = tmp_path / "secret" / "broken.onnx"
    file.parent.mkdir()
    file.write_bytes(b"\x08\x07broken")
    with pytest.raises(Exception, match=r"broken\.onnx") as error:
        network_of(Question(Source("broken.onnx", file=str(file))))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc/passwd", "passwd"), ("..\\..\\x.onnx", "x.onnx"), ("..", "network"), ("a\0\nb.onnx", "ab.onnx")],
)
def test_a_dropped_file_s_name_leads_nowhere(name, safe):
    assert safe_name(name) == safe


def test_an_error_s_line_is_that_it_names_or_that_of_its_layer():
    assert line_of("x: line 12, column 3: what", "") == 12
    text = 'name: "n"\n\nlayer { name: "a" }\n# layer { name: "b" }\nlayer {\n name: "b" }'
    assert line_of("x: layer 'b': no", text) == 5
    assert line_of("x: nothing", text) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.prototxt"], "nowhere.prototxt: not a file"),
        (["--board", "tx9"], "board 'tx9' has no model"),
        (["--port", "99999"], "port 99999"),
    ],
)
def test_bad_usage_is_one_line(arguments, words, tmp_path, capsys):
    assert main(["--root", str(tmp_path), "explore", "--no-browser", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_the_worker_s_answers_are_json(tmp_path):
    question = asdict(Question(LENET, batch=2, budget_ms=1.0))
    answer = in_a_worker(tmp_path, lambda worker: worker.ask("answers", question=question))
    assert json.loads(json.dumps(answer))["batch"] == 2
    assert answer["rows"][0]["fits_time"] is False
