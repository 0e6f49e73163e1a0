"""Answers are kept the moment they arrive, for good, and nobody asks what somebody else is asking."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from assay.datasets.errors import StorageError
from assay.relabeling.judges.asking import answers_to
from assay.relabeling.judges.store import Answer, AnswerStore, Question, digest

from .grey import random_pairs

QUESTION = Question("judge", "1", "a goal")


def test_answers_survive_and_belong_to_their_question(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.add(QUESTION, b"1", b"2", Answer(1, "answer", "one", 0.5))
        store.add(QUESTION, b"2", b"1", Answer(-1, "refused", "no", 0.25))
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert store.find(QUESTION, b"1", b"2") == Answer(1, "answer", "one", 0.5)
        assert store.cost("judge") == 0.75
        assert store.counts(QUESTION) == {"answer": 1, "refused": 1}
        for other in (Question("other", "1", "a goal"), Question("judge", "2", "a goal"), Question("judge", "1", "b")):
            assert store.find(other, b"1", b"2") is None
        assert store.find(QUESTION, b"1", b"2", repeat=1) is None


def test_what_was_said_stays_when_it_is_taken_back(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        store.add(QUESTION, b"1", b"2", Answer(1))
        store.withdraw(QUESTION, b"1", b"2")
        assert store.find(QUESTION, b"1", b"2") is None
        store.add(QUESTION, b"1", b"2", Answer(0))
        assert store.find(QUESTION, b"1", b"2") == Answer(0)
        assert len(store) == 3
        assert store.counts(QUESTION) == {"answer": 1}
    raw = sqlite3.connect(tmp_path / "a.sqlite")
    for statement in ("UPDATE answers SET value = 0", "DELETE FROM answers"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            raw.execute(statement)


def test_a_claim_keeps_others_from_asking_until_it_ends(tmp_path):
    with AnswerStore(tmp_path / "a.sqlite") as store:
        assert store.claim(QUESTION, b"1", b"2", "me", 60)
        assert not store.claim(QUESTION, b"1", b"2", "you", 60)
        assert store.claim(QUESTION, b"1", b"3", "you", -1)  # a claim that has run out
        assert store.claim(QUESTION, b"1", b"3", "me", 60)
        store.release("me")
        assert store.claim(QUESTION, b"1", b"2", "you", 60)
        store.add(QUESTION, b"1", b"2", Answer(0))
        assert not store.claim(QUESTION, b"1", b"2", "me", 60)  # it is answered


def test_a_file_of_another_kind_is_refused_and_stays(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough that sqlite looks at its header" * 20)
    with pytest.raises(StorageError, match=r"notes\.txt"):
        AnswerStore(path)
    assert path.read_text().startswith("not a database")


def test_the_hash_sees_content_shape_and_order():
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    assert digest(image) == digest(image.copy())
    assert len({digest(image), digest(image.reshape(1, 4, 2, 3)), digest(image[:, ::-1])}) == 3


def test_a_new_store_is_opened_by_many_at_once(tmp_path):
    def open_it(name):
        with AnswerStore(tmp_path / f"{name}.sqlite") as store:
            return len(store)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_it, [number // 8 for number in range(400)])) == [0] * 400


def test_each_pair_is_asked_once_though_two_threads_and_twins_want_it(tmp_path):
    pairs, truth = random_pairs(40)
    asked, lock = [], threading.Lock()

    def ask(images):
        with lock:
            asked.append((digest(images[0]), digest(images[1])))
        time.sleep(0.002)
        return Answer(float(images[1].mean() > images[0].mean()))

    found = []

    def run():
        with AnswerStore(tmp_path / "a.sqlite") as store:
            sides = (pairs.first, pairs.second)
            found.append(
                [answer.value for answer in answers_to(QUESTION, sides, ask, store, concurrency=4, progress=None)]
            )

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [truth.tolist()] * 3
    assert len(asked) == len(set(asked))


WORKER = """
import sys, time
from pathlib import Path
from assay.relabeling.judges.asking import answers_to
from assay.relabeling.judges.store import Answer, AnswerStore, Question
from tests.relabeling.judges.grey import random_pairs
pairs, _ = random_pairs(300)
log = open(sys.argv[2], "a", buffering=1)
def ask(images):
    if len(open(sys.argv[2]).readlines()) >= int(sys.argv[3]):
        time.sleep(3600)  # until it is killed
    log.write(f"{images[0].mean()} {images[1].mean()}\\n")
    return Answer(float(images[1].mean() > images[0].mean()))
with AnswerStore(sys.argv[1]) as store:
    answers_to(Question("judge", "1", "a goal"), (pairs.first, pairs.second), ask, store, concurrency=2, patience=1.0, progress=None)
"""


def test_a_killed_labelling_goes_on_and_asks_again_only_what_was_under_way(tmp_path):
    store, log = tmp_path / "a.sqlite", tmp_path / "log"
    command = [sys.executable, "-c", WORKER, str(store), str(log)]  # and after how many answers it stops answering
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([*command, "60"], cwd=root, env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not log.exists() or log.read_text().count("\n") < 60):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with AnswerStore(store) as kept:
        before = len(kept)
    assert 40 <= before < 300
    subprocess.run([*command, "1000000"], cwd=root, env=environment, check=True, timeout=120)
    pairs, truth = random_pairs(300)
    lines = log.read_text().splitlines()
    distinct = {
        (first.mean(), second.mean())
        for first, second in ((pairs.first.frames[i], pairs.second.frames[i]) for i in range(300))
    }
    assert len(set(lines)) == len(distinct)
    assert len(lines) <= len(distinct) + 2  # two were under way
    with AnswerStore(store) as kept:
        values = [
            kept.find(QUESTION, digest(pairs.first.frames[i]), digest(pairs.second.frames[i])).value for i in range(300)
        ]
    assert values == truth.tolist()
