"""Files that several processes share: locks, what is kept for whom, and what killed writers leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.shelf import Command, Shelf
from benchmark.store import Checkpoint, Store

SCRIPT = """
import sys
from pathlib import Path
from benchmark.shelf import Shelf
shelf = Shelf(Path(sys.argv[1]), print)
with {context} as entered:
    {then}
    print("entered" if entered else "refused", flush=True)
    sys.stdin.read()
"""


class Other:
    """Another process, which is in a context of a shelf until it is told to leave or killed."""

    def __init__(self, folder: Path, context: str, then: str = "pass") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(context=context, then=then), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def entered(self) -> bool:
        """Whether it got in; waits until that is known."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        assert answer in ("entered\n", "refused\n"), answer
        return answer == "entered\n"

    def leave(self) -> None:
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Callable[..., Other]]:
    with ExitStack() as ending:

        def start(*arguments: str) -> Other:
            other = Other(tmp_path / "stages", *arguments)
            ending.callback(other.kill)
            return other

        yield start


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "stages"
    folder.mkdir()
    return Shelf(folder, lambda _: None)


@pytest.mark.parametrize("end", [Other.leave, Other.kill])
def test_a_key_is_held_by_one_process_until_it_leaves_or_is_killed(
    shelf: Shelf, others: Callable[..., Other], end: Callable[[Other], None]
) -> None:
    assert not shelf.held("key")
    holder = others("shelf.lock('key')")
    assert holder.entered()
    with shelf.lock("key") as mine:
        assert not mine
    assert shelf.held("key")
    with shelf.lock("another key") as mine:
        assert mine
    end(holder)
    assert not shelf.held("key")
    with shelf.lock("key") as mine:
        assert mine
        assert not others("shelf.lock('key')").entered()


def test_a_process_that_waits_for_a_key_gets_it_when_its_holder_is_killed(
    shelf: Shelf, others: Callable[..., Other]
) -> None:
    holder = others("shelf.lock('key')")
    assert holder.entered()
    waiting = others("shelf.lock('key', wait=True)")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.process.wait(1.0)
    holder.kill()
    assert waiting.entered()
    assert shelf.held("key")


def test_commands_are_listed_while_they_live_and_dead_ones_are_cleared_away(
    shelf: Shelf, others: Callable[..., Other]
) -> None:
    assert shelf.commands() == []
    assert not list(shelf.folder.iterdir())
    living, dead = (others("shelf.command()", "entered.needs(['a'])") for _ in range(2))
    assert living.entered() and dead.entered()
    assert len(shelf.commands()) == 2
    dead.kill()
    (name,) = shelf.commands()
    assert sorted(path.name for path in (shelf.folder / "commands").iterdir()) == [f"{name}.json", f"{name}.lock"]
    living.leave()
    assert shelf.commands() == []
    assert not list((shelf.folder / "commands").iterdir())


def keep(shelf: Shelf, key: str, *contents: bytes) -> None:
    shelf.keep("nodes", key, dict(zip(("weights", "state"), contents, strict=False)), {"plain": key})


def has(shelf: Shelf, content: bytes) -> bool:
    return any(path.read_bytes() == content for path in (shelf.folder / "tensors").glob("*"))


def drop(command: Command, *keys: str) -> None:
    command.drop(set(keys), set())


@pytest.mark.parametrize("end", [Other.leave, Other.kill])
def test_what_a_living_command_needs_is_dropped_when_it_has_ended(
    shelf: Shelf, others: Callable[..., Other], end: Callable[[Other], None]
) -> None:
    keep(shelf, "a", b"first", b"same")
    keep(shelf, "b", b"second", b"same")
    other = others("shelf.command()", "entered.needs(['b'])")
    assert other.entered()
    with shelf.command() as command:
        drop(command, "a", "b")
        assert not has(shelf, b"first")
        assert has(shelf, b"second") and has(shelf, b"same")
        end(other)
        command.drop(set(), set())
        assert not list((shelf.folder / "tensors").iterdir())


def test_nothing_is_dropped_while_a_new_command_has_not_said_what_it_needs(
    shelf: Shelf, others: Callable[..., Other]
) -> None:
    keep(shelf, "a", b"first")
    other = others("shelf.command()")
    assert other.entered()
    with shelf.command() as command:
        drop(command, "a")
        assert has(shelf, b"first")
        other.leave()
        drop(command)
        assert not has(shelf, b"first")


def test_what_this_command_needs_itself_is_not_dropped(shelf: Shelf) -> None:
    keep(shelf, "a", b"first", b"same")
    keep(shelf, "b", b"second", b"same")
    with shelf.command() as command:
        command.drop({"a"}, {"b"})
        assert has(shelf, b"same") and not has(shelf, b"first")
        command.drop({"b"}, set())
        assert not has(shelf, b"same") and not has(shelf, b"second")


