"""A server of progress that reads the arrays it is sent: brighter frames are nearer to the goal."""

import email.parser
import email.policy
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from assay.datasets.errors import ConfigError
from assay.relabeling.judges import JudgeError, ProgressServerJudge

from .grey import grey_pairs, random_pairs

pytest.importorskip("httpx")
GOAL = "make it bright"


class Server:
    def __init__(self, plan=()):
        self.plan, self.requests = list(plan), []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                treatment = server.plan.pop(0) if server.plan else "ok"
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
                parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
                samples = [json.loads(part.get_content()) for name, part in parts.items() if name.startswith("sample_")]
                server.requests.append((self.path, samples))
                clips = [
                    np.load(
                        io.BytesIO(parts[s["trajectory"]["frames"]["__numpy_file__"]].get_content()), allow_pickle=False
                    )
                    for s in samples
                ]
                progress = [(clip.mean((1, 2, 3)) / 255).tolist() for clip in clips]
                reply = {
                    "outputs_progress": {"progress_pred": progress},
                    "outputs_success": {"success_probs": progress},
                }
                if treatment == "short":
                    progress[0] = progress[0][:-1]
                if treatment == "outside":
                    progress[0][0] = float("nan")
                if treatment == "words":
                    reply = {"outputs_progress": {"progress_pred": "much"}}
                if treatment == "fewer":
                    del progress[0]
                data = b"{" if treatment == "malformed" else json.dumps(reply).encode()
                self.send_response(int(treatment) if treatment.isdigit() else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))


def test_scores_come_from_the_last_frame_of_each_clip_and_are_kept():
    clips = np.array([[0, 51], [255, 102], [0, 51]])
    with Server() as server:
        judge = ProgressServerJudge(base_url=server.url, batch=2)
        first = judge.score(grey_pairs(clips, clips).first, GOAL)
        np.testing.assert_allclose(first, [0.2, 0.4, 0.2])
        assert [len(samples) for _, samples in server.requests] == [2]  # the third is the first again
        assert server.requests[0][0] == "/evaluate_batch_npy"
        assert server.requests[0][1][0]["trajectory"]["task"] == GOAL
        np.testing.assert_allclose(judge.score(grey_pairs(clips, clips).first, GOAL), first)
        assert len(server.requests) == 1


def test_it_judges_pairs_and_tries_again_what_fails():
    pairs, truth = random_pairs(5)
    with Server(["500", "malformed", "429"]) as server:
        assert ProgressServerJudge(base_url=server.url).judge(pairs, GOAL).tolist() == truth.tolist()
        assert (ProgressServerJudge(base_url=server.url, of="success").judge(pairs, GOAL) == truth).all()


@pytest.mark.parametrize(
    ("treatment", "message"),
    [
        ("short", "numbers for"),
        ("outside", "outside"),
        ("words", "without numbers"),
        ("fewer", "rows for"),
        ("404", "answers 404"),
        ("500", "does not answer after 1 tries"),
    ],
)
def test_what_is_no_progress_is_not_used(treatment, message):
    pairs, _ = random_pairs(2)
    with Server([treatment]) as server:
        judge = ProgressServerJudge(base_url=server.url, retries=0)
        with pytest.raises(JudgeError, match=message):
            judge.score(pairs.first, GOAL)
        assert np.isfinite(judge.score(pairs.first, GOAL)).all()


def test_addresses_with_secrets_are_refused():
    for url in ("http://me:word@host", "ftp://host", "http://host/?key=1", "localhost:8001"):
        with pytest.raises(ConfigError, match="expected an address"):
            ProgressServerJudge(base_url=url)
