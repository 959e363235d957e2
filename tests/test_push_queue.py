"""The queue of pushes: in turn, told when they fail, and gone when nothing waits."""

import gc
import os
import signal
import threading
import time
import weakref
from pathlib import Path

import pytest

from hf_attn.hub import PushResult
from hf_attn.push_queue import _MOST_WAITING, PushQueue

HERE = Path("saved")


def result(number):
    return PushResult("user/name", str(number), "https://hub/commit")


def test_pushes_are_made_one_after_the_other_in_their_order():
    pushes, running, seen = PushQueue(), [], []

    def push(number):
        running.append(number)
        seen.append(list(running))
        time.sleep(0.01)
        running.remove(number)
        return result(number)

    futures = [pushes.add(str(n), HERE, lambda n=n: push(n)) for n in range(9)]
    assert [future.result().oid for future in futures] == [str(n) for n in range(9)]
    assert seen == [[n] for n in range(9)]


def test_failed_pushes_are_named_with_folder_and_error():
    pushes = PushQueue()
    pushes.add("good", HERE, lambda: result(1))
    pushes.refuse("bad", HERE, OSError("disk full"))
    (failed,) = pushes.failed()
    assert (failed.title, failed.folder, str(failed.error)) == ("bad", HERE, "disk full")
    assert pushes.unfinished() == []


def test_queue_keeps_nothing_in_memory_when_all_is_pushed():
    class Trained:
        """What a push holds on to."""

    before, trained, pushes = threading.active_count(), Trained(), PushQueue()
    seen = weakref.ref(trained)
    pushes.add("one", HERE, lambda trained=trained: result(id(trained))).result()
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(1)
    assert threading.active_count() == before
    del trained, pushes
    gc.collect()
    assert seen() is None


def test_pushes_that_come_after_the_queue_was_empty_are_made():
    pushes = PushQueue()
    for number in range(200):
        assert pushes.add("one", HERE, lambda n=number: result(n)).result(5).oid == str(number)


def test_push_that_was_interrupted_while_it_waited_for_room_is_not_waited_for():
    pushes, goes_on = PushQueue(), threading.Event()

    def slow():
        goes_on.wait(30)
        return result(0)

    for number in range(_MOST_WAITING + 1):
        pushes.add(str(number), HERE, slow)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        pushes.add("one too many", HERE, slow)
    goes_on.set()
    assert [failed.title for failed in pushes.failed()] == ["one too many"]
    assert pushes.unfinished() == []