def test_tensors_that_a_step_of_another_study_shares_are_not_dropped_with_ours(shelf: Shelf) -> None:
    """Strategies without a state all keep the same one: nothing."""
    keep(shelf, "of a study that was killed", b"first", b"nothing")
    with shelf.command() as command:
        keep(shelf, "ours", b"second", b"nothing")
        drop(command, "ours")
        assert not has(shelf, b"second")
    with shelf.command():
        assert has(shelf, b"first") and has(shelf, b"nothing")


def test_a_step_that_was_dropped_holds_nothing_any_more(shelf: Shelf) -> None:
    keep(shelf, "a", b"first", b"nothing")
    with shelf.command() as command:
        drop(command, "a")
        keep(shelf, "b", b"first", b"nothing")  # the same numbers again
        drop(command, "b")
    assert not list((shelf.folder / "tensors").iterdir())
    assert (shelf.read("nodes", "a") or {})["plain"] == "a"


def test_a_step_that_lost_a_tensor_holds_the_others_no_more(shelf: Shelf) -> None:
    """As after ``retain clean``, or if one was damaged."""
    digests = shelf.keep("nodes", "a", {"weights": b"first", "state": b"second"}, {})
    shelf.drop([digests["weights"]])
    with shelf.command():
        assert not has(shelf, b"second")


def test_tensors_that_are_dropped_before_their_step_is_written_are_put_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Shelf.put
    dropped: list[bytes] = []

    def put_and_lost(self: Shelf, content: bytes) -> str:
        digest = put(self, content)
        if content not in dropped:
            dropped.append(content)
            self.drop([digest])
        return digest

    monkeypatch.setattr(Shelf, "put", put_and_lost)
    keep(shelf, "a", b"first", b"second")
    assert dropped == [b"first", b"second"]
    assert has(shelf, b"first") and has(shelf, b"second")


def test_a_command_alone_clears_away_what_killed_writers_left(
    shelf: Shelf, others: Callable[..., Other], tmp_path: Path
) -> None:
    other = others("shelf.command()")
    assert other.entered()
    keep(shelf, "a", b"named")
    shelf.put(b"not named")
    left = [shelf.folder / "nodes" / ".b.json.x7", shelf.folder / "tensors" / ".c.x", tmp_path / ".[record].json.x"]
    foreign, record = tmp_path / ".profile.json.x", tmp_path / "[record].json"
    for path in (*left, foreign):
        path.write_text("half")
    (shelf.folder / "nodes" / ".folder").mkdir()
    with shelf.command([record]):
        assert all(path.exists() for path in left) and has(shelf, b"not named")
    other.leave()
    with shelf.command([record]):
        assert not any(path.exists() for path in left) and not has(shelf, b"not named")
    assert has(shelf, b"named") and foreign.exists()


def checkpoint(number: int) -> Checkpoint:
    weights = {"w": torch.full((2,), float(number))}
    return Checkpoint(number, weights, {}, {"state": {}, "param_groups": []}, [0.0] * number, 1.0)


def test_a_checkpoint_takes_the_place_of_the_one_before(shelf: Shelf) -> None:
    store = Store(shelf.folder, lambda _: None)
    for number in (1, 2, 3):
        store.save_checkpoint("a", checkpoint(number))
    assert len(list((shelf.folder / "tensors").iterdir())) == 2  # weights, and the optimizer's tensors
    found = store.checkpoint("a")
    assert found is not None and found.position == 3 and found.weights["w"].tolist() == [3.0, 3.0]
    store.drop_checkpoint("a")
    assert store.checkpoint("a") is None
    assert not list((shelf.folder / "tensors").iterdir())


def test_a_checkpoint_leaves_others_their_equal_tensors(shelf: Shelf) -> None:
    store = Store(shelf.folder, lambda _: None)
    saved = store.save_node("finished", {"w": torch.ones(2)}, {}, [], {})
    store.save_checkpoint("a", checkpoint(1))  # the same weights as the finished step
    store.save_checkpoint("b", checkpoint(2))
    for key, number in (("a", 2), ("a", 3), ("b", 3)):
        store.save_checkpoint(key, checkpoint(number))
    assert store.has(saved)
    store.drop_checkpoint("a")
    found = store.checkpoint("b")
    assert found is not None and found.position == 3


