"""Who of the processes lives: each says so twice a second, and the first that fails leaves a word for the others."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

#: Seconds between two signs of life, and those after which a process without one is dead if its connection is too.
BEAT, DEAD = 0.5, 1.75
#: Seconds for which another process lets the first one tell an error that both have met.
COURTESY = 0.5
#: Seconds between two looks at the others while one waits, at most.
LOOK = 1.0

#: The keys of the store.
ALIVE, FAILED = "alive/{}", "failed/{}"


class RankLost(RuntimeError):
    """Another process is missing, has died or does not answer.

    Attributes: first: whether this process is the first to tell it.
    """

    def __init__(self, message: str, first: bool = True):
        super().__init__(message)
        self.first = first


class Heart:
    """A thread that gives the signs of life of a process, and asks the store for others.

    A machine that is gone answers nothing, so a question to its store would never end.

    Args: a store of torch.distributed that all reach; the number of this process; seconds to wait for an answer.
    """

    def __init__(self, store: Any, rank: int, timeout: float):
        self.store, self.rank, self.timeout = store, rank, timeout
        self._questions: queue.SimpleQueue[tuple[Callable[[Any], Any], Future[Any]]] = queue.SimpleQueue()
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        """Give no sign of life any more."""
        self._stopped.set()

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Return what a question to the store returns.

        Raises: RankLost if the store does not answer, because the process that keeps it, or its machine, is gone.
        """
        answer: Future[Any] = Future()
        self._questions.put((question, answer))
        try:
            return answer.result(self.timeout)
        except TimeoutError:
            raise RankLost(f"the machine of rank 0 has not answered for {self.timeout:g} s") from None
        except RuntimeError as error:
            raise RankLost(f"lost the connection to the machine of rank 0: {error}", first=self.rank != 0) from None

    def _beat(self) -> None:
        count, due = 0, time.monotonic()
        while True:
            if time.monotonic() >= due and not self._stopped.is_set():
                count, due = count + 1, time.monotonic() + BEAT
                try:
                    self.store.set(ALIVE.format(self.rank), str(count))
                except RuntimeError:  # whoever asks will see that the store is gone
                    self.stop()
            try:
                question, answer = self._questions.get(timeout=BEAT / 2)
            except queue.Empty:
                continue
            try:
                answer.set_result(question(self.store))
            except RuntimeError as error:
                answer.set_exception(error)


class Watch:
    """The signs of life of all processes.

    Args:
        heart: of this process.
        names: what each process is called.
    """

    def __init__(self, heart: Heart, names: Sequence[str]):
        self.heart, self.rank, self.names, self.timeout = heart, heart.rank, names, heart.timeout
        self._seen = [(b"", time.monotonic()) for _ in names]  # the last sign of each, and when it was new
        self._looked = time.monotonic()
        self._told: bool | None = None
        self._depth, self._round = 0, 0

    def until(self, done: Callable[[Any], bool]) -> None:
        """Wait until the store says that something is done, as long as all processes live.

        Raises: RankLost.
        """
        pause = 1e-3
        while not self.heart.ask(done):
            time.sleep(pause)
            pause = min(2 * pause, BEAT / 5)
            self.look()

    def look(self) -> None:
        """Look at the others, if the last look is some time ago.

        Raises: RankLost if one has failed, or given no sign of life for too long.
        """
        now = time.monotonic()
        if now - self._looked < min(LOOK, self.timeout / 4):
            return
        self._looked = now
        if self._anyone_failed():
            raise RankLost(self._failure(), first=False)
        self._see()
        silent = [rank for rank, (_, since) in enumerate(self._seen) if now - since > self.timeout]
        if silent:
            raise self.announced(f"{self._named(silent)} not answered for {self.timeout:g} s")

    def broken(self, error: Exception) -> RankLost:
        """Return what is to be said when a connection has broken: who has failed or died."""
        until = time.monotonic() + DEAD
        before = self._see()
        while time.monotonic() < until:
            if self._anyone_failed():
                return RankLost(self._failure(), first=False)
            time.sleep(BEAT / 5)
        after = self._see()
        dead = [rank for rank in range(len(self.names)) if rank != self.rank and before[rank] == after[rank]]
        if dead:
            return self.dead(dead)
        return self.announced(f"the connection to the other processes broke: {error}")

    def dead(self, ranks: Sequence[int]) -> RankLost:
        """Return what is to be said when processes have died: theirs or another's last word, if there is one."""
        if self._anyone_failed():
            return RankLost(self._failure(), first=False)
        return self.announced(f"{self._named(ranks)} died; its own output or the log of its machine may say why")

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Tell the others of an error inside the block; what was told of an earlier block is over with it."""
        if not self._depth:
            self._round, self._told = self._round + 1, None
        self._depth += 1
        try:
            yield
        except BaseException as error:
            self.report(error)
            raise
        finally:
            self._depth -= 1

    def report(self, error: BaseException) -> bool:
        """Tell the others why this process ends; return whether it is the first to tell an error."""
        if self._told is None:
            try:
                self._told = error.first if isinstance(error, RankLost) else self._is_first_to_tell(error)
            except RankLost:  # nobody can be asked any more
                self._told = True
        return self._told

    def announced(self, message: str) -> RankLost:
        """Return an error with a message, or with that of a process that has failed before, for all to know."""
        own = f"{self.rank} {message}"
        found = self.heart.ask(lambda store: store.compare_set(self._failed, "", own)).decode()
        return RankLost(found.partition(" ")[2], first=found == own)

    def _is_first_to_tell(self, error: BaseException) -> bool:
        until = time.monotonic() + (COURTESY if self.rank else 0)
        while time.monotonic() < until and not self._anyone_failed():
            time.sleep(BEAT / 10)
        return self.announced(f"{self.names[self.rank]} failed: {str(error) or type(error).__name__}").first

    @property
    def _failed(self) -> str:
        """The key of the first error of this block."""
        return FAILED.format(self._round)

    def _anyone_failed(self) -> bool:
        return bool(self.heart.ask(lambda store: store.check([self._failed])))

    def _failure(self) -> str:
        return str(self.heart.ask(lambda store: store.get(self._failed)).decode().partition(" ")[2])

    def _named(self, ranks: Sequence[int]) -> str:
        return f"{' and '.join(self.names[rank] for rank in ranks)} {'has' if len(ranks) == 1 else 'have'}"

    def _see(self) -> list[bytes]:
        """Read the signs of life, and note which are new."""
        keys = [ALIVE.format(rank) for rank in range(len(self.names))]
        signs = self.heart.ask(lambda store: store.multi_get(keys))
        now = time.monotonic()
        for rank, sign in enumerate(signs):
            if sign != self._seen[rank][0] or rank == self.rank:
                self._seen[rank] = (sign, now)
        return list(signs)