def test_the_checkpoint_of_a_step_that_was_finished_is_cleared_away(shelf: Shelf, monkeypatch: Any) -> None:
    store = Store(shelf.folder, lambda _: None)
    store.save_checkpoint("a", checkpoint(1))
    store.save_checkpoint("b", checkpoint(2))
    with monkeypatch.context() as killed:
        killed.setattr(Store, "drop_checkpoint", lambda *_: None)  # between the step's file and this
        saved = store.save_node("a", {"w": torch.ones(2)}, {}, [], {})
    with shelf.command() as command:
        assert store.checkpoint("a") is None and store.has(saved)
        assert store.checkpoint("b") is not None
        drop(command, "a")
        store.save_checkpoint("a", checkpoint(1))  # done again, since its tensors were dropped, and killed on the way
    lost = store.save_node("c", {"w": torch.zeros(2)}, {}, [], {})
    shelf.drop([lost.weights])
    store.save_checkpoint("c", checkpoint(3))  # done again as well
    with shelf.command():
        assert store.checkpoint("a") is not None and store.checkpoint("c") is not None


def test_tensors_of_a_checkpoint_are_not_dropped(shelf: Shelf) -> None:
    store = Store(shelf.folder, lambda _: None)
    store.save_node("finished", {"w": torch.ones(2)}, {}, [], {})
    store.save_checkpoint("a", checkpoint(1))
    with shelf.command() as command:
        drop(command, "finished")
    assert store.checkpoint("a") is not None


def test_a_command_that_leaves_is_gone_before_it_seems_to_need_everything(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another one that ends at the same time would leave it tensors, and nobody would drop them."""
    seen: list[list[str]] = []
    delete = Shelf.delete

    def watched(self: Shelf, kind: str, key: str) -> None:
        with monkeypatch.context() as once:
            once.setattr(Shelf, "delete", delete)
            seen.append(self.commands())
        delete(self, kind, key)

    with shelf.command() as command:
        command.needs(["a"])
        monkeypatch.setattr(Shelf, "delete", watched)
    assert seen == [[]]


def test_files_are_written_beside_their_place_flushed_and_renamed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str, int]] = []
    fsync, replace = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("flushed", "", os.fstat(descriptor).st_size))

    def renamed(self: Path, target: Path) -> Path:
        assert self.parent == target.parent and not target.exists()
        done.append(("renamed", target.name, self.stat().st_size))
        return replace(self, target)

    monkeypatch.setattr("results.record.os.fsync", flushed)
    monkeypatch.setattr("results.record.Path.replace", renamed)
    digest = shelf.put(b"content")
    assert done == [("flushed", "", 7), ("renamed", f"{digest}.safetensors", 7)]
    shelf.write("nodes", "a", {})
    assert [what for what, _, _ in done[2:]] == ["flushed", "renamed"]


@pytest.mark.parametrize("kind", ["nodes", "tensors", "locks", "commands"])
def test_a_file_where_a_folder_should_be_is_one_line(shelf: Shelf, kind: str) -> None:
    (shelf.folder / kind).write_text("in the way")
    with pytest.raises(UserError, match=f"{kind}.*(File exists|Not a directory)") as said, shelf.command() as command:
        keep(shelf, "a", b"first")
        command.needs(["a"])
    assert "\n" not in str(said.value)


def test_a_folder_where_a_file_should_be_is_one_line(shelf: Shelf) -> None:
    (shelf.folder / "nodes" / "a.json").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        shelf.read("nodes", "a")
    (shelf.folder / "locks" / "a.lock").mkdir(parents=True)
    with pytest.raises(UserError, match="writing failed"), shelf.lock("a"):
        pass
    shelf.place("digest").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        shelf.get("digest")


def test_plain_values_that_were_changed_or_cut_are_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    shelf = Shelf(tmp_path, said.append)
    for damage in (lambda text: text.replace("1", "2"), lambda text: text[:-5], lambda text: "[]", lambda text: ""):
        shelf.write("rows", "a", {"value": 1.5})
        path = tmp_path / "rows" / "a.json"
        path.write_text(damage(path.read_text()))
        assert shelf.read("rows", "a") is None
        assert shelf.read("rows", "a") is None
        assert said == [f"{path}: damaged; it is computed again"]
        said.clear()


def test_a_killed_command_is_known_to_be_dead_by_its_lock_though_its_number_is_taken_again(
    shelf: Shelf, others: Callable[..., Other]
) -> None:
    """The number of a dead process may belong to another one: here the test's own."""
    other = others("shelf.command()", "entered.needs(['a'])")
    assert other.entered()
    (name,) = shelf.commands()
    os.kill(other.process.pid, signal.SIGKILL)
    other.process.communicate()
    for path in (shelf.folder / "commands").iterdir():
        path.rename(path.with_name(path.name.replace(f"-{other.process.pid}-", f"-{os.getpid()}-")))
    assert shelf.commands() == []
    assert str(other.process.pid) in name
